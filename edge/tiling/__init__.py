"""A large frame as overlapping model inputs: the windows, their tiles, and the places back in the frame.

A thing of ten pixels is lost when a 4K frame shrinks to one tile. Windows of the frame are shrunk less, and
each is a tile of its own in the engine's batch, beside the whole frame: that one finds what is larger than a
window, and gives the scenes and the embedding. Slicing and merging follow Akyon et al., "Slicing Aided Hyper
Inference" (arXiv 2202.06934); here the tile that holds a thing whole is preferred to those that cut it.
"""

from edge.tiling.interest import Interest, only
from edge.tiling.lookup import candidates, flat, lookup_tiles
from edge.tiling.windows import AUTO_SHRINK, AUTO_WINDOWS, OVERLAP, Tiles, Tiling, Window, tiles_for

__all__ = [
    "AUTO_SHRINK",
    "AUTO_WINDOWS",
    "OVERLAP",
    "Interest",
    "Tiles",
    "Tiling",
    "Window",
    "candidates",
    "flat",
    "lookup_tiles",
    "only",
    "tiles_for",
]
