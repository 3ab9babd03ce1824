"""Answers `evidence/get`: the picture of an alert, for whoever has its hash from the event."""

from __future__ import annotations

import logging

from edge.evidence.store import EvidenceStore
from edge.mqtt.messages import IncomingMessage
from edge.outbox.outbox import Outbox
from edge.requests.desk import answer_topic
from edge.requests.refusals import Refusals, read_request
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
        request = read_request(message, EvidenceRequest, self._refusals, max_bytes=MAX_REQUEST_BYTES)
        if request is None:
            return
        usual = self._topics.evidence(request.sha256)
        topic = answer_topic(message, usual)
        if topic == usual and message.correlation is None and self._outbox.waits(topic):
            return  # it is on its way: asking again must not fill a thin link with copies
        picture = self._store.get(request.sha256) or b""
        self._outbox.put(topic, picture, kind="telemetry", correlation=message.correlation)
