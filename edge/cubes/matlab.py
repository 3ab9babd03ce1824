"""MATLAB files: a cube of three dimensions, or the matrix of an unmixing file (`Y`, bands x pixels)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.cubes.cube import F32, F64, CubeFile
from edge.cubes.wavelengths import nanometres
from firmware_cfg.errors import MissingExtra, SourceError, UsageError

_ROWS_COLUMNS = (("lines", "cols"), ("nRow", "nCol"), ("rows", "cols"), ("H", "W"))
_WAVELENGTHS = ("wavelengths", "wavelength", "lambda", "wl")
_UNMIXING = "Y"


def open_matlab(path: Path, variable: str | None) -> CubeFile:
    """Reads the file's arrays. Raises SourceError, MissingExtra; UsageError where `variable` is not there."""
    arrays = read_arrays(path)
    name = _chosen(path, arrays, variable)
    cube = _as_cube(path, name, arrays)

    def read(bands: Sequence[int]) -> F32:
        return np.ascontiguousarray(cube[:, :, list(bands)], dtype=np.float32)

    rows, columns, bands = cube.shape
    return CubeFile(path, (rows, columns, bands), _wavelengths(arrays, bands), None, frozenset(), read)


def read_arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    """Every variable of a MATLAB file by name. Raises SourceError, MissingExtra."""
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
        from scipy.io.matlab import MatReadError  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise MissingExtra("scipy", extra="hyperspectral") from error
    try:
        found = loadmat(path)
    except NotImplementedError:
        raise SourceError(
            f"{path}: MATLAB 7.3, which is HDF5 (save it again: save('{path.name}', '-v7'))"
        ) from None
    except (
        MatReadError,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        struct.error,
        zlib.error,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{path}: not a MATLAB file that can be read: {reason}") from error
    return {name: array for name, array in found.items() if not name.startswith("__")}


def _chosen(path: Path, arrays: Mapping[str, NDArray[Any]], variable: str | None) -> str:
    if variable is not None:
        if variable not in arrays:
            raise UsageError(f"{path}: has no variable {variable!r} (it has {_listed(arrays)})")
        return variable
    if _UNMIXING in arrays and arrays[_UNMIXING].ndim == 2 and _rows_columns(arrays) is not None:
        return _UNMIXING
    solid = [name for name, array in arrays.items() if _is_numbers(array) and array.ndim == 3]
    if not solid:
        raise SourceError(f"{path}: no cube of three dimensions in it (it has {_listed(arrays)})")
    if len(solid) > 1:
        raise SourceError(f"{path}: more than one cube in it: {', '.join(solid)} (say which one: --variable)")
    return solid[0]


def _as_cube(path: Path, name: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    array = arrays[name]
    if not _is_numbers(array):
        raise SourceError(f"{path}: {name} holds {_kind(array)}, not numbers (it has {_listed(arrays)})")
    if array.ndim == 3:
        return array
    shape = _rows_columns(arrays)
    if array.ndim != 2 or shape is None:
        raise SourceError(
            f"{path}: {name} has {array.ndim} dimensions; a cube is rows x columns x bands, or bands x pixels"
            f" beside lines and cols (it has {_listed(arrays)})"
        )
    rows, columns = shape
    if array.shape[1] != rows * columns:
        if array.shape[0] != rows * columns:
            raise SourceError(
                f"{path}: {name} is {_size(array)}, which is not bands x {rows} * {columns} pixels"
            )
        array = array.T
    bands = array.shape[0]
    if _columns_first(arrays, shape):
        down: NDArray[Any] = array.reshape(bands, columns, rows).transpose(2, 1, 0)
        return down
    along: NDArray[Any] = array.reshape(bands, rows, columns).transpose(1, 2, 0)
    return along


def _rows_columns(arrays: Mapping[str, NDArray[Any]]) -> tuple[int, int] | None:
    """Rows and columns of the scene that a matrix of pixels stands for."""
    for names in _ROWS_COLUMNS:
        found = [arrays[name] for name in names if name in arrays]
        if len(found) == 2 and all(each.size == 1 and _is_numbers(each) for each in found):
            return int(found[0].item()), int(found[1].item())
    truth = arrays.get("S_GT")
    return None if truth is None or truth.ndim != 3 else (truth.shape[0], truth.shape[1])


def _columns_first(arrays: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> bool:
    """Whether the pixels go down the columns, as MATLAB has them, or along the rows.

    Abundances that are there in both forms (`A`, `S_GT`) tell.
    """
    flat, truth = arrays.get("A"), arrays.get("S_GT")
    if (
        flat is None
        or truth is None
        or truth.shape[:2] != shape
        or flat.shape != (truth.shape[-1], truth[..., 0].size)
    ):
        return True
    along_rows = flat.reshape((-1, *shape)).transpose(1, 2, 0)
    return not np.allclose(along_rows, truth)


def _wavelengths(arrays: Mapping[str, NDArray[Any]], bands: int) -> F64 | None:
    lower = {name.lower(): array for name, array in arrays.items()}
    for name in _WAVELENGTHS:
        array = lower.get(name)
        if array is not None and _is_numbers(array) and array.size == bands:
            return nanometres(array.astype(np.float64).ravel())
    return None


def _is_numbers(array: NDArray[Any]) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "iuf"


def _kind(array: NDArray[Any]) -> str:
    kinds = {"O": "cells", "V": "a struct", "U": "text", "c": "complex numbers", "b": "yes and no"}
    return (
        kinds.get(array.dtype.kind, str(array.dtype))
        if isinstance(array, np.ndarray)
        else type(array).__name__
    )


def _size(array: NDArray[Any]) -> str:
    return " x ".join(str(side) for side in array.shape)


def _listed(arrays: Mapping[str, NDArray[Any]]) -> str:
    if not arrays:
        return "no variables"
    return ", ".join(f"{name} ({_size(array)} {array.dtype})" for name, array in sorted(arrays.items()))
