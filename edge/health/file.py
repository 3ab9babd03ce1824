"""`health.json` in the state folder: how the daemon is doing, for whoever stands beside the drone.

The daemon writes it, `remoteclip health` reads it. Ages are told by the monotonic clock and the kernel's boot
id, so a clock that is set does not make a dead daemon look alive, nor a living one dead.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat

from edge.drift import drift_line
from edge.files import write_atomically
from edge.kernel_boot import kernel_boot_id
from edge.prompts.owner import OWNER_NAME, ShelfError, is_owned
from edge.prompts.shelf import FOLDER_NAME
from firmware_cfg.messages import Health
from firmware_cfg.messages.base import Payload

log = logging.getLogger(__name__)

HEALTH_NAME = "health.json"
DEFAULT_MAX_AGE_S = 60.0
_MAX_BYTES = 64 * 1024

State = Literal["starting", "running", "stopped"]


class HealthRecord(Payload):
    """What the file holds."""

    state: State = Field(description="stopped: ended on purpose, or by an error that `reason` names.")
    reason: str = Field("", description="Why it stopped.")
    mono_s: NonNegativeFloat = Field(description="CLOCK_MONOTONIC when this was written.")
    kernel_boot_id: str = Field(description="Of the start of the machine that `mono_s` counts from.")
    link: str = Field("", description="Connection to the broker, such as online or offline.")
    link_problem: str = Field("", description="Why it is offline.")
    health: Health | None = Field(None, description="As sent over MQTT; None while it starts.")


class HealthFile:
    """Writes the record. A disk that cannot be written is one warning, never an error: the flight goes on."""

    def __init__(self, state_dir: Path | str) -> None:
        self.path = Path(state_dir) / HEALTH_NAME
        self._troubled = False
        self._health: Health | None = None

    def write(
        self,
        state: State,
        *,
        health: Health | None = None,
        reason: str = "",
        link: str = "",
        link_problem: str = "",
    ) -> None:
        """Replace the record. Without a `health` the last one of this run stays in it."""
        self._health = health or self._health
        record = HealthRecord(
            state=state,
            reason=reason,
            mono_s=time.monotonic(),
            kernel_boot_id=kernel_boot_id() or "",
            link=link,
            link_problem=link_problem,
            health=self._health,
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, record.to_payload())
        except OSError as error:
            if not self._troubled:
                log.warning("%s: cannot be written: %s", self.path, error.strerror)
            self._troubled = True
        else:
            self._troubled = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the daemon flies, in one line. `age_s` is the record's; both None where there is none."""

    ok: bool
    line: str
    record: HealthRecord | None = None
    age_s: float | None = None


def judge(state_dir: Path | str, max_age_s: float = DEFAULT_MAX_AGE_S) -> Verdict:
    """Read the record and judge it: it, and the newest frame, must not be older than `max_age_s` seconds."""
    path = Path(state_dir) / HEALTH_NAME
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES)
        record = HealthRecord.from_payload(data)
    except FileNotFoundError:
        return Verdict(False, f"{path}: there is none (did `remoteclip run` ever start here?)")
    except OSError as error:
        return Verdict(False, f"{path}: cannot be read: {error.strerror}")
    except ValueError as error:  # written by another version, or by somebody else
        return Verdict(False, f"{path}: {error}")
    if record.kernel_boot_id != (kernel_boot_id() or ""):
        return Verdict(False, f"{path}: the machine was started anew, the daemon was not", record)
    age_s = round(max(0.0, time.monotonic() - record.mono_s), 3)
    if record.state == "running" and _gone(path.parent):
        problem = f"ended without goodbye (killed, or crashed); its last sign of life is {age_s:.0f} s old"
    else:
        problem = _problem(record, age_s, max_age_s)
    if problem:
        return Verdict(False, f"{path}: {problem}", record, age_s)
    return Verdict(True, _summary(record, age_s), record, age_s)


def _gone(state_dir: Path) -> bool:
    """Whether surely no daemon runs: its lock on the prompt lists dies with it, before the record is old.

    A daemon whose disk was full from the start has no lock file; then only the age tells.
    """
    shelf = state_dir / FOLDER_NAME
    try:
        return (shelf / OWNER_NAME).exists() and not is_owned(shelf)
    except (OSError, ShelfError):  # another user's: the age tells
        return False


def _problem(record: HealthRecord, age_s: float, max_age_s: float) -> str:
    """Why this is not a daemon that flies; empty when it is one."""
    health = record.health
    if record.state == "stopped":
        return f"stopped {age_s:.0f} s ago: {record.reason or 'no reason given'}"
    if age_s > max_age_s:
        return f"no sign of life for {age_s:.0f} s (killed, hung, or the disk cannot be written)"
    if record.state == "starting" or health is None:
        return f"starting, for {age_s:.0f} s now"
    if health.frame_age_s is None:
        why = f": {health.camera_problem}" if health.camera_problem else ""
        return f"no frame yet, {health.uptime_s + age_s:.0f} s after the start{why}"
    if health.frame_age_s + age_s > max_age_s:
        why = f": {health.camera_problem}" if health.camera_problem else " (is the camera there?)"
        return f"no frame for {health.frame_age_s + age_s:.0f} s{why}"
    return ""


def _summary(record: HealthRecord, age_s: float) -> str:
    health = record.health
    assert health is not None  # a record without it has a problem
    parts = [f"{health.device}: flies, {health.frames} frames, {health.fps:g} a second"]
    if health.latency_ms is not None:
        parts.append(f"latency p95 {health.latency_ms.p95:g} ms")
    parts.append(f"{health.alerts_active} alert{'' if health.alerts_active == 1 else 's'} active")
    waiting = health.queued.alert + health.queued.update + health.queued.telemetry
    link = record.link_problem or record.link
    parts.append(f"broker {link or 'unknown'}, {waiting} message{' waits' if waiting == 1 else 's wait'}")
    if health.camera_problem is not None:
        parts.append(f"no frames just now: {health.camera_problem}")
    if health.telemetry_refused:
        causes = ", ".join(f"{count} {cause}" for cause, count in health.telemetry_refused.items())
        parts.append(f"telemetry refused: {causes}")
    if health.unplaced:
        parts.append(f"{health.unplaced} in the newest frame without a position")
    if health.drift is not None:
        parts.append(drift_line(health.drift))
    if health.temperature_c is not None:
        parts.append(f"{health.temperature_c:g} C" + (", throttled" if health.throttled else ""))
    if health.power_w is not None:
        parts.append(f"{health.power_w:g} W")
    parts.append(f"as of {age_s:.0f} s ago")
    return "; ".join(parts)
