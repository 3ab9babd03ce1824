"""Writes the steps of alerts into the outbox: what belongs together is kept together, or not at all."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from edge import events
from edge.alerts.state import KeptAlert, rule_identity
from edge.clock import clock_is_synced
from edge.events import FrameFacts, Session
from edge.kernel_boot import kernel_boot_id
from firmware_cfg.messages import Alert, AlertAct, Event
from firmware_cfg.names import is_identifier
from firmware_cfg.topics import Topics

if TYPE_CHECKING:
    from edge.alerts.state import Transition
    from edge.outbox.outbox import Kind, Outbox

log = logging.getLogger(__name__)


class AlertWriter:
    """One transaction for each frame: events, retained alerts, and what a restart needs to go on with them.

    Belongs to one thread after the other. Every method raises OutboxError, and has then written nothing.
    """

    def __init__(self, outbox: Outbox, session: Session) -> None:
        self._outbox = outbox
        self._session = session
        self._topics = Topics(session.device)
        self._kernel_boot = kernel_boot_id()
        # What later steps of an alert repeat of its raise: when that was seen, and the picture of it.
        self._raised: dict[str, tuple[datetime, str | None]] = {}

    def take_over(self, resumed: Collection[str]) -> None:
        """Go on with the `resumed` alerts of an earlier run, and end the others that it left."""
        for alert_id, state in self._outbox.kept_alerts().items():
            alert = self._read(alert_id, state)
            if alert is not None and alert_id in resumed:
                self._raised[alert_id] = (alert.raised_at, alert.evidence_sha256)
                log.info("alert %s (%s) of an earlier run goes on", alert_id, alert.prompt)
            else:
                self._end(alert_id, alert)

    def write(
        self, transitions: Sequence[Transition], frame: FrameFacts, pictures: Mapping[str, str]
    ) -> list[Event]:
        """All that one frame brought; `pictures` are the hashes of those of the raises, by alert id."""
        with self._outbox.transaction():
            written = [self._write(each, frame, pictures.get(each.alert_id)) for each in transitions]
        for event in written:
            if event.msg_type == "clear":
                self._raised.pop(event.alert_id, None)
            else:
                self._raised.setdefault(event.alert_id, (event.observed_at, event.evidence_sha256))
        return written

    def end_orphan(self, alert: Alert) -> None:
        """End an alert that only the broker remembers."""
        self._end(alert.alert_id, alert)

    def _write(self, transition: Transition, frame: FrameFacts, picture: str | None) -> Event:
        raised_at, raised_picture = self._raised.get(transition.alert_id, (frame.captured_at, picture))
        event = events.event(
            self._session,
            transition,
            frame,
            event_id=uuid.uuid4().hex,
            seq=self._outbox.next_seq(),
            now=_now(),
            clock_synced=clock_is_synced(),
            evidence=raised_picture,
        )
        kind: Kind = "update" if event.msg_type == "update" else "alert"
        self._put_event(event, kind)
        if event.msg_type == "clear":
            self._forget(event.alert_id)
        else:
            alert = Alert.from_event(event, raised_at, self._acts(event.alert_id))
            self._outbox.put(self._topics.alert(event.alert_id), alert.to_payload(), kind=kind, retain=True)
            self._outbox.keep_alert(event.alert_id, self._state(alert, transition, frame))
        return event

    def _acts(self, alert_id: str) -> tuple[AlertAct, ...]:
        """What operators did about an alert: whoever heard it kept it in the outbox."""
        state = self._outbox.kept_alert(alert_id)
        return () if state is None else KeptAlert.from_state(state).alert.acts

    def _state(self, alert: Alert, transition: Transition, frame: FrameFacts) -> str:
        prompt = frame.bank.prompt_list.prompt(transition.prompt_id)
        return KeptAlert(
            alert=alert,
            rule=rule_identity(prompt, prompt.alerts[transition.rule_index]),
            term=transition.term,
            kernel_boot=self._kernel_boot,
        ).to_state()

    def _read(self, alert_id: str, state: str) -> Alert | None:
        try:
            return KeptAlert.from_state(state).alert
        except ValueError as error:  # written by a version with other fields: it ends without its facts
            log.warning("alert %s of an earlier run is removed unread: %s", alert_id, error)
            return None

    def _end(self, alert_id: str, alert: Alert | None) -> None:
        with self._outbox.transaction():
            if alert is not None:
                event = events.clear_after_restart(
                    self._session,
                    alert,
                    event_id=uuid.uuid4().hex,
                    seq=self._outbox.next_seq(),
                    now=_now(),
                    mono_ns=time.monotonic_ns(),
                    clock_synced=clock_is_synced(),
                )
                self._put_event(event, "alert")
            self._forget(alert_id)

    def _put_event(self, event: Event, kind: Kind) -> None:
        payload = event.to_payload()
        self._outbox.put(self._topics.events, payload, kind=kind, event_id=event.event_id, seq=event.seq)

    def _forget(self, alert_id: str) -> None:
        if is_identifier(alert_id):  # what a worn disk made of one has no topic, and none to be emptied
            self._outbox.put(self._topics.alert(alert_id), b"", kind="alert", retain=True)
        else:
            log.error("alert %r of an earlier run is removed: that is no id of an alert", alert_id)
        self._outbox.drop_alert(alert_id)


def _now() -> datetime:
    return datetime.now(timezone.utc)
