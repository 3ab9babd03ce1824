"""Which of a file's bands are used, and where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.cubes.cube import F64, CubeFile
from firmware_cfg.errors import SourceError, UsageError
from firmware_cfg.wavelengths import GRAMMAR, Wavelengths, parse_wavelengths

_MICROMETRES_BELOW = 100.0
"""Optical instruments end at 100 um: numbers below it are micrometres, above it nanometres."""


def nanometres(values: F64) -> F64:
    """Wavelengths of no stated unit in nm: all of them below 100 are micrometres."""
    return values * 1e3 if values.size and values.max() < _MICROMETRES_BELOW else values


def place_bands(file: CubeFile, option: str | None) -> tuple[list[int], F64]:
    """The bands of a cube that are used, counted from 0, and the wavelength of each in nm.

    A list of wavelengths for the whole sensor fits a cube from which the bands after `without` were taken out
    already, as well as one that still has them.

    Raises:
        UsageError: `option` cannot be read, or does not fit the number of bands.
        SourceError: neither the file nor `option` tells wavelengths, or they are no wavelengths.
    """
    total = file.shape[2]
    try:
        wanted = Wavelengths() if option is None else parse_wavelengths(option)
    except ValueError as error:
        raise UsageError(f"wavelengths: {error}") from None
    centres = _centres(file, wanted)
    sensor, without = len(centres), {band - 1 for band in wanted.without}
    if without and max(without) >= sensor:
        raise UsageError(f"wavelengths: there is no band {max(without) + 1} of {sensor} to leave out")
    kept = [band for band in range(sensor) if band not in without]
    if total == sensor:
        used = [band for band in kept if band not in file.bad_bands]
        bands, nm = used, centres[used]
    elif total == len(kept):
        bands, nm = list(range(total)), centres[kept]
    else:
        raise UsageError(
            f"wavelengths: {_counted(sensor, len(kept))} do not fit {file.path}, which has {total} bands"
            f" (write {GRAMMAR})"
        )
    if not np.isfinite(nm).all() or (nm.size and nm.min() <= 0):
        raise SourceError(
            f"{file.path}: its wavelengths are no positive numbers (give --wavelengths {GRAMMAR})"
        )
    return bands, nm


def _counted(sensor: int, kept: int) -> str:
    return (
        f"{sensor} wavelengths" if sensor == kept else f"{sensor} wavelengths, {kept} without those left out,"
    )


def _centres(file: CubeFile, wanted: Wavelengths) -> F64:
    total = file.shape[2]
    if wanted.even is not None:
        # Without a count the bands that were taken out are missing from the cube: it had that many more.
        count = wanted.count or total + len(wanted.without)
        return np.linspace(*wanted.even, count)
    if wanted.file:
        return _numbers(Path(wanted.file).expanduser())
    if file.wavelengths is None:
        raise SourceError(
            f"{file.path}: does not say the wavelengths of its {total} bands"
            f" (give --wavelengths, or cube.wavelengths in a device file: {GRAMMAR})"
        )
    return file.wavelengths


def _numbers(path: Path) -> F64:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"wavelengths: {path}: {reason} (write {GRAMMAR})") from None
    values: list[float] = []
    for number, line in enumerate(lines, start=1):
        for word in line.partition("#")[0].replace(",", " ").replace(";", " ").split():
            try:
                values.append(float(word))
            except ValueError:
                mend = "one wavelength a band, in nm; # begins a comment"
                raise UsageError(f"wavelengths: {path}:{number}: {word!r} is no number ({mend})") from None
    if not values:
        raise UsageError(f"wavelengths: {path}: has no numbers (one wavelength a band, in nm)")
    return nanometres(np.array(values, dtype=np.float64))
