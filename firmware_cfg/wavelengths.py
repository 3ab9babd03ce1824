"""How wavelengths of a cube's bands are written in a device file and on the command line.

    [FIRST:LAST[/COUNT] | FILE] [without BAND[-BAND],...]

`401:889` spreads the bands evenly from 401 to 889 nm; `380:2500/224 without 1-3,108-112` says that the sensor
has 224 bands of which some (counted from 1) were taken out; `bands.txt` is a file of numbers; `without 12-14`
alone leaves bands out and keeps what the file itself says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

GRAMMAR = "FIRST:LAST[/COUNT] in nm or a file of numbers, then perhaps `without 1-3,108`"

NANOMETRES: Mapping[str, float] = MappingProxyType({"nm": 1.0, "um": 1e3})

_NUMBER = r"([0-9]+(?:\.[0-9]*)?)"
_EVEN = re.compile(rf"{_NUMBER}\s*:\s*{_NUMBER}\s*(nm|um)?\s*(?:/\s*([0-9]+))?")
_WITHOUT = re.compile(r"(?:(.*)\s)?\s*without\s(.*)", re.DOTALL)
_SPAN = re.compile(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?")

_MOST_BANDS = 100_000


@dataclass(frozen=True, slots=True)
class Wavelengths:
    """Where the bands of a cube lie.

    even     (first, last) in nm, spread evenly over all bands; None: see `file`
    count    bands of the sensor, also those in `without`; None: as many as the cube has and `without` names
    file     a file of one number a band; "" for none: what the cube's own file says
    without  bands, counted from 1, that are not used, or that were taken out of the cube already
    """

    even: tuple[float, float] | None = None
    count: int | None = None
    file: str = ""
    without: frozenset[int] = frozenset()


def parse_wavelengths(text: str) -> Wavelengths:
    """Read the option. Raises ValueError, one line with what would do."""
    base, without = text.strip(), frozenset[int]()
    if match := _WITHOUT.fullmatch(base):
        base, without = (match[1] or "").strip(), _bands(match[2])
    if not base and not without:
        raise ValueError(f"no wavelengths in {text!r}: write {GRAMMAR}")
    if (match := _EVEN.fullmatch(base)) is None:
        if re.match(r"[0-9.]+\s*:", base):
            raise ValueError(f"{base!r} is no range of wavelengths: write {GRAMMAR}")
        return Wavelengths(file=base, without=without)
    scale = NANOMETRES[match[3] or "nm"]
    first, last = float(match[1]) * scale, float(match[2]) * scale
    count = None if match[4] is None else int(match[4])
    if not 0 < first < last:
        raise ValueError(f"{base!r} must begin above 0 nm and end above where it begins")
    if count is not None and not 2 <= count <= _MOST_BANDS:
        raise ValueError(f"{base!r} must have 2 to {_MOST_BANDS:,} bands")
    if count is not None and without and max(without) > count:
        raise ValueError(f"there is no band {max(without)} of {count} to leave out")
    return Wavelengths(even=(first, last), count=count, without=without)


def _bands(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        if (match := _SPAN.fullmatch(part)) is None:
            raise ValueError(
                f"{part.strip()!r} is no band: after `without` come bands such as 1-3,108,220-224"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= _MOST_BANDS:
            raise ValueError(f"{part.strip()!r} is no span of bands: they count from 1, upwards")
        found.update(range(first, last + 1))
    return frozenset(found)
