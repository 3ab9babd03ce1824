"""Writes what the frame loop finds into the outbox, in a thread of its own: the loop waits for no disk."""

from __future__ import annotations

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from threading import Condition, Thread
from typing import TYPE_CHECKING

from edge import events
from edge.clock import clock_is_synced
from edge.events import FrameFacts, Session
from firmware_cfg.errors import OutboxError
from firmware_cfg.messages import Alert, Health
from firmware_cfg.topics import Topics

if TYPE_CHECKING:
    from edge.alerts import Transition
    from edge.counting import FrameCounts
    from edge.outbox import Kind, Outbox
    from edge.pipeline import FrameResult
    from edge.prompt_bank import PromptBank

log = logging.getLogger(__name__)

HEALTH_INTERVAL_S = 10.0
RETRY_S = 1.0


class Reporter:
    """`start`, then `report` after every frame, then `stop`.

    Every transition is written, in order; counts and health are sampled at their intervals. When the outbox
    cannot be written (a full disk), the log says so once, and it is tried again until it works.

    Args:
        counts_interval: seconds between counts.
        health: makes the health message of the moment; called in the reporter's thread.
    """

    def __init__(
        self, outbox: Outbox, session: Session, *, counts_interval: float, health: Callable[[], Health]
    ) -> None:
        self._outbox = outbox
        self._session = session
        self._topics = Topics(session.device)
        self._counts_interval = counts_interval
        self._health = health
        self._raised_at: dict[str, datetime] = {}
        self._steps: deque[tuple[Transition, FrameFacts]] = deque()
        self._latest: tuple[FrameCounts, FrameFacts] | None = None
        self._stopping = False
        self._failure: Exception | None = None
        self._changed = Condition()
        self._next_counts = self._next_health = time.monotonic()
        self._thread = Thread(target=self._run, name="reporter", daemon=True)

    def start(self, bank: PromptBank) -> None:
        """Close the alerts that an earlier run left open, tell the list in force, go. Raises OutboxError."""
        for alert_id, state in self._outbox.kept_alerts().items():
            self._close_left_over(alert_id, state)
        state_now = events.prompts_state(self._session, bank, _now())
        self._outbox.put(self._topics.prompts_state, state_now.to_payload(), kind="telemetry", retain=True)
        self._thread.start()

    def report(self, result: FrameResult, transitions: Sequence[Transition]) -> None:
        """Take over what one frame brought, at once. Raises what ended the thread, if it has ended."""
        if self._failure is not None:
            raise self._failure
        frame = FrameFacts.of(result)
        with self._changed:
            self._latest = (result.counts, frame)
            self._steps.extend((transition, frame) for transition in transitions)
            if transitions:
                self._changed.notify()

    def stop(self) -> None:
        """Write what is left, the last counts too. Raises OutboxError when that is not possible."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - raised in the frame loop: it must not fly on unheard
            self._failure = error

    def _work(self) -> None:
        troubled = False
        while True:
            with self._changed:
                if not self._steps and not self._stopping:
                    self._changed.wait(max(0.0, min(self._next_counts, self._next_health) - time.monotonic()))
                stopping = self._stopping
            try:
                self._write(final=stopping)
            except OutboxError as error:
                if stopping:
                    raise
                if not troubled:
                    log.error("%s; trying again, %d alert messages wait in memory", error, len(self._steps))
                troubled = True
                with self._changed:
                    self._changed.wait(RETRY_S)
                continue
            if troubled:
                log.info("%s: the outbox can be written again", self._outbox.path)
            troubled = False
            if stopping:
                return

    def _write(self, *, final: bool) -> None:
        while self._steps:
            self._write_step(*self._steps[0])
            self._steps.popleft()  # only now: a step that could not be written stays first in line
        now = time.monotonic()
        if final or now >= self._next_counts:
            self._write_counts()
            self._next_counts = now + self._counts_interval
        if final or now >= self._next_health:
            health = self._health().to_payload()
            self._outbox.put(self._topics.health, health, kind="telemetry", retain=True)
            self._next_health = now + HEALTH_INTERVAL_S

    def _write_step(self, transition: Transition, frame: FrameFacts) -> None:
        """The event, the retained alert and the alert's own state: all of them are kept, or none."""
        with self._outbox.transaction():
            event = events.event(
                self._session,
                transition,
                frame,
                event_id=uuid.uuid4().hex,
                seq=self._outbox.next_seq(),
                now=_now(),
                clock_synced=clock_is_synced(),
            )
            kind: Kind = "update" if event.msg_type == "update" else "alert"
            self._outbox.put(self._topics.events, event.to_payload(), kind=kind, event_id=event.event_id)
            topic = self._topics.alert(event.alert_id)
            if event.msg_type == "clear":
                self._outbox.put(topic, b"", kind="alert", retain=True)
                self._outbox.drop_alert(event.alert_id)
            else:
                raised_at = self._raised_at.get(event.alert_id, event.observed_at)
                alert = Alert.from_event(event, raised_at).to_payload()
                self._outbox.put(topic, alert, kind=kind, retain=True)
                self._outbox.keep_alert(event.alert_id, alert.decode())
        if event.msg_type == "clear":
            self._raised_at.pop(event.alert_id, None)
        else:
            self._raised_at.setdefault(event.alert_id, event.observed_at)
        what = (event.msg_type, event.prompt, event.count_kind, event.count, event.reason)
        log.info("%s %s: %s = %g (%s)", *what)

    def _write_counts(self) -> None:
        with self._changed:
            latest, self._latest = self._latest, None
        if latest is None:
            return
        (numbers, frame), now = latest, _now()
        with self._outbox.transaction():
            for prompt_id, of_prompt in numbers.prompts.items():
                message = events.counts(self._session, prompt_id, of_prompt, frame, now)
                topic = self._topics.counts(prompt_id)
                self._outbox.put(topic, message.to_payload(), kind="telemetry", retain=True)

    def _close_left_over(self, alert_id: str, state: str) -> None:
        with self._outbox.transaction():
            try:
                alert = Alert.from_payload(state)
            except ValueError as error:  # written by a version with other fields: end it without its facts
                log.warning("alert %s of an earlier run is removed unread: %s", alert_id, error)
            else:
                event = events.clear_after_restart(
                    self._session, alert, event_id=uuid.uuid4().hex, seq=self._outbox.next_seq(), now=_now()
                )
                self._outbox.put(
                    self._topics.events, event.to_payload(), kind="alert", event_id=event.event_id
                )
            self._outbox.put(self._topics.alert(alert_id), b"", kind="alert", retain=True)
            self._outbox.drop_alert(alert_id)


def _now() -> datetime:
    return datetime.now(timezone.utc)
