"""Finding pictures by a sentence: in recorded runs, and in folders of images."""
