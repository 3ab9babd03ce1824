"""From a pixel of a frame to a place on the ground, with its accuracy, and back."""
