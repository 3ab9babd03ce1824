"""What tiling finds of small things, and what it costs."""
