"""Writes what the frame loop finds into the outbox, in a thread of its own: the loop waits for no disk."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import TYPE_CHECKING

from edge.alerts.writer import AlertWriter
from edge.events import FrameFacts, Session
from edge.outbox.file import OutboxDamagedError
from edge.state_writer import StateWriter
from firmware_cfg.errors import OutboxError
from firmware_cfg.messages import Health

if TYPE_CHECKING:
    from edge.alerts.machine import Transition
    from edge.counting import FrameCounts
    from edge.evidence.store import EvidenceStore
    from edge.frames import Image
    from edge.outbox.outbox import Outbox
    from edge.pipeline import FrameResult
    from edge.prompts.bank import PromptBank

log = logging.getLogger(__name__)

HEALTH_INTERVAL_S = 10.0
RETRY_S = 1.0


@dataclass(slots=True)
class _Step:
    """What one frame brought, to be written. `image` is there until pictures of its raises were made."""

    transitions: Sequence[Transition]
    frame: FrameFacts
    image: Image | None
    pictures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _NewList:
    """From this frame on another prompt list is in force; `gone` are the prompts that it has not."""

    counts: FrameCounts
    frame: FrameFacts
    gone: frozenset[str]


class Reporter:
    """`start`, then `report` after every frame, then `stop`.

    Every transition is written, in order; counts and health are sampled at their intervals. When the outbox
    cannot be written (a full disk), the log says so once, and it is tried again until it works.

    Args:
        counts_interval: seconds between counts.
        health: makes the health message of the moment; called in the reporter's thread, at its interval,
            also while nothing can be written.
        evidence: keeps a picture of each raise, made in the reporter's thread.
        discovery_prefix: where Home Assistant is told of the drone; None: it is not.
    """

    def __init__(
        self,
        outbox: Outbox,
        session: Session,
        *,
        counts_interval: float,
        health: Callable[[], Health],
        evidence: EvidenceStore | None = None,
        discovery_prefix: str | None = None,
    ) -> None:
        self._outbox = outbox
        self._alerts = AlertWriter(outbox, session)
        self._state = StateWriter(outbox, session, discovery_prefix)
        self._counts_interval = counts_interval
        self._make_health = health
        self._evidence = evidence
        self._steps: deque[_Step | _NewList] = deque()
        self._latest: tuple[FrameCounts, FrameFacts] | None = None
        self._bank: PromptBank | None = None
        self._health: bytes | None = None  # made, but not written
        self._reported = self._stopping = False
        self._failure: Exception | None = None
        self._changed = (
            Condition()
        )  # its lock may be taken twice: `waiting` is also asked by the health message
        self._next_counts = self._next_health = time.monotonic()
        self._thread = Thread(target=self._run, name="reporter", daemon=True)

    @property
    def waiting(self) -> int:
        """Steps of alerts that are in memory only, because the disk does not take them (yet)."""
        with self._changed:
            return sum(len(step.transitions) for step in self._steps if isinstance(step, _Step))

    def start(self, bank: PromptBank, resumed: Collection[str] = ()) -> None:
        """Tell the list in force, end the alerts that an earlier run left and that are not `resumed`, go.

        Raises OutboxError.
        """
        self._bank = bank
        self._alerts.take_over(resumed)
        self._state.prompts(bank)
        self._thread.start()

    def report(self, result: FrameResult, transitions: Sequence[Transition]) -> None:
        """Take over what one frame brought, at once. Raises what ended the thread, if it has ended."""
        if self._failure is not None:
            raise self._failure
        frame = FrameFacts.of(result)
        with self._changed:
            if not self._reported:
                self._next_health = (
                    time.monotonic()
                )  # it flies: whoever asks shall not hear "starting" for long
                self._changed.notify()
            self._reported = True
            self._latest = (result.counts, frame)
            if self._bank is not None and frame.bank is not self._bank:
                gone = _prompt_ids(self._bank) - _prompt_ids(frame.bank)
                self._steps.append(_NewList(result.counts, frame, gone))
                self._bank = frame.bank
                self._changed.notify()
            if transitions:
                wanted = self._evidence is not None and any(each.kind == "raise" for each in transitions)
                self._steps.append(_Step(transitions, frame, result.frame.image if wanted else None))
                self._changed.notify()

    def stop(self) -> None:
        """Write what is left, the last counts too. Raises OutboxError when that is not possible.

        Without a frame nobody knows what became of the alerts that were resumed: they end as after a reboot.
        """
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
                # A bad file mends only by a restart, which takes up every alert that is not ended in it.
                if stopping or isinstance(error, OutboxDamagedError):
                    raise
                if not troubled:
                    log.error("%s; trying again, %d alert messages wait in memory", error, self.waiting)
                troubled = True
                self._bear_it()
                continue
            if troubled:
                log.info("%s: the outbox can be written again", self._outbox.path)
            troubled = False
            if stopping:
                return

    def _bear_it(self) -> None:
        """What has to be done while nothing can be written: the frames that wait must not fill the memory."""
        with self._changed:
            waiting = [step for step in self._steps if isinstance(step, _Step)]
        for step in waiting:
            self._picture(step)
        self._look_at_health(final=False)
        with self._changed:
            self._changed.wait(RETRY_S)

    def _write(self, *, final: bool) -> None:
        while self._steps:
            step = self._steps[0]
            if isinstance(step, _NewList):
                self._write_new_list(step)
            else:
                self._write_step(step)
            self._steps.popleft()  # only now: a step that could not be written stays first in line
        if final and not self._reported:
            self._alerts.take_over(())
        now = time.monotonic()
        if final or now >= self._next_counts:
            self._write_counts()
            self._next_counts = now + self._counts_interval
        self._look_at_health(final=final)
        if self._health is not None:
            self._state.health(self._health)
            self._health = None

    def _write_step(self, step: _Step) -> None:
        self._picture(step)
        for event in self._alerts.write(step.transitions, step.frame, step.pictures):
            what = (event.msg_type, event.prompt, event.count_kind, event.count, event.reason)
            log.info("%s %s: %s = %g (%s)", *what)

    def _picture(self, step: _Step) -> None:
        """Make the pictures that the step still lacks, and let go of the frame. Never raises."""
        image, step.image = step.image, None
        if image is None or self._evidence is None:
            return
        for transition in step.transitions:
            if transition.kind == "raise":
                sha256 = self._evidence.keep(image, transition.boxes)
                if sha256 is not None:
                    step.pictures[transition.alert_id] = sha256

    def _write_new_list(self, step: _NewList) -> None:
        """The list and its first counts go out at once, and what was retained of the old one ends."""
        with self._outbox.transaction(durable=False):
            self._state.prompts(step.frame.bank, step.gone)
            self._state.counts(step.counts, step.frame)

    def _write_counts(self) -> None:
        with self._changed:
            latest, self._latest = self._latest, None
        if latest is not None:
            self._state.counts(*latest)

    def _look_at_health(self, *, final: bool) -> None:
        now = time.monotonic()
        if final or now >= self._next_health:
            self._health = self._make_health().to_payload()
            self._next_health = now + HEALTH_INTERVAL_S


def _prompt_ids(bank: PromptBank) -> frozenset[str]:
    return frozenset(prompt.id for prompt in bank.prompt_list.prompts)
