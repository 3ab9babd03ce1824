"""Annotations become captions: Box-to-Caption, Mask-to-Box and class-to-caption (RemoteCLIP, section III)."""
