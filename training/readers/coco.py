"""COCO instance files: `instances_<split>.json` beside `images/`, and the layouts that tools export."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from training.readers.files import UNDIVIDED, aliases, entry, finite, image_folder, load_json
from training.readers.findings import Box, Entries, Fault, Findings
from training.readers.pictures import fits
from training.readers.vocabulary import OPEN_CLASSES
from training.samples import ObjectSample, object_sample

_WHOLE = ("annotations.json", "result.json", "instances_default.json", "annotations/instances_default.json")
_Numbered = tuple[int, dict[str, Any]]  # an entry and where in its list it stands


def annotation_file(folder: Path, split: str) -> Path:
    """The file of a split: of COCO, of its own releases, of Roboflow, or of a tool that does not divide.

    `folder` may be the file itself. Where there is none, the name that it should have.
    """
    if folder.is_file():
        return folder
    named = [
        folder / name
        for alias in aliases(split)
        for name in (
            f"instances_{alias}.json",
            f"annotations/instances_{alias}.json",
            f"annotations/instances_{alias}2017.json",
            f"{alias}/_annotations.coco.json",
        )
    ]
    whole = [folder / name for name in _WHOLE] if split in UNDIVIDED else []
    return next((file for file in (*named, *whole) if file.is_file()), named[0])


def read(
    folder: Path, split: str, findings: Findings | None = None
) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and samples of a split; boxes are cut to the image, those without area dropped.

    Raises MissingSplit without the file, DataError for a file that is not COCO; for a malformed entry,
    naming it, unless there is a collector.
    """
    file = annotation_file(folder, split)
    document = load_json(file)
    with entry(file, "top level"):
        images, annotations = list(document["images"]), list(document["annotations"])
        categories = {c["id"]: str(c["name"]) for c in document["categories"]}
    names = tuple(name for name in categories.values() if name.lower() not in OPEN_CLASSES)
    entries = Entries(file, findings)
    by_image: dict[Any, list[_Numbered]] = defaultdict(list)
    for number, annotation in enumerate(annotations):
        with entries.entry(f"annotations[{number}]"):
            by_image[annotation["image_id"]].append((number, annotation))
    pictures = _pictures(file, split, images)
    samples: list[ObjectSample] = []
    seen: set[Any] = set()
    for number, image in enumerate(images):
        with entries.entry(f"images[{number}]"):
            if image["id"] in seen:
                raise ValueError(f"id {image['id']} is another image's already")
            seen.add(image["id"])
            own = by_image.pop(image["id"], [])
            path = pictures / str(image["file_name"])
            width, height = finite(image["width"], image["height"])
            if not fits(entries, f"images[{number}]", path, (width, height)):
                continue
            if not own:
                entries.note("empty_annotation", f"images[{number}]", f"{path.name} has no objects")
            samples.append(_sample(entries, path, (width, height), own, categories, names))
    for image_id, orphans in by_image.items():
        for number, _ in orphans:
            with entries.entry(f"annotations[{number}]"):
                raise ValueError(f"image_id {image_id} is not among the images")
    return names, sorted(samples, key=lambda sample: str(sample.path))


def _pictures(file: Path, split: str, images: list[Any]) -> Path:
    home = file.parent.parent if file.parent.name == "annotations" else file.parent
    within = [home / "images", *(home / "images" / name for name in (*aliases(split), "default"))]
    beside = [*(home / name for name in aliases(split)), home / f"{split}2017", home]
    names = [str(image["file_name"]) for image in images if isinstance(image, dict) and "file_name" in image]
    return image_folder([*within, *beside], names)


def _sample(
    entries: Entries,
    path: Path,
    frame: tuple[float, float],
    annotations: list[_Numbered],
    categories: dict[Any, str],
    names: tuple[str, ...],
) -> ObjectSample:
    boxes: list[Box] = []
    labels: list[int] = []
    ignored: list[Box] = []
    for number, annotation in annotations:
        where = f"annotations[{number}]"
        with entries.entry(where):
            x, y, w, h = _bbox(annotation["bbox"])
            category = categories.get(annotation["category_id"])
            if category is None:
                raise Fault(
                    "unknown_class", f"category_id {annotation['category_id']} is not among the categories"
                )
            box = entries.framed(where, (x, y, x + w, y + h), *frame)
            if box is None:
                continue
            if category not in names or annotation.get("iscrowd"):
                ignored.append(box)
            else:
                boxes.append(box)
                labels.append(names.index(category))
    return object_sample(path, boxes, labels, ignored)


def _bbox(numbers: Any) -> tuple[float, float, float, float]:
    try:
        x, y, w, h = finite(*numbers)
    except (TypeError, ValueError) as error:
        raise ValueError(f"bbox {numbers} is not four finite numbers") from error
    return x, y, w, h
