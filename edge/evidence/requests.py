"""Answers `evidence/get`: the picture of an alert, for whoever has its hash from the event."""

from __future__ import annotations

import logging

from edge.evidence.store import EvidenceStore
from edge.mqtt.messages import IncomingMessage
from edge.outbox.outbox import Outbox
from edge.requests.desk import answer_topic
from edge.requests.refusals import Refusals
from firmware_cfg.messages import EvidenceRequest
from firmware_cfg.topics import Topics

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 1024


class EvidenceRequests:
    """`handle` is the handler of the channel `evidence/get`; it belongs to one thread.

    Answers go through the outbox as telemetry: they wait for a lost link, and are the first to be shed.
    """

    def __init__(self, store: EvidenceStore, outbox: Outbox, device: str) -> None:
        self._store = store
        self._outbox = outbox
        self._topics = Topics(device)
        self._refusals = Refusals(log)

    def handle(self, message: IncomingMessage) -> None:
        """Answer with the JPEG, or with nothing where it is not kept. Raises OutboxError."""
        if message.retained:  # it would be answered again with every connection
            self._refuse("a request must not be retained")
            return
        if len(message.payload) > MAX_REQUEST_BYTES:
            self._refuse(f"{len(message.payload)} bytes; {MAX_REQUEST_BYTES} are enough")
            return
        try:
            wanted = EvidenceRequest.from_payload(message.payload).sha256
        except ValueError as error:
            self._refuse(str(error))
            return
        topic = answer_topic(message, self._topics.evidence(wanted))
        picture = self._store.get(wanted) or b""
        self._outbox.put(topic, picture, kind="telemetry", correlation=message.correlation)

    def _refuse(self, why: str) -> None:
        self._refusals.say(f"{self._topics.evidence_get}: refused: {why}")
