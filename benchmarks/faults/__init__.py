"""Faults against the real daemon and a real broker, judged by an uninterrupted run on the same frames.

    python -m benchmarks.faults [--kills N] [--only NAME ...] [--json]

A reader begins with `script.py` (frames that are known one by one), then `world.py` (daemon, broker, control
room and what stands between them), then `kinds/` (one function a fault). `judge.py` compares.
"""
