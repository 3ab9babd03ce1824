"""A cube as a camera would have seen it: spectral interpolation at red, green, blue (SPECIAL, 2501.16222)."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from edge.cubes.cube import F64, Bools, Cube
from edge.frames import Pixels
from firmware_cfg.errors import SourceError

RGB_NM = (650.0, 550.0, 450.0)
"""Centres of red, green and blue."""
REACH_NM = 50.0
"""A colour needs a band this near to its centre: a multispectral camera's blue is at 490."""
_SAMPLES = 4_000_000
"""Pixels that quantiles are taken from: more do not move them."""


def rgb_image(cube: Cube, quantile: float = 1e-4) -> Pixels:
    """(H, W, 3) uint8: each colour stretched from its `quantile` to its 1 - `quantile` over the scene.

    Pixels without data are black. Raises SourceError where the bands do not cover visible light, or where
    every pixel is the same; ValueError unless 0 <= quantile < 0.5.
    """
    if not 0.0 <= quantile < 0.5:
        raise ValueError(f"a quantile to stretch from lies in 0 to 0.5, got {quantile}")
    require_visible(cube.wavelengths, str(cube.path))
    image = np.zeros((*cube.values.shape[:2], 3), dtype=np.uint8)
    flat = 0
    for channel, centre in enumerate(RGB_NM):
        values = sum(cube.values[:, :, band] * np.float32(w) for band, w in weights(cube.wavelengths, centre))
        low, high = _span(np.asarray(values), cube.valid, quantile)
        flat += high <= low
        stretched = (values - low) * (255.0 / max(high - low, 1e-30))
        image[:, :, channel] = np.rint(np.clip(stretched, 0.0, 255.0))
    if flat == len(RGB_NM):
        raise SourceError(
            f"{cube.path}: every pixel has the same colour (is it a scene, and its data not masked?)"
        )
    if cube.valid is not None:
        image[~cube.valid] = 0
    return image


def weights(wavelengths: F64, centre: float) -> list[tuple[int, float]]:
    """(band, share) of the one or two bands whose linear interpolation is the value at `centre` nm."""
    order = np.argsort(wavelengths, kind="stable")
    ascending = wavelengths[order]
    above = bisect_left(ascending, centre)
    if above == 0 or above == len(ascending):
        return [(int(order[min(above, len(ascending) - 1)]), 1.0)]
    low, high = float(ascending[above - 1]), float(ascending[above])
    share = (centre - low) / (high - low)
    pair = [(int(order[above - 1]), 1.0 - share), (int(order[above]), share)]
    return [(band, weight) for band, weight in pair if weight > 0.0]


def rgb_bands(wavelengths: F64) -> list[int]:
    """The bands, ascending, that `rgb_image` looks at."""
    return sorted({band for centre in RGB_NM for band, _ in weights(wavelengths, centre)})


def require_visible(wavelengths: F64, name: str) -> None:
    """Raises SourceError unless red, green and blue each have a band of their own nearby."""
    nearest = [int(np.abs(wavelengths - centre).argmin()) for centre in RGB_NM]
    far = [
        centre
        for centre, band in zip(RGB_NM, nearest, strict=True)
        if abs(wavelengths[band] - centre) > REACH_NM
    ]
    if far or len(set(nearest)) < len(RGB_NM):
        low, high = wavelengths.min(), wavelengths.max()
        wanted = ", ".join(f"{centre:g}" for centre in far or RGB_NM)
        raise SourceError(
            f"{name}: no picture in visible light: its {len(wavelengths)} bands,"
            f" {low:.0f} to {high:.0f} nm, have none within {REACH_NM:g} nm of {wanted} nm"
            " (check --wavelengths)"
        )


def _span(values: np.ndarray, valid: Bools | None, quantile: float) -> tuple[float, float]:
    seen = values.ravel() if valid is None else values[valid]
    seen = seen[:: max(1, seen.size // _SAMPLES)]
    low, high = np.quantile(seen, (quantile, 1.0 - quantile))
    return float(low), float(high)
