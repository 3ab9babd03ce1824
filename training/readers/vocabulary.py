"""Class lists that a set brings along in a text file."""

from __future__ import annotations

from pathlib import Path

from training.errors import DataError
from training.readers.files import read_lines

OPEN_CLASSES = ("dontcare", "ignore", "ignored")  # these mark regions that were left open, not objects
_FILES = ("classes.txt", "labels.txt", "labelmap.txt")


def listed_classes(folder: Path) -> tuple[str, ...]:
    """The classes of classes.txt or labels.txt (one a line) or CVAT's labelmap.txt; none without such a file.

    Raises DataError for a file that names no class, or one twice.
    """
    file = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if file is None:
        return ()
    lines = [line.strip() for line in read_lines(file) if line.strip() and not line.startswith("#")]
    if file.name == "labelmap.txt":  # `label:colour:parts:actions`
        lines = [line.split(":")[0].strip() for line in lines]
        lines = [line for line in lines if line != "background"]
    twice = next((name for name in lines if lines.count(name) > 1), "")
    if not lines or twice:
        raise DataError(f"{file}: " + (f"class {twice!r} twice" if twice else "no classes (one a line)"))
    return tuple(lines)
