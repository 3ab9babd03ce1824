"""Messages of a drone as the console's tests need them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from console.state import ControlRoom
from firmware_cfg.messages import Alert, Counts, Event, Status
from firmware_cfg.topics import Topics

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)


@dataclass
class Drone:
    """Speaks for one device; `seq` counts on by itself."""

    name: str = "kestrel-1"
    boot: str = "b1"
    _seq: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def topics(self) -> Topics:
        return Topics(self.name)

    def status(self, state: Any = "online", session: str = "s1", **changes: Any) -> bytes:
        facts = {"device": self.name, "sent_at": NOW, "session_started_at": NOW, "boot_id": self.boot}
        return Status(state=state, session_id=session, **facts | changes).to_payload()

    def counts(self, count: int, prompt: str = "boat", **changes: Any) -> bytes:
        facts = {"device": self.name, "sent_at": NOW, "observed_at": NOW, "frame": 3, "score": 0.5}
        return Counts(prompt=prompt, count=count, **facts | changes).to_payload()

    def event(self, msg_type: Any, alert_id: str = "a1", **changes: Any) -> Event:
        seq = changes.pop("seq", None) or next(self._seq)
        facts = {
            "device": self.name,
            "sent_at": NOW,
            "observed_at": NOW + timedelta(seconds=seq),
            "event_id": f"{self.name}-{seq}",
            "mono_ns": 1,
            "clock_synced": True,
            "severity": "warning",
            "urgency": "immediate",
            "certainty": "observed",
            "seq": seq,
            "boot_id": self.boot,
            "frame": 3,
            "prompt": "boat",
            "prompt_text": ("a boat",),
            "prompt_list_sha256": "0" * 64,
            "bundle_sha256": "1" * 64,
            "precision": "fp32",
            "score": 0.7,
            "raw_score": 3.0,
            "threshold": 0.4,
            "count": 5.0,
            "count_kind": "count",
            "frame_size": (640, 480),
            "reason": "count >= 5",
        }
        return Event(msg_type=msg_type, alert_id=alert_id, **facts | changes)

    def alert(self, event: Event, **changes: Any) -> bytes:
        return Alert.from_event(event, NOW).model_copy(update=changes).to_payload()


@dataclass
class Told:
    """A room, and a drone that speaks to it."""

    drone: Drone
    room: ControlRoom
    now: datetime = NOW

    def say(self, topic: str, payload: bytes, *, retained: bool = False) -> bool:
        return self.room.apply(topic, payload, retained, at=self.now) is not None

    def event(self, msg_type: Any, alert_id: str = "a1", **changes: Any) -> Event:
        event = self.drone.event(msg_type, alert_id, **changes)
        self.say(self.drone.topics.events, event.to_payload())
        return event

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.room.tick(self.now)


@pytest.fixture
def drone() -> Drone:
    return Drone()


@pytest.fixture
def told(drone: Drone) -> Told:
    room = ControlRoom()
    room.tell(connected=True, connection_problem="")
    room.begin("alerts", NOW)
    told = Told(drone, room)
    told.say(drone.topics.status, drone.status(), retained=True)
    return told


class FakeLink:
    """A broker that takes everything; `answers` are payloads by topic."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bool]] = []
        self.asked: list[str] = []
        self.answers: dict[str, bytes] = {}
        self.on_publish: Callable[[str, bytes], None] = lambda topic, payload: None

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.sent.append((topic, payload, retain))
        self.on_publish(topic, payload)

    async def ask(self, topic: str, payload: bytes, answer: str) -> bytes:
        self.asked.append(topic)
        await asyncio.sleep(0)
        return self.answers[answer]


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()
