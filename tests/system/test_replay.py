"""Over a real broker: gaps are filled for who asks, and what a lost outbox left behind is ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge import events
from edge.alerts.state import Transition
from edge.alerts.writer import AlertWriter
from edge.backoff import Backoff
from edge.events import FrameFacts, Session
from edge.mqtt.link import MqttLink
from edge.outbox.outbox import Outbox
from edge.requests.desk import RequestDesk
from edge.requests.orphans import OrphanSweeper
from edge.requests.replay import ReplayRequests
from firmware_cfg.messages import Event
from firmware_cfg.messages.replay import ReplayAnswer
from firmware_cfg.prompt_list import PromptList
from firmware_cfg.rules import Term
from firmware_cfg.topics import Topics

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)
TOPICS = Topics("bird")
BANK: Any = SimpleNamespace(
    prompt_list=PromptList.model_validate(
        {"prompts": [{"id": "car", "text": "a car", "alerts": [{"when": "count >= 1"}]}]}
    ),
    list_sha256="a" * 64,
    thresholds={"car": 0.5},
)


def step(kind: str, alert_id: str) -> Transition:
    return Transition(
        kind=kind,  # type: ignore[arg-type]
        alert_id=alert_id,
        prompt_id="car",
        rule_index=0,
        severity="warning",
        value=1.0,
        term=Term("count"),
        score=0.9,
        raw=2.0,
        threshold=0.5,
        certainty="observed",
        boxes=(),
        track_ids=(),
        reason="count >= 1",
    )


def write(outbox: Outbox, kind: str, alert_id: str) -> Event:
    frame = FrameFacts(1, NOW, 1, (128, 64), "fp32", BANK)
    session = Session("bird", "5e55", NOW, outbox.boot_id, "a" * 64, "1")
    (event,) = AlertWriter(outbox, session).write([step(kind, alert_id)], frame, {})
    return event


@contextmanager
def flight(broker: Any, path: Path) -> Iterator[Outbox]:
    """All of a daemon that speaks and listens, without its frames."""
    with ExitStack() as stack:
        outbox = stack.enter_context(Outbox(path))
        session = Session("bird", "5e55", NOW, outbox.boot_id, "a" * 64, "1")
        sweeper = OrphanSweeper(outbox, session, prompts=lambda: {"car"})
        replay = ReplayRequests(outbox, "bird")
        handlers = {"events/replay": replay.handle, "alerts": sweeper.handle, "counts": sweeper.handle}
        desk = stack.enter_context(RequestDesk("bird", handlers))  # type: ignore[arg-type]
        stack.enter_context(
            MqttLink(
                broker.settings,
                outbox,
                device="bird",
                status=lambda state: events.status(session, state, NOW, "").to_payload(),
                stamp=lambda message: events.stamp(message, NOW),
                on_request=desk.take,
                on_sweep=lambda begins: desk.call(
                    "sweep", partial(sweeper.begin, sweeper.expected()) if begins else sweeper.end
                ),
                backoff=Backoff(first=0.1, longest=0.1),
                sweep_time=0.5,
            )
        )
        yield outbox


@pytest.fixture
def ask(mosquitto: Any) -> Iterator[Callable[..., None]]:
    """Publishes a request as MQTT 5 does it."""
    with ExitStack() as stack:

        def publish(payload: bytes, *, response_topic: str, correlation: bytes) -> None:
            client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
            client.connect("127.0.0.1", mosquitto.port)
            client.loop_start()
            stack.callback(client.loop_stop)
            stack.callback(client.disconnect)
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ResponseTopic, properties.CorrelationData = response_topic, correlation
            client.publish(TOPICS.events_replay, payload, qos=1, properties=properties).wait_for_publish(30)

        yield publish


def test_a_subscriber_fills_the_gap_that_it_finds(
    mosquitto: Any, subscribe: Any, ask: Callable[..., None], tmp_path: Path
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    with flight(mosquitto, tmp_path / "outbox.db") as outbox:
        sent = [write(outbox, kind, alert_id) for alert_id in ("a1", "a2") for kind in ("raise", "clear")]
        inbox.wait_for(lambda all_: sum(topic == TOPICS.events for topic, _, _ in all_) == 4)
        deadline = time.monotonic() + 30
        while outbox.counts().queued and time.monotonic() < deadline:  # the PUBACKs may come after the events
            time.sleep(0.01)
        request = {"schema": 1, "boot_id": outbox.boot_id, "ranges": [[2, 3]], "request_id": "gap"}
        ask(json.dumps(request).encode(), response_topic="remoteclip-reply/bird/x", correlation=b"7")
        received = inbox.wait_for(
            lambda all_: any(topic.startswith("remoteclip-reply") for topic, _, _ in all_)
        )
    told = [Event.from_payload(payload) for topic, payload, _ in received if topic == TOPICS.events]
    assert [event.event_id for event in told] == [each.event_id for each in (*sent, *sent[1:3])]
    assert [event.historical for event in told] == [False] * 4 + [True] * 2
    (answer,) = [payload for topic, payload, _ in received if topic == "remoteclip-reply/bird/x"]
    assert (ReplayAnswer.from_payload(answer).sent, ReplayAnswer.from_payload(answer).request_id) == (
        2,
        "gap",
    )


def test_what_a_lost_outbox_left_with_the_broker_is_ended_once(
    mosquitto: Any, subscribe: Any, tmp_path: Path
) -> None:
    mosquitto.start()
    first = subscribe(mosquitto.settings)
    with flight(mosquitto, tmp_path / "lost.db") as outbox:
        for alert_id in ("a1", "a2"):
            write(outbox, "raise", alert_id)
        outbox.put(TOPICS.counts("boat"), b"{}", kind="telemetry", retain=True)
        outbox.put(TOPICS.counts("car"), b"{}", kind="telemetry", retain=True)
        first.wait_payload(TOPICS.counts("car"), b"{}")
    with flight(mosquitto, tmp_path / "new.db"):
        first.wait_payload(TOPICS.alert("a1"), b"")
        first.wait_payload(TOPICS.alert("a2"), b"")
        first.wait_payload(TOPICS.counts("boat"), b"")
    late = subscribe(mosquitto.settings)
    received = late.wait_for(lambda all_: any(topic == TOPICS.counts("car") for topic, _, _ in all_))
    assert {topic for topic, _, _ in received} == {TOPICS.status, TOPICS.counts("car")}
    told = [Event.from_payload(payload) for topic, payload, _ in first.messages if topic == TOPICS.events]
    assert sorted((event.alert_id, event.msg_type, event.reason) for event in told) == [
        ("a1", "clear", "restart"),
        ("a1", "raise", "count >= 1"),
        ("a2", "clear", "restart"),
        ("a2", "raise", "count >= 1"),
    ]


def test_an_active_alert_is_shown_again_where_a_crashed_broker_forgot_it(
    mosquitto: Any, subscribe: Any, tmp_path: Path
) -> None:
    mosquitto.extra.append("persistence false")
    mosquitto.start()
    inbox = subscribe(mosquitto.settings)
    with flight(mosquitto, tmp_path / "outbox.db") as outbox:
        write(outbox, "raise", "a1")
        inbox.wait_for(lambda all_: any(topic == TOPICS.alert("a1") for topic, _, _ in all_))
        mosquitto.kill()
        mosquitto.start()
        late = subscribe(mosquitto.settings)
        received = late.wait_for(lambda all_: any(topic == TOPICS.alert("a1") for topic, _, _ in all_))
    assert TOPICS.events not in {topic for topic, _, _ in received}  # shown again, not raised again
