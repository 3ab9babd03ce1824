"""ENVI files: a text header, and the raw values beside it in one of three orders (interleaves)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.cubes.cube import F32, F64, CubeFile
from edge.cubes.interleave import INTERLEAVES, arranged, require_picture
from edge.cubes.map_info import georeference_of
from edge.cubes.wavelengths import nanometres
from firmware_cfg.errors import MissingExtra, SourceError

HEADER_SUFFIX = ".hdr"
DATA_SUFFIXES = ("", ".img", ".dat", ".raw", ".bil", ".bip", ".bsq")

_DTYPES = {
    "1": "u1",
    "2": "i2",
    "3": "i4",
    "4": "f4",
    "5": "f8",
    "12": "u2",
    "13": "u4",
    "14": "i8",
    "15": "u8",
}
_UNITS = {
    "nanometers": 1.0,
    "nanometres": 1.0,
    "nm": 1.0,
    "micrometers": 1e3,
    "micrometres": 1e3,
    "microns": 1e3,
    "um": 1e3,
    "angstroms": 0.1,
}
_MOST_VALUES = 1 << 40


def open_envi(path: Path, variable: str | None) -> CubeFile:
    """Reads the header of an ENVI file, given it or its data. Raises SourceError, MissingExtra."""
    if variable is not None:
        raise SourceError(f"{path}: only MATLAB files have variables (leave --variable away)")
    header, data = _pair(path)
    fields = _fields(header)
    description = _Header(header, fields)
    values = description.mapped(data)
    scale, ignored = (
        description.number("reflectance scale factor", 1.0),
        description.number("data ignore value"),
    )
    if not scale:
        raise description.error("its reflectance scale factor is 0")

    def read(bands: Sequence[int]) -> F32:
        taken = values[:, :, list(bands)]
        cube = taken.astype(np.float32)
        if scale != 1.0:
            cube /= np.float32(scale)
        if ignored is not None:
            cube[taken == ignored] = np.nan
        return cube

    rows, columns, bands = values.shape
    return CubeFile(
        path,
        (rows, columns, bands),
        description.wavelengths(bands),
        georeference_of(fields, header),
        description.bad_bands(bands),
        read,
    )


def _pair(path: Path) -> tuple[Path, Path]:
    """The header and the data, whichever of the two `path` is."""
    if path.suffix.lower() == HEADER_SUFFIX:
        stem = path.with_suffix("")
        beside = {each.name.lower(): each for each in path.parent.iterdir() if each.is_file()}
        for suffix in DATA_SUFFIXES:
            if (data := beside.get(f"{stem.name}{suffix}".lower())) is not None:
                return path, data
        looked_for = " ".join(stem.name + suffix for suffix in DATA_SUFFIXES)
        raise SourceError(f"{path}: its data is not beside it (looked for {looked_for})")
    for header in (path.with_suffix(HEADER_SUFFIX), path.with_name(path.name + HEADER_SUFFIX)):
        for each in (header, header.with_suffix(HEADER_SUFFIX.upper())):
            if each.is_file():
                return each, path
    raise SourceError(
        f"{path}: has no ENVI header beside it (looked for {path.with_suffix(HEADER_SUFFIX).name})"
    )


def _fields(header: Path) -> Mapping[str, Any]:
    try:
        from spectral.io.envi import read_envi_header  # type: ignore[import-untyped]
        from spectral.utilities.errors import SpyException  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise MissingExtra("spectral", extra="hyperspectral") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of keys that are written in capitals
            fields: dict[str, Any] = read_envi_header(str(header))
    except (SpyException, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it does not begin with ENVI, or a brace is not closed"
        raise SourceError(f"{header}: not an ENVI header that can be read: {reason}") from error
    return fields


class _Header:
    """What a header says, each field checked where it is asked for."""

    def __init__(self, path: Path, fields: Mapping[str, Any]) -> None:
        self._path = path
        self._fields = fields

    def error(self, problem: str) -> SourceError:
        return SourceError(f"{self._path}: {problem} (correct the header)")

    def mapped(self, data: Path) -> NDArray[Any]:
        """(H, W, B) view of the data file, nothing read yet but what shows whether the header is right."""
        if "library" in str(self._fields.get("file type", "")).lower():
            raise SourceError(f"{self._path}: a spectral library, not a cube (give an image's header)")
        rows, columns, bands = (self._count(name) for name in ("lines", "samples", "bands"))
        offset = self._count("header offset", least=0, default=0)
        interleave = str(self._required("interleave")).lower()
        if interleave not in INTERLEAVES:
            raise self.error(f"interleave is {interleave!r}, not one of {', '.join(INTERLEAVES)}")
        code, order = str(self._required("data type")), str(self._fields.get("byte order", "0"))
        if code not in _DTYPES or order not in ("0", "1"):
            raise self.error(
                f"data type {code} with byte order {order} holds no real numbers that are known"
                f" (data type one of {', '.join(_DTYPES)}; byte order 0 or 1)"
            )
        dtype = np.dtype(("<" if order == "0" else ">") + _DTYPES[code])
        wanted, there = offset + rows * columns * bands * dtype.itemsize, data.stat().st_size
        if there < wanted:
            raise SourceError(
                f"{data}: {there:,} bytes, but {columns} samples x {rows} lines x {bands} bands of"
                f" {dtype.itemsize} bytes are {wanted:,}"
                f" (truncated: copy it again, or correct {self._path.name})"
            )
        try:
            flat = np.memmap(data, dtype=dtype, mode="r", offset=offset, shape=(rows * columns * bands,))
        except (OSError, ValueError) as error:
            raise SourceError(f"{data}: cannot be read: {error} (check its permissions)") from error
        require_picture(flat, (rows, columns, bands), interleave, self._path)
        return arranged(flat, (rows, columns, bands), interleave)

    def number(self, name: str, default: float | None = None) -> float | None:
        if name not in self._fields:
            return default
        try:
            return float(self._fields[name])
        except (TypeError, ValueError):
            raise self.error(f"{name} is {self._fields[name]!r}, not a number") from None

    def wavelengths(self, bands: int) -> F64 | None:
        if "wavelength" not in self._fields:
            return None
        values = self._numbers("wavelength", bands)
        unit = str(self._fields.get("wavelength units", "unknown")).strip().lower()
        if unit in _UNITS:
            return values * _UNITS[unit]
        if unit in ("wavenumber", "ghz", "mhz", "index"):
            raise self.error(f"wavelength units are {unit}: write nanometers or micrometers")
        return nanometres(values)

    def bad_bands(self, bands: int) -> frozenset[int]:
        if "bbl" not in self._fields:
            return frozenset()
        return frozenset(np.flatnonzero(self._numbers("bbl", bands) == 0).tolist())

    def _numbers(self, name: str, bands: int) -> F64:
        words = self._fields[name]
        try:
            values = np.array([float(word) for word in ([words] if isinstance(words, str) else words)])
        except ValueError as error:
            raise self.error(f"{name}: {error}") from None
        if len(values) != bands:
            raise self.error(f"{name} has {len(values)} entries for {bands} bands")
        return values

    def _required(self, name: str) -> Any:
        if name not in self._fields:
            raise self.error(f"does not say {name}")
        return self._fields[name]

    def _count(self, name: str, *, least: int = 1, default: int | None = None) -> int:
        value = self._fields.get(name, default)
        if value is None:
            raise self.error(f"does not say {name}")
        try:
            count = int(value)
        except (TypeError, ValueError):
            count = least - 1
        if not least <= count <= _MOST_VALUES:
            raise self.error(f"{name} is {value!r}, not a whole number from {least} on")
        return count
