"""`read_cube`: a file's cube, checked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge.cubes.cube import F32, Bools, Cube, CubeFile
from edge.cubes.rgb import require_visible, rgb_bands
from edge.cubes.wavelengths import place_bands
from edge.sources.base import check_readable
from firmware_cfg.errors import SourceError

MATLAB_SUFFIX = ".mat"

_FEWEST_BANDS = 3


def read_cube(
    path: str | os.PathLike[str],
    wavelengths: str | None = None,
    variable: str | None = None,
    *,
    visible_only: bool = False,
) -> Cube:
    """Read an ENVI file (its header or its data) or a MATLAB file.

    Args:
        path: `.hdr`, `.bil`, `.bip`, `.bsq`, or any data file with an ENVI header beside it; `.mat`.
        wavelengths: of the bands, see firmware_cfg.wavelengths; None: as the file says.
        variable: of a MATLAB file, the one that holds the cube; None: the only one that can.
        visible_only: read no more bands than `rgb_image` looks at.

    Raises:
        SourceError: missing, damaged, no cube, no wavelengths, bands or pixels without data, too few bands.
        UsageError: `wavelengths` cannot be read, or is for another number of bands; `variable` is not there.
        MissingExtra: the package that reads this kind of file is not installed.
    """
    path = Path(path).expanduser()
    file = _opener(path)(path, variable)
    bands, nm = place_bands(file, wavelengths)
    if len(bands) < _FEWEST_BANDS:
        raise SourceError(f"{path}: a cube has at least {_FEWEST_BANDS} bands, this one has {len(bands)}")
    if visible_only:
        require_visible(nm, str(path))
        picked = rgb_bands(nm)
        bands, nm = [bands[index] for index in picked], nm[picked]
    values = file.read(bands)
    valid = _valid(values, bands, path)
    return Cube(path, values, nm, file.georeference, valid)


def _opener(path: Path) -> Callable[[Path, str | None], CubeFile]:
    if not os.path.lexists(path):
        raise SourceError(f"{path}: no such file (check the path of the cube)")
    check_readable(path)
    if path.suffix.lower() == MATLAB_SUFFIX:
        from edge.cubes.matlab import open_matlab

        return open_matlab
    from edge.cubes.envi import open_envi

    return open_envi


def _valid(values: F32, bands: list[int], path: Path) -> Bools | None:
    """Which pixels have data in every band, None for all of them; the others are set to 0 in place."""
    finite = np.isfinite(values)
    if finite.all():
        return None
    some = finite.any(axis=2)
    if not some.any():
        raise SourceError(
            f"{path}: not one pixel has data (every value is NaN or the header's data ignore value)"
        )
    # Beside a turned flight line there is no data in any band; a band that lacks it elsewhere is a bad band.
    lacking = (~finite[some]).mean(axis=0)
    bad = [band + 1 for band, share in zip(bands, lacking, strict=True) if share > 0.5]
    if bad:
        raise SourceError(
            f"{path}: no data (NaN) in {_spans(bad)}"
            f" (leave them out: --wavelengths '... without {_numbers(bad)}')"
        )
    valid: Bools = np.all(finite, axis=2)
    if not valid.any():
        raise SourceError(f"{path}: every pixel lacks data (NaN) in some band (correct the cube first)")
    values[~valid] = 0.0
    return valid


def _spans(bands: list[int]) -> str:
    return f"{'band' if len(bands) == 1 else 'bands'} {_numbers(bands)}"


def _numbers(bands: list[int]) -> str:
    """1-3,7 for bands 1, 2, 3 and 7."""
    spans: list[list[int]] = []
    for band in bands:
        if spans and spans[-1][1] == band - 1:
            spans[-1][1] = band
        else:
            spans.append([band, band])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in spans)
