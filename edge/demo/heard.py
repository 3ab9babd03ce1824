"""What a subscriber heard of the flight: the demo shows and counts only what came through the broker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event as Flag

from firmware_cfg.messages import Event, Status
from firmware_cfg.topics import Topics

log = logging.getLogger(__name__)


class Heard:
    """A handler of messages: give it to a Subscriber. `on_event` is called in the subscriber's thread.

    Doubles, which QoS 1 allows, are told apart by their event_id and dropped.
    """

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self._event_ids: set[str] = set()
        self._raised: set[str] = set()
        self._cleared: set[str] = set()
        self._stopped = Flag()

    def __call__(self, topic: str, payload: bytes, retained: bool) -> None:
        place = Topics.parse(topic)
        if place is None or not payload:
            return
        try:
            if place.channel == "events":
                self._take(Event.from_payload(payload))
            elif place.channel == "status" and Status.from_payload(payload).state == "stopped":
                self._stopped.set()
        except ValueError as error:
            log.warning("%s: %s", topic, error)

    @property
    def events(self) -> int:
        """Different events received."""
        return len(self._event_ids)

    @property
    def raised(self) -> int:
        """Alerts of which a raise was received."""
        return len(self._raised)

    @property
    def cleared(self) -> int:
        """Alerts of which a clear was received."""
        return len(self._cleared)

    def wait_for_goodbye(self, timeout: float) -> bool:
        """Wait for the status `stopped`, the last thing that a daemon says; False when it did not come."""
        return self._stopped.wait(timeout)

    def _take(self, event: Event) -> None:
        if event.event_id in self._event_ids:
            return
        self._event_ids.add(event.event_id)
        if event.msg_type == "raise":
            self._raised.add(event.alert_id)
        elif event.msg_type == "clear":
            self._cleared.add(event.alert_id)
        self._on_event(event)


def sentence(event: Event) -> str:
    """One line that says what an event says."""
    head = f"{event.observed_at:%H:%M:%S} {event.msg_type.upper():<6} {event.severity:<8} {event.prompt}"
    what = f"{event.count_kind.replace('_', ' ')} {event.count:g}, score {event.score:.2f}, {event.certainty}"
    return f"{head}: {what} ({event.reason}) alert {event.alert_id[:8]}"
