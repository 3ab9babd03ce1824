"""`remoteclip bench`: the daemon beside what a user would pick instead, on this machine, in one run."""
