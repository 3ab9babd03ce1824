"""Training of remoteclip models: annotations -> captions and maps -> checkpoint, and every evaluation."""
