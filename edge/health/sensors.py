"""Temperature, power and throttling of the device, as Linux tells them under /sys; a Jetson tells all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SYSFS = Path("/sys")
_NO_SENSOR = frozenset({"PMIC-Die"})  # a constant on older Jetsons, 50 or 100 degrees whatever happens
_PLAUSIBLE_C = (-55.0, 150.0)
_MONITOR = "ina3221"  # the power monitor of all Jetsons: three rails each
_UNUSED_RAIL = "NC"
_WHOLE_MODULE = ("VDD_IN", "POM_5V_IN")  # rails that feed all others
_SLOWS_DOWN = re.compile(r"(thermal-)?(cpufreq|devfreq)|Processor$|.*throttle-alert$")


@dataclass(frozen=True, slots=True)
class SensorReading:
    """What could be read at one moment; empty or None where the device does not tell.

    temperatures_c      degrees Celsius by thermal zone
    power_w             watts by rail
    throttled           whether heat slows a processor down just now
    overcurrent_events  how often too much current did, since the device was started (Jetson)
    """

    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    power_w: Mapping[str, float] = field(default_factory=dict)
    throttled: bool | None = None
    overcurrent_events: int | None = None

    @property
    def hottest_c(self) -> float | None:
        """The highest temperature, degrees Celsius."""
        return max(self.temperatures_c.values(), default=None)

    @property
    def total_power_w(self) -> float | None:
        """What the whole module takes, watts: its input rail, or the sum of its rails where it has none."""
        for rail in _WHOLE_MODULE:
            if rail in self.power_w:
                return self.power_w[rail]
        return round(sum(self.power_w.values()), 3) if self.power_w else None


def read_sensors(sysfs: Path = _SYSFS) -> SensorReading:
    """Every sensor once. One that cannot be read (its part is switched off) is left out; never raises."""
    return SensorReading(
        _temperatures(sysfs / "class" / "thermal"),
        _power(sysfs / "class" / "hwmon"),
        _throttled(sysfs / "class" / "thermal"),
        _overcurrent(sysfs / "class" / "hwmon"),
    )


def _temperatures(folder: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for zone in _in(folder, "thermal_zone*"):
        name, milli = _text(zone / "type"), _number(zone / "temp")
        if not name or name in _NO_SENSOR or milli is None:
            continue
        if _PLAUSIBLE_C[0] < milli / 1000 < _PLAUSIBLE_C[1]:  # others mean that it is not there
            found[_new_name(name, found)] = round(milli / 1000, 1)
    return found


def _power(folder: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for chip in _in(folder, "hwmon*"):
        if _text(chip / "name") != _MONITOR:
            continue
        for channel in (1, 2, 3):
            rail = _text(chip / f"in{channel}_label")
            millivolts, milliamperes = (
                _number(chip / f"in{channel}_input"),
                _number(chip / f"curr{channel}_input"),
            )
            if rail and rail != _UNUSED_RAIL and millivolts is not None and milliamperes is not None:
                found[_new_name(rail, found)] = round(millivolts * milliamperes / 1e6, 3)
    return found


def _throttled(folder: Path) -> bool | None:
    states = [
        _number(device / "cur_state")
        for device in _in(folder, "cooling_device*")
        if _SLOWS_DOWN.match(_text(device / "type"))  # not fans, which cool without a loss
    ]
    known = [state for state in states if state is not None]
    return any(known) if known else None


def _overcurrent(folder: Path) -> int | None:
    counts = [_number(path) for chip in _in(folder, "hwmon*") for path in _in(chip, "oc*_event_cnt")]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _in(folder: Path, pattern: str) -> Iterator[Path]:
    """In the order of their numbers: zone 2 comes before zone 10."""
    return iter(sorted(folder.glob(pattern), key=lambda path: (len(path.name), path.name)))


def _new_name(name: str, taken: Mapping[str, object]) -> str:
    """Some boards give several zones one name."""
    number = 2
    unique = name
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    return unique


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(_text(path))
    except ValueError:
        return None
