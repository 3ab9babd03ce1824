"""The on-device daemon: frames in, counts and alerts out. Never imports torch, onnx, training or compile."""
