"""Float32 image graph -> int8: calibration images, ranges of activations, what stays float, Q/DQ nodes.

In the order of a run: images.py, layers.py, ranges.py, bias.py, qdq.py, sensitivity.py, run.py.
"""
