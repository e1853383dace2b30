"""Audio in, embeddings out: the ground floor of soundsearch."""
