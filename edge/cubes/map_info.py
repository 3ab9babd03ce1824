"""ENVI's `map info` and `coordinate system string`: where a cube's pixels lie."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.cubes.georeference import Georeference
from firmware_cfg.errors import SourceError

_UNITS_M = {"meters": 1.0, "metres": 1.0, "feet": 0.3048, "km": 1000.0, "degrees": 0.0}
_UTM_SERIES = {"wgs84": (32600, 32700), "nad83": (26900, None), "northamerica1983": (26900, None)}
"""EPSG codes of a datum's UTM zone 0, north and south."""


def georeference_of(fields: Mapping[str, Any], header: Path) -> Georeference | None:
    """What the header says; None where it says nothing, or only that the pixels are `Arbitrary`.

    `map info` is: projection, the reference pixel (1, 1 is the corner of the first one), its x and y, the
    pixel's width and height, zone and hemisphere where it is UTM, datum, `units=...`, `rotation=...` degrees.
    Raises SourceError where it cannot be read.
    """
    info = fields.get("map info")
    if info is None:
        return None
    words = [str(word).strip() for word in (info if isinstance(info, list) else [info])]
    options = {
        key.strip().lower(): value.strip() for key, _, value in (w.partition("=") for w in words) if value
    }
    plain = [word for word in words if "=" not in word]
    projection = plain[0].lower() if plain else ""
    if projection in ("", "arbitrary", "pseudo"):
        return None
    try:
        column, row, x, y, width, height = (float(word) for word in plain[1:7])
        turn = math.radians(float(options.get("rotation", "0")))
    except ValueError:
        raise SourceError(
            f"{header}: map info has no six numbers after its projection (correct the header)"
        ) from None
    is_angle = projection.startswith("geographic")
    unit = options.get("units", "degrees" if is_angle else "meters").lower()
    if unit not in _UNITS_M:
        return None
    # As GDAL reads it: the columns run along (cos, sin) of the rotation.
    a, b = math.cos(turn) * width, math.sin(turn) * height
    d, e = math.sin(turn) * width, -math.cos(turn) * height
    transform = (a, b, x - a * (column - 1) - b * (row - 1), d, e, y - d * (column - 1) - e * (row - 1))
    crs = _coordinate_system(fields, projection, plain[7:])
    return None if crs is None else Georeference(crs, transform, 0.0 if is_angle else _UNITS_M[unit])


def _coordinate_system(fields: Mapping[str, Any], projection: str, rest: list[str]) -> str | None:
    datum = re.sub(r"[^a-z0-9]", "", rest[-1].lower()) if rest else ""
    if projection.startswith("geographic") and datum in ("wgs84", ""):
        return "EPSG:4326"
    if projection == "utm" and len(rest) >= 2 and rest[0].isdigit():
        north, south = _UTM_SERIES.get(datum if len(rest) > 2 else "wgs84", (None, None))
        series = south if rest[1].lower().startswith("s") else north
        if series is not None and 1 <= int(rest[0]) <= 60:
            return f"EPSG:{series + int(rest[0])}"
    wkt = fields.get("coordinate system string")
    if wkt is None:
        return None
    return ",".join(wkt) if isinstance(wkt, list) else str(wkt)
