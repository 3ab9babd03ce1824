"""Image files as the readers need them: their size without decoding, and whether they decode to the end."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
from PIL import Image, UnidentifiedImageError

from training.errors import DataError
from training.readers.files import image_files
from training.readers.findings import Entries, Findings

_EXIF_ORIENTATION = 0x0112


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as OpenCV will decode the file (turned as its EXIF tag says).

    Reads the header only, unless only OpenCV knows the format. Raises DataError where the file is no image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a map sheet is no attack
        try:
            with Image.open(path) as image:
                width, height = image.size
                turned = image.getexif().get(_EXIF_ORIENTATION) in (5, 6, 7, 8)
            return (height, width) if turned else (width, height)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            pass
    decoded = cv2.imread(str(path))
    if decoded is None:
        raise DataError(f"{path}: not an image that OpenCV reads (remove or repair it)")
    return decoded.shape[1], decoded.shape[0]


def image_problem(path: Path) -> str:
    """What keeps an image from being decoded to its end; empty where nothing does.

    OpenCV, which training reads with, fills the rest of a truncated file with grey and says nothing: Pillow
    tells.
    """
    if not path.is_file():
        return "no such file"
    if cv2.imread(str(path)) is None:
        return "not an image that OpenCV reads"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                image.load()
        except (UnidentifiedImageError, Image.DecompressionBombError):
            return ""  # of a kind or size that only OpenCV takes
        except (OSError, SyntaxError, ValueError) as error:
            return f"does not decode to its end ({error})"
    return ""


def fits(entries: Entries, where: str | int, path: Path, stated: tuple[float, float] | None = None) -> bool:
    """Whether the image that an entry annotates is there and of the size that it states.

    Looks only where faults are collected: strict readers leave it to whoever opens the image.
    """
    if entries.findings is None:
        return True
    if not path.is_file():
        entries.note("missing_image", where, f"{path}: no such file")
        return False
    try:
        width, height = image_size(path)
    except DataError as error:
        entries.findings.add("corrupt_image", path, "", str(error).removeprefix(f"{path}: "))
        return False
    if stated is not None and (width, height) != stated:
        entries.note(
            "size_mismatch", where, f"{path} is {width} x {height}, stated {stated[0]:g} x {stated[1]:g}"
        )
        return False
    return True


def measured(path: Path, findings: Findings | None) -> tuple[int, int] | None:
    """The image's size; where it is no image and faults are collected, None and corrupt_image."""
    try:
        return image_size(path)
    except DataError as error:
        if findings is None:
            raise
        findings.add("corrupt_image", path, "", str(error).removeprefix(f"{path}: "))
        return None


def note_strays(images: Path, tables: Path, suffix: str, findings: Findings | None) -> None:
    """List the annotation files of a folder that belong to no image of the folder of images."""
    if findings is None:
        return
    stems = {path.stem for path in image_files(images)}
    for file in sorted(tables.glob(f"*{suffix}")):
        if file.stem not in stems:
            findings.add("missing_image", file, "", f"no image {file.stem} in {images}")
