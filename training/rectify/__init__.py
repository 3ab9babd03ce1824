"""ReCLIP: what a model's dense maps favour, learned from images without labels (CVPR 2024)."""
