"""The markers that the map should show now, from the fleet's messages: a pure reducer.

Cursor on Target has no queue: the latest event of a uid is the truth. So the board keeps what is, not what
was said, and after any loss of the map's server all of it is due again.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge.bridge.cot import alert_event, alert_uid, delete_event, drone_event, drone_uid
from edge.fleet import FleetState
from firmware_cfg.messages.events import Alert, AlertFacts, Event
from firmware_cfg.topics import Topics

log = logging.getLogger(__name__)

MOST_MARKERS = 5000
"""Alerts on the board at once, and ends that are remembered; the oldest go first, and that is said."""
RETOLD = timedelta(minutes=10)
"""So long after its end an alert's removal is told again to a server that comes back."""


@dataclass(frozen=True, slots=True)
class _Ended:
    facts: AlertFacts | None
    at: datetime


@dataclass(frozen=True, slots=True)
class _Seen:
    """A drone where it was; from `until` on nobody shall take that for where it is."""

    facts: AlertFacts
    until: datetime


class Board:
    """Not thread safe. `take` what comes, send what `next_due` gives.

    Attributes:
        without_position: alerts that were raised and could not be shown.
        dropped: alerts that went because there were more than MOST_MARKERS.
    """

    def __init__(self, cot_type: str, stale: timedelta) -> None:
        self.without_position = 0
        self.dropped = 0
        self._type = cot_type
        self._stale = stale
        self._fleet = FleetState()
        self._active: OrderedDict[str, AlertFacts] = OrderedDict()
        self._ended: OrderedDict[str, _Ended] = OrderedDict()
        self._drones: dict[str, _Seen] = {}
        self._hidden: OrderedDict[str, None] = OrderedDict()  # alerts that were counted as without position
        self._confirmed: set[str] = set()  # known to be active since the broker was last connected
        self._due: OrderedDict[str, None] = OrderedDict()

    @property
    def rejected(self) -> int:
        """Messages that were not what their topic promises."""
        return self._fleet.rejected

    @property
    def shown(self) -> int:
        """Alerts on the board."""
        return len(self._active)

    def broker_connected(self) -> None:
        """What the broker retains follows. An alert it does not name again may be over: it fades."""
        self._fleet.start_over()
        self._confirmed.clear()

    def take(self, topic: str, payload: bytes, retained: bool, now: datetime) -> None:
        """Take in one message. Never raises for what a publisher sent."""
        received = self._fleet.apply(topic, payload, retained, at=now)
        parsed = Topics.parse(topic)
        if parsed is not None and parsed.channel == "alerts" and not payload:
            self._end(alert_uid(parsed.device, str(parsed.item)), None, now)
        if received is None:
            return
        message = received.message
        if isinstance(message, Event) and message.msg_type == "clear":
            self._end(alert_uid(message.device, message.alert_id), message, now)
        elif isinstance(message, (Event, Alert)):
            self._put(message)
        if isinstance(message, AlertFacts) and message.pose is not None:
            self._see_drone(message, retained, now)

    def refresh(self) -> None:
        """Make due again what is still so, before it goes stale; not what a lost drone last said."""
        for uid, facts in self._active.items():
            if uid in self._confirmed and not self._fleet.devices[facts.device].away:
                self._due[uid] = None

    def server_connected(self, now: datetime) -> None:
        """Make all due: the map's server may know nothing, or not of the latest."""
        recent = (uid for uid, ended in self._ended.items() if now - ended.at < RETOLD)
        self._due.update(dict.fromkeys((*map(drone_uid, self._drones), *self._active, *recent)))

    def next_due(self, now: datetime) -> tuple[str, list[bytes]] | None:
        """The uid that waits longest, now no more, and its events as they are now; None if nothing waits."""
        if not self._due:
            return None
        uid, _ = self._due.popitem(last=False)
        return uid, self._events(uid, now)

    def unsent(self, uid: str) -> None:
        """What `next_due` gave did not go out."""
        self._due[uid] = None

    def _events(self, uid: str, now: datetime) -> list[bytes]:
        if uid in self._active:
            return [alert_event(self._active[uid], self._type, now, self._stale)]
        if uid in self._ended:
            facts = self._ended[uid].facts
            last = [] if facts is None else [alert_event(facts, self._type, now, timedelta(0))]
            return [*last, delete_event(uid, now)]
        drone = self._drones.get(uid.removeprefix(drone_uid("")))
        return [drone_event(drone.facts, now, drone.until - now)] if drone and now < drone.until else []

    def _put(self, facts: AlertFacts) -> None:
        uid = alert_uid(facts.device, facts.alert_id)
        known = self._active.get(uid)
        if uid in self._ended or (known is not None and facts.observed_at < known.observed_at):
            return  # from the backlog
        self._confirmed.add(uid)
        if known is not None and known.event_id == facts.event_id:
            return  # the event and its retained copy
        if facts.position is None:
            if known is None:
                self._count_hidden(uid, facts)
            return  # a marker stays where its alert was last placed
        self._active[uid] = facts
        self._due[uid] = None
        if len(self._active) > MOST_MARKERS:
            oldest, _ = self._active.popitem(last=False)
            self._confirmed.discard(oldest)
            self._due.pop(oldest, None)
            self.dropped += 1
            log.warning("%s: no longer shown: more than %d alerts are active", oldest, MOST_MARKERS)

    def _end(self, uid: str, event: Event | None, now: datetime) -> None:
        known = self._active.pop(uid, None)
        self._confirmed.discard(uid)
        hidden = uid in self._hidden
        self._hidden.pop(uid, None)
        if uid in self._ended or (known is None and (event is None or hidden)):
            return  # told before, or never shown
        facts = known if event is None or event.position is None else event
        self._ended[uid] = _Ended(facts, now)
        self._due[uid] = None
        if len(self._ended) > MOST_MARKERS:
            oldest, _ = self._ended.popitem(last=False)
            self._due.pop(oldest, None)

    def _count_hidden(self, uid: str, facts: AlertFacts) -> None:
        if uid in self._hidden:
            return
        self._hidden[uid] = None
        if len(self._hidden) > MOST_MARKERS:
            self._hidden.popitem(last=False)
        self.without_position += 1
        log.warning(
            "%s: %s: alert %s has no position and is not shown (no telemetry, or none that places it)",
            facts.device,
            facts.prompt,
            facts.alert_id,
        )

    def _see_drone(self, facts: AlertFacts, retained: bool, now: datetime) -> None:
        if not facts.clock_synced and (retained or facts.historical):
            return  # nobody knows how old that is
        known = self._drones.get(facts.device)
        if known is None or facts.observed_at > known.facts.observed_at:
            seen_at = min(facts.observed_at, now) if facts.clock_synced else now
            self._drones[facts.device] = _Seen(facts, seen_at + self._stale)
            self._due[drone_uid(facts.device)] = None
