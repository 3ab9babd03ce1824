"""What the control room asks of a drone, and what its broker kept of it."""
