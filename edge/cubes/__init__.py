"""Hyperspectral cubes: `read_cube(path)` and, as a camera would have seen it, `rgb_image(cube)`."""

from edge.cubes.cube import Cube
from edge.cubes.georeference import Georeference
from edge.cubes.read import read_cube
from edge.cubes.rgb import rgb_image

__all__ = ["Cube", "Georeference", "read_cube", "rgb_image"]
