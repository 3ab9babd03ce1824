"""Pairs of images that look alike to the model and differ to an encoder trained without labels (RSMMVP)."""
