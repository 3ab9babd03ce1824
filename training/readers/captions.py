"""Karpathy caption files (`dataset*.json` beside `images/`) and class folders."""

from __future__ import annotations

import json
from pathlib import Path

from training.errors import DataError
from training.samples import CaptionSample

_IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}


def read_karpathy(folder: Path, split: str) -> list[CaptionSample]:
    """Images of a split with their sentences and scene label."""
    files = sorted(folder.glob("dataset*.json"))
    if not files:
        raise DataError(f"{folder}: no dataset*.json (Karpathy captions)")
    document = json.loads(files[0].read_text("utf-8"))
    return [
        CaptionSample(
            folder / "images" / image["filename"],
            tuple(sentence["raw"].strip() for sentence in image["sentences"]),
            image.get("label", ""),
        )
        for image in document["images"]
        if image["split"] == split
    ]


def read_class_folders(folder: Path) -> list[CaptionSample]:
    """Every image below `<folder>/<class>/`, labelled with its folder's name; no sentences."""
    samples = [
        CaptionSample(path, (), child.name)
        for child in sorted(folder.iterdir())
        if child.is_dir()
        for path in sorted(child.iterdir())
        if path.suffix.lower() in _IMAGES
    ]
    if not samples:
        raise DataError(f"{folder}: no class folders with images")
    return samples
