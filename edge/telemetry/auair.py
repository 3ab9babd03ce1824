"""AU-AIR annotations (Bozcan and Kayacan, ICRA 2020): a Parrot Bebop 2's telemetry beside each frame."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.geo.attitude import Quaternion, from_radians
from edge.telemetry.position import Position
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    from edge.telemetry.record import FlightRecord


def read_auair(path: Path, record: FlightRecord) -> dict[str, float]:
    """Fills `record`; returns each frame's moment on its clock, by file name.

    Heights are millimetres above the take-off, angles (the drone's, not the camera's) radians. Entries
    without a field that is needed are counted and left out. Raises SourceError, OSError.
    """
    try:
        entries = json.loads(path.read_bytes())["annotations"]
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: not JSON: {error} (copy it again from its origin)") from error
    except (KeyError, TypeError):
        raise SourceError(f"{path}: has no annotations as AU-AIR has (is it another data set's?)") from None
    if not isinstance(entries, list):
        raise SourceError(f"{path}: its annotations are no list (is it another data set's?)")
    found: dict[str, tuple[float, Position, Quaternion]] = {}
    for number, entry in enumerate(entries):
        try:
            found[entry["image_name"]] = _sample(entry)
        except KeyError as error:
            record.refuse("missing field", f"annotation {number} has no {error}")
        except (TypeError, ValueError, OverflowError) as error:
            record.refuse("out of range", f"annotation {number}: {error}")
    for moment_s, position, attitude in sorted(found.values(), key=lambda sample: sample[0]):
        record.add_position(moment_s, position)
        record.add_body(moment_s, attitude)
    return {name: moment_s for name, (moment_s, _, _) in found.items()}


def _sample(entry: dict[str, Any]) -> tuple[float, Position, Quaternion]:
    when = entry["time"]
    year, month, day, hour, minute, second = (
        int(when[part]) for part in ("year", "month", "day", "hour", "min", "sec")
    )
    start = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    moment = start + timedelta(milliseconds=float(when["ms"]))  # since the clip began, not within the second
    longitude = entry["longtitude"] if "longtitude" in entry else entry["longitude"]
    position = Position(float(entry["latitude"]), float(longitude), float(entry["altitude"]) / 1000, None)
    yaw, pitch, roll = (float(entry[f"angle_{axis}"]) for axis in ("psi", "theta", "phi"))
    return moment.timestamp(), position, from_radians(yaw, pitch, roll)
