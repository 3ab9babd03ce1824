"""What the readers share: where a split's files lie, JSON documents, errors that name their place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.errors import DataError, MissingSplit

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
# A set that its authors did not divide is read as a whole under these names: under `test` because it can
# be evaluated on as it is; whoever trains on it says so with `all`.
UNDIVIDED = ("all", "test")
_ALIASES = {"val": ("val", "valid"), "test": ("test", "test-dev")}


def aliases(split: str) -> tuple[str, ...]:
    """Names under which sets keep a split: Roboflow says `valid`, VisDrone `test-dev`."""
    return _ALIASES.get(split, (split,))


def split_folders(folder: Path, split: str, *parts: str) -> tuple[Path, ...]:
    """The folder of each part (`images`, `labels`) of a split, the first of these layouts that is there:

    `<part>/<split>`, `<split>/<part>`, `<anything>-<split>/<part>`, and `<part>` alone where the set is not
    divided or its own folder is named `...-<split>`. Raises MissingSplit; only the first part must exist.
    """
    first = parts[0]
    for name in aliases(split):
        if (folder / first / name).is_dir():
            return tuple(folder / part / name for part in parts)
        for inner in (folder / name, *sorted(folder.glob(f"*-{name}"))):
            if (inner / first).is_dir():
                return tuple(inner / part for part in parts)
    alone = (folder / first).is_dir() and has_images(folder / first)
    if alone and (split in UNDIVIDED or folder.name.endswith(tuple(f"-{name}" for name in aliases(split)))):
        return tuple(folder / part for part in parts)
    mend = "the set is not divided: its one split is `all`" if alone else "the set does not have this split"
    raise MissingSplit(f"{folder / first / split}: no such folder ({mend})")


def has_images(folder: Path) -> bool:
    """Whether images lie in the folder itself."""
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())


def image_files(folder: Path) -> list[Path]:
    """Image files of a folder by name. Raises MissingSplit without the folder, DataError without images."""
    if not folder.is_dir():
        raise MissingSplit(f"{folder}: no such folder (the set does not have this split)")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DataError(f"{folder}: no images in it (expected one of {', '.join(sorted(IMAGE_SUFFIXES))})")
    return files


def image_folder(candidates: Iterable[Path], names: Iterable[str]) -> Path:
    """The first folder that holds one of the named images; the first of all where none does."""
    some, every = list(names)[:8], list(candidates)
    return next((place for place in every if any((place / name).is_file() for name in some)), every[0])


def annotation_folder(folder: Path) -> Path:
    """The folder, which must exist: a misnamed one would otherwise read as images without objects."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (the annotations of the images beside it)")
    return folder


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 text file. Raises DataError where it cannot be read."""
    try:
        return path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def load_json(path: Path) -> Any:
    """A JSON document. Raises MissingSplit without the file, DataError with the line of a fault."""
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise MissingSplit(f"{path}: no such file (the set does not have this split)") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise DataError(f"{path}: not JSON that can be read: nested too deeply") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def finite(*values: Any) -> tuple[float, ...]:
    """The values as floats. Raises ValueError, TypeError where one is no finite number."""
    numbers = tuple(float(value) for value in values)
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{', '.join(map(str, values))}: not all of them finite numbers")
    return numbers


@contextmanager
def entry(path: Path, where: str) -> Iterator[None]:
    """Turn a missing key or an unfit value met inside into a DataError that names file and entry."""
    try:
        yield
    except KeyError as error:
        raise DataError(f"{path}: {where}: {error} is missing") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{path}: {where}: not what the format says ({error})") from error
