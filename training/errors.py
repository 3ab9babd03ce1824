"""Errors of training and evaluation; they belong to the one tree of firmware_cfg.errors."""

from __future__ import annotations

import importlib.util

from firmware_cfg.errors import MissingExtra, RemoteclipError


class DataError(RemoteclipError):
    """A data set is missing, or a file of it is not what its format says; names file, line and mend."""


class MissingSplit(DataError):
    """A set does not have the split that was asked for."""


class CheckpointError(RemoteclipError):
    """A checkpoint or a run's saved state is missing, damaged or of another model; names the file."""


def require_extra(extra: str, *modules: str) -> None:
    """Raise MissingExtra naming the extra for the first module that is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(module, extra)
