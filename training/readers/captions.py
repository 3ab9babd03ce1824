"""Karpathy caption files (`dataset*.json` beside `images/`) and class folders."""

from __future__ import annotations

from pathlib import Path

from training.errors import DataError
from training.readers.files import IMAGE_SUFFIXES, entry, load_json
from training.readers.findings import Entries, Fault, Findings
from training.readers.pictures import fits
from training.samples import CaptionSample


def read_karpathy(folder: Path, split: str, findings: Findings | None = None) -> list[CaptionSample]:
    """Images of a split with their sentences and scene label; none where no image is of that split.

    `folder` may be the JSON file itself. Raises DataError for a file that is not of this format; for a
    malformed entry, naming it, unless there is a collector.
    """
    files = [folder] if folder.is_file() else sorted(folder.glob("dataset*.json"))
    if not files:
        raise DataError(f"{folder}: no dataset*.json (Karpathy captions)")
    document = load_json(files[0])
    with entry(files[0], "top level"):
        images = list(document["images"])
    entries = Entries(files[0], findings)
    samples: list[CaptionSample] = []
    for number, image in enumerate(images):
        where = f"images[{number}]"
        with entries.entry(where):
            if image["split"] != split:
                continue
            path = files[0].parent / "images" / image["filename"]
            sentences = tuple(sentence["raw"].strip() for sentence in image["sentences"])
            if not sentences or not all(sentences):
                raise Fault(
                    "empty_annotation",
                    "not what the format says (an image needs sentences, none of them empty)",
                )
            if fits(entries, where, path):
                samples.append(CaptionSample(path, sentences, str(image.get("label", ""))))
    return samples


def read_class_folders(folder: Path, findings: Findings | None = None) -> list[CaptionSample]:
    """Every image below `<folder>/<class>/`, labelled with its folder's name; no sentences.

    A class without images is an empty_annotation to the collector.
    """
    samples: list[CaptionSample] = []
    for child in sorted(child for child in folder.iterdir() if child.is_dir()):
        images = [path for path in sorted(child.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]
        samples += [CaptionSample(path, (), child.name) for path in images]
        if findings is not None and not images:
            findings.add("empty_annotation", child, "", "a class folder without images")
    if not samples:
        raise DataError(f"{folder}: no class folders with images")
    return samples
