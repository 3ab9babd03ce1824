"""Answers `events/replay`: sent events go out again to fill the gaps that a subscriber found."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from edge.mqtt.messages import IncomingMessage
from edge.outbox.outbox import KeptEvent, Outbox
from edge.requests.desk import answer_topic
from edge.requests.refusals import Refusals, read_request
from firmware_cfg.messages.replay import MAX_REPLAYED, ReplayAnswer, ReplayRequest
from firmware_cfg.topics import Topics

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 8192

Range = tuple[int, int]


@dataclass(slots=True)
class _Found:
    """What the outbox has of the wanted ranges, and what it has not: lost, or never written (yet)."""

    events: list[KeptEvent] = field(default_factory=list)
    missing: list[Range] = field(default_factory=list)
    left: list[Range] = field(default_factory=list)


class ReplayRequests:
    """`handle` is the handler of the channel `events/replay`; it belongs to one thread.

    Events and answer are queued as telemetry: they are shed before anything that was not sent yet, and can be
    asked for again. An event that is queued is not queued twice, however often it is asked for.
    """

    def __init__(self, outbox: Outbox, device: str) -> None:
        self._outbox = outbox
        self._topics = Topics(device)
        self._refusals = Refusals(log)

    def handle(self, message: IncomingMessage) -> None:
        """Queue the wanted events and the answer. Raises OutboxError."""
        request = read_request(message, ReplayRequest, self._refusals, max_bytes=MAX_REQUEST_BYTES)
        if request is None:
            return
        found = self._find(request)
        with self._outbox.transaction(durable=False):
            again = [event for event in found.events if self._put_again(event)]
            answer = ReplayAnswer(
                device=self._topics.device,
                sent_at=datetime.now(timezone.utc),
                boot_id=request.boot_id,
                request_id=request.request_id,
                sent=len(again),
                waiting=len(found.events) - len(again),
                missing=tuple(found.missing),
                left=tuple(found.left),
            )
            self._outbox.put(
                answer_topic(message, self._topics.events_replayed),
                answer.to_payload(),
                kind="telemetry",
                correlation=message.correlation,
            )
        log.info("%d events sent again, %d ranges are not kept", len(again), len(found.missing))

    def _find(self, request: ReplayRequest) -> _Found:
        found, room = _Found(), MAX_REPLAYED
        for first, last in _merged(request.ranges):
            if room == 0:
                found.left.append((first, last))
                continue
            events = self._outbox.history(request.boot_id, first, last, limit=room + 1)
            if len(events) > room:
                cut = events.pop().seq
                found.left.append((cut, last))
                last = cut - 1
            room -= len(events)
            found.events += events
            found.missing += _gaps(first, last, [event.seq for event in events])
        return found

    def _put_again(self, event: KeptEvent) -> bool:
        if not event.sent or self._outbox.queues_event(event.event_id):
            return False
        payload = _as_historical(event.payload)
        self._outbox.put(self._topics.events, payload, kind="telemetry", event_id=event.event_id)
        return True


def _merged(ranges: Iterable[Range]) -> Iterator[Range]:
    """The same numbers in order, each in one range only."""
    begun: Range | None = None
    for first, last in sorted(ranges):
        if begun is None:
            begun = first, last
        elif first <= begun[1] + 1:
            begun = begun[0], max(begun[1], last)
        else:
            yield begun
            begun = first, last
    if begun is not None:
        yield begun


def _gaps(first: int, last: int, seqs: Sequence[int]) -> list[Range]:
    """What of `first` to `last` is not in `seqs`, which rise and lie between them."""
    gaps = []
    for seq in (*seqs, last + 1):
        if first < seq:
            gaps.append((first, seq - 1))
        first = seq + 1
    return gaps


def _as_historical(payload: bytes) -> bytes:
    body = json.loads(payload)
    body["historical"] = True
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
