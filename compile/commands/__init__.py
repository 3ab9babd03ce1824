"""The commands of `remoteclip compile`, one module each; heavy packages load inside the command."""
