"""Messages of a drone as the console's tests need them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from console.state import ControlRoom
from firmware_cfg.errors import BrokerError
from firmware_cfg.messages import Alert, Event
from firmware_cfg.topics import Topics
from tests.edge.kestrels import NOW, make_counts, make_event, make_status


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
        return make_status(state, session, **{"device": self.name, "boot_id": self.boot, **changes})

    def counts(self, count: int, prompt: str = "boat", **changes: Any) -> bytes:
        return make_counts(prompt, count, **{"device": self.name, **changes})

    def event(self, msg_type: Any, alert_id: str = "a1", **changes: Any) -> Event:
        seq = changes.pop("seq", None) or next(self._seq)
        facts = {"device": self.name, "boot_id": self.boot, "observed_at": NOW + timedelta(seconds=seq)}
        event_id = changes.pop("event_id", f"{self.name}-{seq}")
        return make_event(msg_type, event_id, alert_id, **{**facts, "seq": seq, **changes})

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
    """A broker that takes all but what `fails`, and says it back later; `answers` are payloads by topic."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bool]] = []
        self.asked: list[str] = []
        self.answers: dict[str, bytes] = {}
        self.on_publish: Callable[[str, bytes], None] = lambda topic, payload: None
        self.fails = ""

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await asyncio.sleep(0)
        if self.fails:
            raise BrokerError(self.fails)
        self.sent.append((topic, payload, retain))
        await asyncio.sleep(0)
        self.on_publish(topic, payload)

    async def ask(self, topic: str, payload: bytes, answer: str) -> bytes:
        self.asked.append(topic)
        await asyncio.sleep(0)
        if answer not in self.answers:
            raise BrokerError(f"{topic}: no answer within 20 s (is the drone there?)")
        return self.answers[answer]


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()
