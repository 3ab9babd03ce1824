"""Image and text towers behind one interface: RemoteCLIP's own, by open_clip, and remoteclip-lite's."""
