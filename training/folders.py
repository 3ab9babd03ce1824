"""Folders that are replaced as a whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def replace_folder(new: Path, target: Path) -> None:
    """Put the finished folder `new` where `target` is, or will be, on the same file system.

    A process killed half-way leaves the old folder or the new one in its place, or the old one where
    `recover_folder` finds it. Raises OSError, with the old folder back in its place.
    """
    recover_folder(target)
    aside = _aside(target)
    if aside.exists():
        shutil.rmtree(aside)
    if target.exists():
        os.replace(target, aside)
    try:
        os.replace(new, target)
    except OSError:
        recover_folder(target)
        raise
    if aside.exists():
        shutil.rmtree(aside)


def recover_folder(target: Path) -> None:
    """Bring back the folder that a killed `replace_folder` left aside, if nothing has taken its place."""
    aside = _aside(target)
    if aside.exists() and not target.exists():
        os.replace(aside, target)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.replaced")
