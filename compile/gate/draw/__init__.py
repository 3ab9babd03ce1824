"""Draws the shipped probe set: `python -m compile.gate.draw`."""
