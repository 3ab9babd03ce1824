"""AU-AIR: one `annotations.json` beside `images/`, boxes and the drone's telemetry of every frame."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from training.errors import MissingSplit
from training.readers.files import UNDIVIDED, entry, finite, image_folder, load_json
from training.readers.findings import Box, Entries, Fault, Findings
from training.readers.pictures import fits
from training.samples import ObjectSample, Telemetry, object_sample

_FILE = "annotations.json"
_HIGHEST = 9_000.0  # metres: no multicopter flies above
_FASTEST = 150.0  # m/s


def read(
    folder: Path, split: str, findings: Findings | None = None
) -> tuple[tuple[str, ...], list[ObjectSample]]:
    """Class names and samples with telemetry; the set is not divided, its one split is `all` (or `test`).

    `folder` may be the JSON file itself. Telemetry that cannot be, or is not there, is None. Raises
    MissingSplit for another split, DataError for a file that is not AU-AIR's and, naming it, for a malformed
    entry, unless there is a collector.
    """
    file = folder if folder.is_file() else folder / _FILE
    if split not in UNDIVIDED:
        raise MissingSplit(f"{file}: no split {split!r} (the set is not divided: its one split is `all`)")
    document = load_json(file)
    with entry(file, "top level"):
        names = tuple(str(name) for name in document["categories"])
        annotations = list(document["annotations"])
    entries = Entries(file, findings)
    named = [
        str(item["image_name"]) for item in annotations if isinstance(item, dict) and "image_name" in item
    ]
    images = image_folder([file.parent / "images", file.parent], named)
    samples: list[ObjectSample] = []
    for number, item in enumerate(annotations):
        where = f"annotations[{number}]"
        with entries.entry(where):
            path = images / str(item["image_name"])
            # The full release has a colon in this key.
            width, height = finite(item.get("image_width", item.get("image_width:")), item["image_height"])
            marks = list(item["bbox"])
            if not fits(entries, where, path, (width, height)):
                continue
            boxes, labels = _objects(entries, where, marks, (width, height), len(names))
            if not labels:
                entries.note("empty_annotation", where, f"{path.name} has no objects")
            telemetry = _telemetry(entries, where, item)
            samples.append(object_sample(path, boxes, labels, telemetry=telemetry))
    return names, sorted(samples, key=lambda sample: str(sample.path))


def _objects(
    entries: Entries, where: str, marks: list[Any], frame: tuple[float, float], classes: int
) -> tuple[list[Box], list[int]]:
    boxes: list[Box] = []
    labels: list[int] = []
    for number, mark in enumerate(marks):
        place = f"{where}.bbox[{number}]"
        with entries.entry(place):
            label = mark["class"]
            x, y, w, h = finite(mark["left"], mark["top"], mark["width"], mark["height"])
            if label not in range(classes):
                raise Fault("unknown_class", f"class {label!r} is not among the categories")
            box = entries.framed(place, (x, y, x + w, y + h), *frame)
            if box is not None:
                boxes.append(box)
                labels.append(int(label))
    return boxes, labels


def _telemetry(entries: Entries, where: str, item: dict[str, Any]) -> Telemetry | None:
    """What the drone recorded with the frame; None, and a note, where that cannot be."""
    try:
        longitude, latitude, millimetres = finite(
            item["longtitude"] if "longtitude" in item else item["longitude"],
            item["latitude"],
            item["altitude"],
        )
        vx, vy, vz = finite(item["linear_x"], item["linear_y"], item["linear_z"])
        roll, pitch, yaw = finite(item["angle_phi"], item["angle_theta"], item["angle_psi"])
        time = _time(item["time"]) if "time" in item else None
    except KeyError as error:
        entries.note("bad_telemetry", where, f"{error} is missing")
        return None
    except (TypeError, ValueError, OverflowError) as error:
        entries.note("bad_telemetry", where, f"not what the format says ({error})")
        return None
    altitude = millimetres / 1000
    problem = ""
    if not (abs(latitude) <= 90 and abs(longitude) <= 180) or latitude == longitude == 0:
        problem = f"position {latitude:g}, {longitude:g}"
    elif not 0 <= altitude <= _HIGHEST:
        problem = f"altitude {altitude:g} m"
    elif max(abs(roll), abs(pitch), abs(yaw)) > 2 * math.pi:
        problem = f"attitude {roll:g}, {pitch:g}, {yaw:g} rad"
    elif math.hypot(vx, vy, vz) > _FASTEST:
        problem = f"velocity {vx:g}, {vy:g}, {vz:g} m/s"
    if problem:
        entries.note("bad_telemetry", where, f"{problem} cannot be")
        return None
    return Telemetry(latitude, longitude, altitude, (vx, vy, vz), roll, pitch, yaw, time)


def _time(stamp: dict[str, Any]) -> datetime:
    """Start of the recording plus `ms`, the milliseconds since (they run on past a second)."""
    names = ("year", "month", "day", "hour", "min", "sec")
    year, month, day, hour, minute, second = (int(stamp[name]) for name in names)
    (passed,) = finite(stamp["ms"])
    return datetime(year, month, day, hour, minute, second) + timedelta(milliseconds=passed)
