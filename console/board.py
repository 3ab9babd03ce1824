"""The alerts that the page shows: which are active, which ring, and which have gone without a word."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from console.alerts import AlertKey, FoldedAlert
from firmware_cfg.messages import Alert, AlertAct, Event
from firmware_cfg.messages.events import AlertFacts

MOST_ENDED = 1000
"""Alerts that are over and still shown; the history has the others."""
MOST_ACTIVE = 10_000
VANISHES_AFTER = timedelta(seconds=10)
"""So long after the broker was asked, an alert that it does not name is taken to be over."""
TELL_AGAIN = timedelta(seconds=30)
MOST_TELLINGS = 5


class AlertBoard:
    """Alerts by device and alert id, in the order in which they were first heard of.

    Args:
        touch: told of each alert that has changed.
        away: whether a device is known to be lost or stopped.

    Attributes:
        dropped: alerts that are not shown because there are more than MOST_ACTIVE.
        rung: how often an alert has begun to ring.
    """

    def __init__(self, touch: Callable[[FoldedAlert], None], away: Callable[[str], bool]) -> None:
        self.alerts: OrderedDict[AlertKey, FoldedAlert] = OrderedDict()
        self.active: dict[AlertKey, FoldedAlert] = {}
        self.dropped = 0
        self.rung = 0
        self._touch = touch
        self._away = away
        self._ended: OrderedDict[AlertKey, None] = OrderedDict()
        self._vanishing: dict[AlertKey, datetime] = {}
        self._told: dict[AlertKey, tuple[int, datetime]] = {}  # how often again, and when

    def fold(self, facts: AlertFacts, at: datetime, *, queued: bool = False) -> None:
        """Take in an event that was not known, or a retained copy. `queued`: as FoldedAlert has it."""
        key = (facts.device, facts.alert_id)
        alert = self.alerts.get(key)
        if alert is None:
            if len(self.active) >= MOST_ACTIVE:
                self.dropped += 1
                return
            alert = FoldedAlert(
                *(facts.device, facts.alert_id, facts, facts.observed_at, at),
                historical=facts.historical,
                queued=queued,
            )
            self.alerts[key] = self.active[key] = alert
        elif isinstance(facts, Alert) and alert.ended_by == "clear":
            return  # the copy that is about to be emptied
        alert.take(facts, queued=queued)
        if isinstance(facts, Alert) or (isinstance(facts, Event) and facts.msg_type != "clear"):
            alert.revive()
            alert.confirmed = True
            self._vanishing.pop(key, None)
        self._changed(alert, at)

    def act(self, key: AlertKey, act: AlertAct, now: datetime) -> None:
        """An operator did something about an alert that is shown."""
        alert = self.alerts.get(key)
        if alert is not None and alert.do((act,)):
            self._told[key] = 0, now  # it is on its way to the drone
            self._changed(alert, now)

    def doubt(self, key: AlertKey, at: datetime) -> None:
        """The broker has it no more: its clear is on the way, or was lost."""
        if key in self.active:
            self.active[key].confirmed = False
            self._vanishing[key] = at + VANISHES_AFTER

    def doubt_all(self, at: datetime | None) -> None:
        """Who is active will be told anew: from `at` on, when the broker was asked, or some time (None)."""
        for key, alert in self.active.items():
            alert.confirmed = False
            if at is not None:
                self._vanishing[key] = at + VANISHES_AFTER

    def trust(self) -> None:
        """There is no connection: whatever is silent from here on is not gone."""
        self._vanishing.clear()

    def tick(self, now: datetime) -> None:
        """Mutes end, and what the broker did not name again is over."""
        for key, deadline in list(self._vanishing.items()):
            if now >= deadline:
                del self._vanishing[key]
                alert = self.active.get(key)
                if alert is not None and not alert.confirmed:
                    alert.vanish(now)
                    self._changed(alert, now)
        for alert in self.active.values():
            self._ring(alert, now)

    def ring_of(self, device: str, now: datetime) -> None:
        """A device came or went."""
        for alert in self.active.values():
            if alert.device == device:
                self._ring(alert, now)

    def untold(self, now: datetime) -> Iterator[tuple[AlertKey, AlertAct]]:
        """Acts that a drone has not kept with its alert, and is there to be told of (again)."""
        for key, alert in self.active.items():
            if not alert.acts or not alert.untold or self._away(alert.device) or not alert.confirmed:
                continue
            tries, at = self._told.setdefault(key, (0, now))
            if tries >= MOST_TELLINGS or now - at < TELL_AGAIN:
                continue
            self._told[key] = tries + 1, now
            for act in alert.untold:
                yield key, act

    def _changed(self, alert: FoldedAlert, now: datetime) -> None:
        """Put an alert where it belongs after a change."""
        if alert.active:
            self.active[alert.key] = alert
            self._ended.pop(alert.key, None)
        else:
            self.active.pop(alert.key, None)
            self._vanishing.pop(alert.key, None)
            self._told.pop(alert.key, None)
            self._ended[alert.key] = None
            if len(self._ended) > MOST_ENDED:
                oldest, _ = self._ended.popitem(last=False)
                del self.alerts[oldest]
        self._touch(alert)
        self._ring(alert, now)

    def _ring(self, alert: FoldedAlert, now: datetime) -> None:
        handled = alert.acknowledged_at is not None or alert.handling.muted(now)
        news = not (alert.historical or alert.queued)
        rings = alert.active and news and not handled and not self._away(alert.device)
        if rings != alert.rings:
            alert.rings = rings
            if rings:
                self.rung += 1
                alert.ring = self.rung
            self._touch(alert)
