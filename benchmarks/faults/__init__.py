"""What becomes of a library when processes are killed, disks fail, bits flip and files are broken.

    python -m benchmarks.faults [--tries N] [--flips N] [--mutants N] [--seconds S] [--jobs N]

Kills each command of a library (ingest into a new one and into one with changes, prune, remove,
tag, copy, rebuild, reembed) at its system calls: every write, sync, rename, mkdir, unlink, link and
truncation, or as many of them as ``--tries`` says, evenly spread; looks what is left; runs the same
command again. Does the same with EIO once and with ENOSPC from then on. Needs Linux and `strace`;
without it, kills come at random moments, and no errors do.

Flips bits in every file of a library, breaks sounds of every format that can be written here, and
lets four readers ask beside a writer.

=========  =================================================================================
tried      how often
ended      the command had ended before the fault came, or got over it
refused    it said what is wrong, in an error of soundsearch
lost       clips are gone that were stored before, or were reported as stored
traceback  it ended in an error that is none of soundsearch, crashed or hung
wrong      clips, vectors or answers are not what they should be, and nothing says so
=========  =================================================================================

Exits with 1 where anything was lost, wrong or a traceback.
"""
