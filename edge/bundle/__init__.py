"""Model bundles: reading and verifying one, who vouches for it, and two slots to replace it in."""
