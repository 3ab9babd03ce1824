"""Recorded runs: what a flight saw, frame by frame, in one SQLite file that search and changes read."""
