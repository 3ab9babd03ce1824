"""Brings a broker's retained messages in line with the outbox: alerts that nobody ends, or that it forgot."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from edge.alerts.state import KeptAlert
from edge.alerts.writer import AlertWriter
from edge.events import Session
from edge.mqtt.messages import IncomingMessage
from edge.outbox.outbox import Outbox
from firmware_cfg.messages import Alert
from firmware_cfg.topics import Topics

log = logging.getLogger(__name__)

MAX_ALERT_BYTES = 256 * 1024
MOST_SWEPT = 1000  # clears in one run: no publisher may fill the outbox, which never sheds them


class OrphanSweeper:
    """`handle` is the handler of the channels `alerts` and `counts`; all but `expected` is one thread's own.

    An outbox that was lost or damaged took its alerts along; the broker still shows them as active. Each such
    alert ends with a clear whose reason is `restart`, made of the facts that the broker has. A broker that
    crashed may have forgotten alerts that are active: between `begin` and `end` it says what it has, and what
    is missing of the `expected` is put again. Counts of prompts that the list has no more are emptied.

    Args:
        prompts: ids of the prompts in force.
    """

    def __init__(self, outbox: Outbox, session: Session, *, prompts: Callable[[], Collection[str]]) -> None:
        self._outbox = outbox
        self._topics = Topics(session.device)
        self._writer = AlertWriter(outbox, session)
        self._prompts = prompts
        self._swept = 0
        self._expected: frozenset[str] = frozenset()
        self._heard: set[str] = set()

    def expected(self) -> frozenset[str]:
        """Ids of the active alerts that the broker should have: all but those that wait to be sent.

        From any thread. Raises OutboxError.
        """
        kept = self._outbox.kept_alerts()
        return frozenset(
            each for each in kept if not self._outbox.waits(f"{self._topics.root}/alerts/{each}")
        )

    def begin(self, expected: frozenset[str]) -> None:
        """From here on comes what the broker has. `expected` is what was so just before it was asked."""
        self._expected = expected
        self._heard.clear()

    def end(self) -> None:
        """All of it has come: put the alerts again that should have been among it. Raises OutboxError."""
        missing = self._expected - self._heard
        with self._outbox.transaction():  # no alert may end between the look and the put
            for alert_id, state in self._outbox.kept_alerts().items():
                if alert_id not in missing or self._outbox.waits(topic := self._topics.alert(alert_id)):
                    continue
                alert = KeptAlert.from_state(state).alert
                self._outbox.put(topic, alert.to_payload(), kind="alert", retain=True)
                log.info("%s: put again: the broker did not have it", topic)

    def handle(self, message: IncomingMessage) -> None:
        """Look at one message that the broker had retained. Raises OutboxError."""
        topic = Topics.parse(message.topic)
        if topic is None or topic.item is None or topic.device != self._topics.device:
            return
        if topic.channel == "alerts" and message.payload and message.retained:
            self._heard.add(topic.item)
        # What waits in the outbox will settle it, and an empty message is what is wanted.
        if not message.retained or not message.payload or self._outbox.waits(message.topic):
            return
        if topic.channel == "counts":
            if topic.item not in self._prompts():
                log.info("%s: emptied: no such prompt is in the list", message.topic)
                self._outbox.put(message.topic, b"", kind="telemetry", retain=True)
        elif topic.channel == "alerts" and topic.item not in self._outbox.kept_alerts():
            self._sweep(topic.item, message)

    def _sweep(self, alert_id: str, message: IncomingMessage) -> None:
        self._swept += 1
        if self._swept > MOST_SWEPT:
            if self._swept == MOST_SWEPT + 1:
                log.warning("%s: left, as are all after it: %d were swept", message.topic, MOST_SWEPT)
            return
        if self._outbox.has_ended(alert_id):
            # Its clear is on the way, or it was taken and the broker forgot: it must not be cleared twice.
            self._outbox.put(message.topic, b"", kind="alert", retain=True)
            return
        try:
            self._writer.end_orphan(self._alert(alert_id, message.payload))
            log.warning("%s: cleared: nobody here knows this alert of an earlier run", message.topic)
        except ValueError as error:
            log.warning("%s: emptied: %s", message.topic, error)
            self._outbox.put(message.topic, b"", kind="alert", retain=True)

    def _alert(self, alert_id: str, payload: bytes) -> Alert:
        if len(payload) > MAX_ALERT_BYTES:
            raise ValueError(f"{len(payload)} bytes are no alert")
        alert = Alert.from_payload(payload)
        if (alert.alert_id, alert.device) != (alert_id, self._topics.device):
            raise ValueError("the alert of another topic")
        return alert
