"""Evaluations. Each runs the drone's own letterbox, engine and lookup, and prints one JSON object last."""
