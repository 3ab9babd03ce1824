"""Which class each pixel of a scene really has. Only the final score looks at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.cubes.matlab import read_arrays
from firmware_cfg.errors import UsageError
from training.errors import DataError

Labels: TypeAlias = NDArray[np.int64]

ABUNDANCES = "S_GT"
PURE = 0.7
"""Abundance above which a mixed pixel counts as one class."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """label: (H, W) int64, index into the map's classes; -1: not labelled. n: labelled pixels."""

    label: Labels

    @property
    def n(self) -> int:
        return int((self.label >= 0).sum())


def read_truth(
    file: Path, variable: str | None, names: list[str], order: list[str] | None, shape: tuple[int, int]
) -> Truth:
    """Ground truth of a scene of that shape, from a MATLAB file.

    Args:
        variable: abundances (H, W, C), whose best counts above 0.7, or a label map (H, W), 0: not labelled;
            default: S_GT, else the only label map.
        names: classes of the map.
        order: classes of the planes, or of the label map's values in ascending order; default: names.

    Raises UsageError, DataError, MissingExtra.
    """
    arrays = read_arrays(file)
    array = arrays[_chosen(file, dict(arrays), variable, shape)]
    planes = order or names
    if unknown := sorted(set(planes) - set(names)):
        raise UsageError(
            f"--truth-classes: {', '.join(unknown)} are not among the map's classes ({', '.join(names)})"
        )
    if len(set(planes)) < len(planes):
        raise UsageError("--truth-classes: a class is named twice")
    if array.ndim == 3:
        count, label = array.shape[2], np.where(array.max(axis=2) > PURE, array.argmax(axis=2), -1)
    else:
        values = np.unique(array[array != 0])
        count, label = len(values), np.where(array != 0, np.searchsorted(values, array), -1)
    if count != len(planes):
        raise UsageError(
            f"{file}: its truth has {count} classes, {len(planes)} are named: {', '.join(planes)}"
            " (say in --truth-classes what each is, in the truth's order)"
        )
    if not (label >= 0).any():
        raise DataError(f"{file}: no pixel is labelled (name another --truth-variable)")
    to_names = np.array([*(names.index(name) for name in planes), -1])
    return Truth(to_names[label].astype(np.int64))


def _chosen(file: Path, arrays: dict[str, NDArray[Any]], variable: str | None, shape: tuple[int, int]) -> str:
    fitting = [
        name for name, array in arrays.items() if array.dtype.kind in "iuf" and array.shape[:2] == shape
    ]
    listed = ", ".join(f"{name} {array.shape}" for name, array in sorted(arrays.items()))
    if variable is not None:
        if variable not in fitting:
            rows, columns = shape
            raise UsageError(f"{file}: no variable {variable} of {rows} x {columns} pixels (it has {listed})")
        return variable
    if ABUNDANCES in fitting:
        return ABUNDANCES
    maps = [name for name in fitting if arrays[name].ndim == 2]
    if len(maps) != 1:
        raise UsageError(f"{file}: which variable is the truth? (--truth-variable; it has {listed})")
    return maps[0]
