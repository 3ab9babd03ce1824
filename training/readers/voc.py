"""Pascal VOC: `Annotations/*.xml`, `JPEGImages/`, `ImageSets/Main/<split>.txt`; also laid out as DIOR is."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from training.errors import DataError, MissingSplit
from training.readers.files import (
    IMAGE_SUFFIXES,
    UNDIVIDED,
    aliases,
    annotation_folder,
    finite,
    read_lines,
)
from training.readers.findings import Box, Entries, Fault, Findings
from training.readers.pictures import fits, measured
from training.readers.vocabulary import listed_classes
from training.samples import ObjectSample, object_sample

_LISTED = re.compile(r"^(.*?)(?:\s+-?[01])?$")  # lists of one class end their lines with 1, 0 or -1


def read(
    folder: Path, split: str, findings: Findings | None = None
) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and samples of a split, with difficulty.

    The classes are those of `classes.txt` where there is one, else all that occur in the set, by name. VOC
    counts pixels from 1 and includes a box's last ones; samples, as everywhere here, count from 0 and end
    where the next pixel begins. Raises MissingSplit without the split's list; DataError for a missing image,
    a missing or malformed file and, naming it, a malformed object, unless there is a collector.
    """
    tables = annotation_folder(folder / "Annotations")
    if not any(tables.glob("*.xml")):
        tables = annotation_folder(tables / "Horizontal Bounding Boxes")  # DIOR
    names = listed_classes(folder) or _occurring(tables)
    images = {
        path.stem: path
        for place in sorted(folder.glob("JPEGImages*"))
        for path in sorted(place.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    samples: list[ObjectSample] = []
    for stem in _stems(folder, tables, split):
        entries = Entries(tables / f"{stem}.xml", findings)
        if stem not in images:
            entries.fault("missing_image", "", f"no image {stem} in {folder / 'JPEGImages'}")
            continue
        root = _root(entries)
        if root is None:
            continue
        path = images[stem]
        with entries.entry("size"):
            frame = _frame(entries, root, path)
            if frame is not None:
                samples.append(_sample(path, entries, root, frame, names))
    return names, sorted(samples, key=lambda sample: str(sample.path))


def _stems(folder: Path, tables: Path, split: str) -> list[str]:
    lists = folder / "ImageSets" / "Main"
    if not lists.is_dir():
        if split in UNDIVIDED:
            return sorted(file.stem for file in tables.glob("*.xml"))
        raise MissingSplit(f"{lists}: no such folder (the set is not divided: its one split is `all`)")
    file = next((lists / f"{name}.txt" for name in aliases(split) if (lists / f"{name}.txt").is_file()), None)
    if file is None:
        raise MissingSplit(f"{lists / split}.txt: no such file (the set does not have this split)")
    stems = []
    for line in read_lines(file):
        match = _LISTED.match(line.strip())
        name = Path(match.group(1) if match else line)
        if name.name:
            stems.append(name.stem if name.suffix.lower() in IMAGE_SUFFIXES else name.name)
    if not stems:
        raise DataError(f"{file}: lists no images")
    return stems


def _occurring(tables: Path) -> tuple[str, ...]:
    """Every class of the whole set, so that its splits number them alike."""
    found: set[str] = set()
    for file in tables.glob("*.xml"):
        try:
            root = ET.parse(file).getroot()
        except (ET.ParseError, ValueError, LookupError, OSError):
            continue  # reported when the split that it belongs to is read
        found |= {(item.findtext("name") or "").strip() for item in root.iter("object")}
    return tuple(sorted(found - {""}))


def _root(entries: Entries) -> ET.Element | None:
    """The document's root; None, and a fault, without the file or where it is not such a document."""
    if not entries.file.is_file():
        entries.fault("missing_annotation", "", "no such file (every listed image has one)")
        return None
    try:
        root = ET.parse(entries.file).getroot()
    except ET.ParseError as error:
        entries.fault("malformed_entry", error.position[0], f"not XML ({error})")
        return None
    except (ValueError, LookupError, OSError) as error:
        entries.fault("malformed_entry", "", f"cannot be read as XML ({error})")
        return None
    if root.tag != "annotation":
        entries.fault("malformed_entry", "", f"the root is <{root.tag}>, not <annotation>")
        return None
    return root


def _frame(entries: Entries, root: ET.Element, path: Path) -> tuple[float, float] | None:
    """Width and height as stated, or as the image has it where nothing, or 0, is stated; None: left out."""
    width, height = finite(root.findtext("size/width") or 0, root.findtext("size/height") or 0)
    if width <= 0 or height <= 0:
        return measured(path, entries.findings)
    return (width, height) if fits(entries, "size", path, (width, height)) else None


def _sample(
    path: Path, entries: Entries, root: ET.Element, frame: tuple[float, float], names: tuple[str, ...]
) -> ObjectSample:
    boxes: list[Box] = []
    labels: list[int] = []
    difficult: list[bool] = []
    for number, item in enumerate(root.findall("object")):
        where = f"object[{number}]"
        with entries.entry(where):
            name = (item.findtext("name") or "").strip()
            edges = [item.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
            if not name or None in edges:
                raise ValueError("an object has a name and a bndbox of xmin, ymin, xmax, ymax")
            x1, y1, x2, y2 = finite(*edges)
            if name not in names:
                raise Fault("unknown_class", f"class {name!r} is not in classes.txt")
            box = entries.framed(where, (x1 - 1, y1 - 1, x2, y2), *frame)
            if box is not None:
                boxes.append(box)
                labels.append(names.index(name))
                difficult.append((item.findtext("difficult") or "0").strip() == "1")
    if not labels:
        entries.note("empty_annotation", "", f"{path.name} has no objects")
    return object_sample(path, boxes, labels, difficult=difficult)
