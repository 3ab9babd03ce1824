"""`remoteclip bench`: the daemon beside what a user would pick instead, in one interleaved run on this machine."""
