"""Checkpoint -> exported graphs, calibration, golden vectors -> bundle, with the accuracy of every step."""
