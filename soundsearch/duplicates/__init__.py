"""Which clips of a library are the same sound, and how each pair of them differs."""
