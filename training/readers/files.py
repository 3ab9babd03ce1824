"""What the readers share: image files of a folder, JSON documents, and errors that name their place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.errors import DataError, MissingSplit

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})


def image_files(folder: Path) -> list[Path]:
    """Image files of a folder by name. Raises MissingSplit without the folder, DataError without images."""
    if not folder.is_dir():
        raise MissingSplit(f"{folder}: no such folder (the set does not have this split)")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DataError(f"{folder}: no images in it (expected one of {', '.join(sorted(IMAGE_SUFFIXES))})")
    return files


def annotation_folder(folder: Path) -> Path:
    """The folder, which must exist: a misnamed one would otherwise read as images without objects."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (the annotations of the images beside it)")
    return folder


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 text file. Raises DataError where it cannot be read."""
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def load_json(path: Path) -> Any:
    """A JSON document. Raises MissingSplit without the file, DataError with the line of a fault."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise MissingSplit(f"{path}: no such file (the set does not have this split)") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from error


@contextmanager
def entry(path: Path, where: str) -> Iterator[None]:
    """Turn a missing key or an unfit value met inside into a DataError that names file and entry."""
    try:
        yield
    except KeyError as error:
        raise DataError(f"{path}: {where}: {error} is missing") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{path}: {where}: not what the format says ({error})") from error
