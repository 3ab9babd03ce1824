"""Karpathy caption files (`dataset*.json` beside `images/`) and class folders."""

from __future__ import annotations

from pathlib import Path

from training.errors import DataError
from training.readers.files import IMAGE_SUFFIXES, entry, load_json
from training.samples import CaptionSample


def read_karpathy(folder: Path, split: str) -> list[CaptionSample]:
    """Images of a split with their sentences and scene label; none where no image is of that split.

    Raises DataError naming file and entry for what is malformed.
    """
    files = sorted(folder.glob("dataset*.json"))
    if not files:
        raise DataError(f"{folder}: no dataset*.json (Karpathy captions)")
    document = load_json(files[0])
    with entry(files[0], "top level"):
        images = list(document["images"])
    samples: list[CaptionSample] = []
    for number, image in enumerate(images):
        with entry(files[0], f"images[{number}]"):
            if image["split"] != split:
                continue
            sentences = tuple(sentence["raw"].strip() for sentence in image["sentences"])
            if not sentences or not all(sentences):
                raise ValueError("an image needs sentences, none of them empty")
            path = folder / "images" / image["filename"]
            samples.append(CaptionSample(path, sentences, str(image.get("label", ""))))
    return samples


def read_class_folders(folder: Path) -> list[CaptionSample]:
    """Every image below `<folder>/<class>/`, labelled with its folder's name; no sentences."""
    samples = [
        CaptionSample(path, (), child.name)
        for child in sorted(folder.iterdir())
        if child.is_dir()
        for path in sorted(child.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not samples:
        raise DataError(f"{folder}: no class folders with images")
    return samples
