"""What a conversion cost: variants against the float32 checkpoint, on a probe set with stated limits."""
