"""The console's link against a real mosquitto: what it hears, asks, misses and is told again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from console.accounts import User
from console.actions import Actions
from console.history import History
from console.link import BrokerLink
from console.state import ControlRoom
from edge.backoff import Backoff
from edge.mqtt.messages import OutgoingMessage
from edge.mqtt.subscriber import Subscriber
from firmware_cfg.errors import BrokerError
from firmware_cfg.messages import AlertAck, Event, ReplayRequest
from firmware_cfg.topics import Topics
from tests.console.conftest import Drone
from tests.system.waiting import WAIT, until

HERON = Drone("heron-1")
ANN = User("ann", "operator")


class Console:
    """A room, its history and its link; `run` runs a test in their event loop."""

    def __init__(self, mosquitto: Any, folder: Path, client_id: str = "console-1") -> None:
        self.history = History(folder / f"{client_id}.db")
        self.room = ControlRoom(kept=self.history.has_event)
        self.link = BrokerLink(mosquitto.settings, self.room, self.history, client_id=client_id)
        self.actions = Actions(self.room, self.history, self.link)

    async def until(self, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + WAIT
        while not condition() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        return condition()

    async def online(self) -> bool:
        return await self.until(lambda: self.room.connected)

    def run(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def live() -> None:
            hearing = asyncio.ensure_future(self.link.run())
            try:
                await step()
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

        try:
            asyncio.run(live())
        finally:
            self.history.close()


@pytest.fixture
def field(mosquitto: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A broker that runs, and consoles that look often at what time brings."""
    monkeypatch.setattr("console.link._TICK_S", 0.05)
    mosquitto.start()
    return mosquitto


class Field:
    """Speaks for the drone heron-1 and hears what it is asked."""

    def __init__(self, mosquitto: Any) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.link = Subscriber(
            mosquitto.settings,
            (*HERON.topics.requests,),
            lambda topic, payload, _retained: self.heard.append((topic, payload)),
            backoff=Backoff(first=0.05, longest=0.2),
        )

    def __enter__(self) -> Field:
        self.link.start()
        assert self.link.wait_online(WAIT)
        return self

    def __exit__(self, *exc: object) -> None:
        self.link.stop()

    def says(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.link.publish(OutgoingMessage(topic, payload, retain=retain)).result(WAIT)

    def event(self, msg_type: Any, alert_id: str = "a1", **changes: Any) -> Event:
        now = datetime.now(timezone.utc)
        event = HERON.event(msg_type, alert_id, sent_at=now, observed_at=now, **changes)
        self.says(HERON.topics.events, event.to_payload())
        return event


def test_ten_thousand_retained_topics_are_all_shown_and_nothing_else_waits_for_them(
    field: Any, tmp_path: Path
) -> None:
    with Field(field) as drone:
        sent = [
            drone.link.publish(OutgoingMessage(topics.counts(f"p{number}"), payload, retain=True))
            for bird in range(500)
            for topics in [Topics(f"bird-{bird}")]
            for number in range(20)
            for payload in [HERON.counts(number, f"p{number}", device=f"bird-{bird}")]
        ]
        for each in sent:
            each.result(WAIT)
    console = Console(field, tmp_path)

    def shown() -> int:
        return sum(len(line.counts) for line in console.room.devices.values())

    async def flies() -> None:
        assert await console.online()
        with Field(field) as drone:
            drone.event("raise")
            assert await console.until(lambda: bool(console.room.active))
        await console.until(lambda: shown() == 10_000)
        assert shown() == 10_000

    console.run(flies)


def test_who_waits_for_an_answer_is_told_when_the_console_ends(field: Any, tmp_path: Path) -> None:
    console = Console(field, tmp_path)

    async def flies() -> None:
        assert await console.online()
        asking = asyncio.ensure_future(
            console.link.ask(HERON.topics.prompts_get, b"", HERON.topics.prompts_list)
        )
        await asyncio.sleep(0.2)
        console.link.give_up()
        with pytest.raises(BrokerError, match="being stopped"):
            await asking

    console.run(flies)


def test_what_a_drone_says_is_shown_and_kept_and_what_an_operator_does_reaches_it(
    field: Any, tmp_path: Path
) -> None:
    console = Console(field, tmp_path)
    topics = HERON.topics

    async def flies() -> None:
        assert await console.online()
        with Field(field) as drone:
            drone.says(topics.status, HERON.status(), retain=True)
            drone.says(topics.counts("boat"), HERON.counts(3), retain=True)
            event = drone.event("raise")
            assert await console.until(lambda: bool(console.room.active and console.room.active[0].rings))
            assert await console.until(lambda: "boat" in console.room.devices["heron-1"].counts)
            await console.actions.acknowledge(ANN, "heron-1", "a1")
            assert await console.until(lambda: console.room.active[0].acknowledged_by == "ann")
            assert await console.until(lambda: bool(drone.heard))
            topic, payload = drone.heard[0]
            assert topic == topics.alert_ack("a1")
            assert AlertAck.from_payload(payload).action == "acknowledge"
            assert console.history.flush()
            assert console.history.events() == [event]
            assert [row.action for row in console.history.audit()] == ["acknowledge"]
            assert len(console.history.acts(event.sent_at)) == 1

    console.run(flies)


def test_a_console_that_was_away_gets_what_it_missed_and_asks_for_what_is_lost(
    field: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.gaps.GRACE", timedelta(0))
    first = Console(field, tmp_path)
    with Field(field) as drone:
        drone.says(HERON.topics.status, HERON.status(), retain=True)

        async def sees_the_raise() -> None:
            assert await first.online()
            drone.event("raise", seq=101)
            assert await first.until(lambda: len(first.room.active) == 1)

        first.run(sees_the_raise)
        drone.event("update", seq=102)
        drone.event("clear", seq=105)
        again = Console(field, tmp_path)

        async def knows_the_end() -> None:
            assert await again.until(lambda: bool(again.room.alerts))
            assert await again.until(lambda: again.room.alerts["heron-1", "a1"].ended_by == "clear")
            assert again.room.alerts["heron-1", "a1"].steps == 3
            assert again.room.devices["heron-1"].gaps == ((103, 104),)
            asked = HERON.topics.events_replay
            assert await again.until(lambda: asked in [topic for topic, _ in drone.heard])
            request = ReplayRequest.from_payload(dict(drone.heard)[asked])
            assert (request.boot_id, request.ranges) == ("b1", ((103, 104),))

        again.run(knows_the_end)


def test_a_broker_that_goes_and_comes_back_is_told_and_two_consoles_agree(field: Any, tmp_path: Path) -> None:
    ours, theirs = Console(field, tmp_path), Console(field, tmp_path, "console-2")

    async def both() -> None:
        other = asyncio.ensure_future(theirs.link.run())
        assert await ours.online()
        assert await theirs.online()
        with Field(field) as drone:
            drone.says(HERON.topics.status, HERON.status(), retain=True)
            drone.event("raise")
            for console in (ours, theirs):
                assert await console.until(lambda console=console: len(console.room.active) == 1)  # type: ignore[misc]
            field.stop()
            assert await ours.until(lambda: not ours.room.connected)
            assert "127.0.0.1" in ours.room.connection_problem
            assert len(ours.room.active) == 1
            with pytest.raises(BrokerError):
                await ours.actions.acknowledge(ANN, "heron-1", "a1")
            field.start()
            assert await ours.online()
            assert await theirs.online()
            await ours.actions.comment(ANN, "heron-1", "a1", "<b>back</b>")
            assert await theirs.until(lambda: bool(theirs.room.active[0].comments))
            assert theirs.room.active[0].comments[0][1:] == ("ann", "<b>back</b>")
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        theirs.history.close()

    ours.run(both)


def test_who_asks_a_drone_that_is_not_there_is_told_in_time(
    field: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.link.ANSWER_PATIENCE_S", 0.2)
    console = Console(field, tmp_path)
    topics = Topics("gone-1")

    async def asks() -> None:
        assert await console.online()
        with pytest.raises(BrokerError, match="no answer within"):
            await console.link.ask(topics.thumbnail_get, b"{}", topics.thumbnail)

    console.run(asks)


def test_who_publishes_learns_whether_the_broker_has_it(field: Any) -> None:
    got: list[bytes] = []
    backoff = Backoff(first=0.05, longest=0.2)
    topic = HERON.topics.events
    with Subscriber(
        field.settings, [topic], lambda _, payload, __: got.append(payload), backoff=backoff
    ) as desk:
        assert desk.wait_online(WAIT)
        desk.publish(OutgoingMessage(topic, b"one")).result(WAIT)
        assert until(lambda: got == [b"one"])
        too_much = desk.publish(OutgoingMessage(topic, b"x" * 2_000_000))
        with pytest.raises(BrokerError):
            too_much.result(WAIT)
        field.stop()
        assert until(lambda: desk.state == "offline")
        with pytest.raises(BrokerError):
            desk.publish(OutgoingMessage(topic, b"two")).result(WAIT)


def test_two_who_want_to_see_what_a_drone_sees_share_its_one_picture(
    field: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.link.VIEW_LASTS", timedelta(hours=1))
    console = Console(field, tmp_path)
    topics = HERON.topics

    async def asks() -> None:
        assert await console.online()
        with Field(field) as drone:
            drone.says(topics.status, HERON.status(), retain=True)
            first = asyncio.ensure_future(console.link.ask(topics.thumbnail_get, b"{}", topics.thumbnail))
            second = asyncio.ensure_future(console.link.ask(topics.thumbnail_get, b"{}", topics.thumbnail))
            assert await console.until(lambda: bool(drone.heard))
            drone.says(topics.thumbnail, b"what it sees")
            assert await asyncio.gather(first, second) == [b"what it sees"] * 2
            assert await console.link.ask(topics.thumbnail_get, b"{}", topics.thumbnail) == b"what it sees"
            assert [topic for topic, _ in drone.heard] == [topics.thumbnail_get]

    console.run(asks)
