"""Which reader a data set is for, told by the files that lie in its folder."""

from __future__ import annotations

from pathlib import Path

from training.errors import DataError
from training.readers.files import has_images, load_json

_MEND = "no annotations that a reader knows (name them with --format)"


def detect_format(folder: Path) -> str:
    """The name of the reader whose files lie in the folder, or that an annotation file (JSON) is for.

    Raises DataError where there is none.
    """
    if folder.is_file():
        return _json_format(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (name the folder of a data set)")
    for form, patterns in _SIGNS:
        if any(_shows(folder, pattern) for pattern in patterns):
            return form
    whole = folder / "annotations.json"
    if whole.is_file():
        return _json_format(whole)
    if any(child.is_dir() and child.name != "images" and has_images(child) for child in folder.iterdir()):
        return "class_folders"
    raise DataError(f"{folder}: {_MEND}")


def _shows(folder: Path, pattern: str) -> bool:
    """Whether the folder holds what the pattern names: a folder where it ends in a slash, else a file."""
    wanted = Path.is_dir if pattern.endswith("/") else Path.is_file
    return any(wanted(path) for path in folder.glob(pattern.rstrip("/")))


# In this order: a set of masks or points has folders that would pass for classes.
_SIGNS = (
    (
        "coco",
        (
            "instances_*.json",
            "annotations/instances_*.json",
            "*/_annotations.coco.json",
            "result.json",
        ),
    ),
    ("yolo", ("data.yaml",)),
    ("colour_masks", ("class_dict.csv",)),
    ("points", ("points/",)),
    ("karpathy", ("dataset*.json",)),
    ("voc", ("Annotations/*.xml", "Annotations/*/*.xml")),
    ("dota", ("labelTxt*/", "*/labelTxt*/")),
    ("visdrone", ("annotations/*.txt", "annotations/*/*.txt", "*/annotations/*.txt")),
    ("index_masks", ("masks/", "*/masks/")),
)


def _json_format(file: Path) -> str:
    """coco, auair or karpathy, by what the document holds."""
    document = load_json(file)
    if isinstance(document, dict):
        categories = document.get("categories")
        if isinstance(categories, list) and "annotations" in document:
            if all(isinstance(name, str) for name in categories):
                return "auair"
            if "images" in document:
                return "coco"
        images = document.get("images")
        if isinstance(images, list) and images and isinstance(images[0], dict) and "sentences" in images[0]:
            return "karpathy"
    raise DataError(f"{file}: {_MEND}")
