"""The image and text towers of remoteclip-lite and the lookup graph that compile exports."""
