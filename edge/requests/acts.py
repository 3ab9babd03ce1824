"""Takes in `alerts/<alert_id>/ack`: what operators did is kept with the alert, for all to see."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from edge.alerts.state import KeptAlert
from edge.mqtt.messages import IncomingMessage
from edge.outbox.outbox import Outbox
from edge.requests.refusals import Refusals, read_request
from firmware_cfg.messages import AlertAck
from firmware_cfg.messages.ack import merged
from firmware_cfg.topics import Topics

log = logging.getLogger(__name__)

MAX_ACK_BYTES = 8192  # a comment of MAX_TEXT characters, each of them escaped


class AlertActs:
    """`handle` is the handler of the channel `alerts/ack`; it belongs to one thread.

    An act changes no alert: updates and the clear come as they would, because who records them needs them.
    It is kept with the alert through a crash, retained with it, and goes with its clear.
    """

    def __init__(self, outbox: Outbox, device: str) -> None:
        self._outbox = outbox
        self._topics = Topics(device)
        self._refusals = Refusals(log)

    def handle(self, message: IncomingMessage) -> None:
        """Keep one act. Of an alert that is not active it is nothing to this drone. Raises OutboxError."""
        topic = Topics.parse(message.topic)
        ack = read_request(message, AlertAck, self._refusals, max_bytes=MAX_ACK_BYTES)
        if topic is None or topic.item is None or ack is None:
            return
        with self._outbox.transaction():  # no step of the alert may come between the look and the put
            state = self._outbox.kept_alert(topic.item)
            if state is None:
                return
            try:
                kept = KeptAlert.from_state(state)
            except ValueError as error:
                self._refusals.say(f"{message.topic}: not kept: {error}")
                return
            acts = merged(kept.alert.acts, (ack.act,))
            if acts == kept.alert.acts:
                return  # told twice
            told = {"acts": acts, "sent_at": datetime.now(timezone.utc)}
            alert = kept.alert.model_copy(update=told)
            self._outbox.keep_alert(topic.item, kept.model_copy(update={"alert": alert}).to_state())
            topic_name = self._topics.alert(topic.item)
            self._outbox.put(topic_name, alert.to_payload(), kind="update", retain=True)
        log.info("alert %s (%s): %s by %s", topic.item, alert.prompt, ack.action, ascii(ack.by))
