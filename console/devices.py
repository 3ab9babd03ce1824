"""One drone as the control room sees it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from console.gaps import Range, SeqGaps
from edge.fleet import DeviceState
from firmware_cfg.messages import Counts, Health, Message, Pose, PromptsAck, PromptsState, Status

CLOCK_OFF_S = 60.0
"""A drone whose clock is further off than this is said to be off."""
TRACK = 500  # places of a drone's way that are kept


@dataclass(slots=True)
class DeviceLine:
    """What is known of a drone beside its alerts. Changed by ControlRoom alone.

    Attributes:
        pose: its camera's newest pose, from an event.
        track: (capture time, longitude, latitude) of the poses, newest last.
        ack: the newest answer to a list that was sent to it.
    """

    name: str
    known: DeviceState
    version: int = 0
    pose: Pose | None = None
    pose_at: datetime | None = None
    track: deque[tuple[datetime, float, float]] = field(default_factory=lambda: deque(maxlen=TRACK))
    ack: PromptsAck | None = None
    missed: SeqGaps = field(default_factory=SeqGaps)
    _offsets: deque[float] = field(default_factory=lambda: deque(maxlen=5))

    @property
    def status(self) -> Status | None:
        return self.known.status

    @property
    def state(self) -> str:
        """online, stopped, offline, or unknown where it never said."""
        return "unknown" if self.known.status is None else self.known.status.state

    @property
    def away(self) -> bool:
        """Whether it is known to be lost or stopped."""
        return self.known.away

    @property
    def health(self) -> Health | None:
        return self.known.health

    @property
    def prompts(self) -> PromptsState | None:
        """The list in force."""
        return self.known.prompts

    @property
    def counts(self) -> dict[str, Counts]:
        return self.known.counts

    @property
    def last_heard(self) -> datetime | None:
        """The latest sign of life: by this room's clock, or by the drone's where only retained ones came."""
        return self.known.last_heard

    @property
    def gaps(self) -> tuple[Range, ...]:
        """Numbers of events that were missed and are asked for, first and last of each range."""
        return self.missed.open

    @property
    def lost(self) -> int:
        """Events that were missed and that the drone has no more."""
        return self.missed.lost

    @property
    def clock_off_s(self) -> float | None:
        """How far its clock is ahead of ours, seconds; None where that is not known, or too little to matter.

        The least of the last few: a message that was on its way for long looks like a clock that is behind.
        """
        least = min(self._offsets, key=abs, default=0.0)
        return least if abs(least) > CLOCK_OFF_S else None

    def heard(self, message: Message, at: datetime) -> None:
        """A live message came at `at`, which its drone wrote just before."""
        self._offsets.append((message.sent_at - at).total_seconds())

    def saw_pose(self, pose: Pose, at: datetime, *, live: bool = False) -> None:
        """Where it was at `at`, by its clock; an earlier pose than the newest is part of the track only.

        Live ones come in their order: one that is much earlier is of a clock that was put right.
        """
        place = (at, pose.longitude, pose.latitude)
        if live and self.pose_at is not None and (self.pose_at - at).total_seconds() > CLOCK_OFF_S:
            self.pose_at = None
            self.track.clear()
        if self.pose_at is None or at > self.pose_at:
            self.pose, self.pose_at = pose, at
            self.track.append(place)
        elif place not in self.track:
            self.track.append(place)
            ordered = sorted(self.track)
            self.track.clear()
            self.track.extend(ordered)
