"""Writes what the frame loop finds into the outbox, in a thread of its own: the loop waits for no disk."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from threading import Condition, Thread
from typing import TYPE_CHECKING

from edge.alerts.writer import AlertWriter
from edge.events import FrameFacts, Session
from edge.outbox.file import OutboxDamagedError
from edge.state_writer import StateWriter
from edge.unwritten import NewList, Step, Unwritten
from firmware_cfg.errors import OutboxError
from firmware_cfg.messages import Health

if TYPE_CHECKING:
    from edge.alerts.machine import Transition
    from edge.counting import FrameCounts
    from edge.evidence.store import EvidenceStore
    from edge.outbox.outbox import Outbox
    from edge.pipeline import FrameResult
    from edge.prompts.bank import PromptBank

log = logging.getLogger(__name__)

HEALTH_INTERVAL_S = 10.0
HANGS_AFTER_S = 30.0  # several times the longest that the thread waits by itself
RETRY_S = 1.0
TELL_AGAIN_S = 10.0  # between two times: a link that comes and goes must not be filled with what stays


class Reporter:
    """`start`, then `report` after every frame, then `stop`.

    Transitions are written in order; counts and health are sampled at their intervals. When the outbox cannot
    be written (a full disk), the log says so once, and it is tried again until it works: meanwhile raises and
    clears wait in memory, all of them, and of very many updates the newest of each alert.

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
        self._steps = Unwritten()
        self._latest: tuple[FrameCounts, FrameFacts] | None = None
        self._bank: PromptBank | None = None
        self._health: bytes | None = None  # made, but not written
        self._reported = self._stopping = False
        self._failure: Exception | None = None
        self._changed = Condition()
        self._came_round = time.monotonic()
        self._next_counts = self._next_health = time.monotonic()
        self._next_again = math.inf
        self._told_again = -math.inf
        self._thread = Thread(target=self._run, name="reporter", daemon=True)

    @property
    def waiting(self) -> int:
        """Steps of alerts that are in memory only, because the disk does not take them (yet)."""
        return self._steps.waiting

    def start(self, bank: PromptBank, resumed: Collection[str] = ()) -> None:
        """Tell the list in force, end the alerts that an earlier run left and that are not `resumed`, go.

        Raises OutboxError.
        """
        self._bank = bank
        self._alerts.take_over(resumed)
        self._state.prompts(bank)
        self._came_round = time.monotonic()
        self._thread.start()

    def report(self, result: FrameResult, transitions: Sequence[Transition]) -> None:
        """Take over what one frame brought, at once. Raises what ended the thread, or came to `fail`."""
        frame = FrameFacts.of(result)
        self.check()
        with self._changed:
            if not self._reported:
                # It flies: whoever asks shall not hear "starting" for long.
                self._next_health = time.monotonic()
                self._changed.notify()
            self._reported = True
            self._latest = (result.counts, frame)
            if self._bank is not None and frame.bank is not self._bank:
                gone = _prompt_ids(self._bank) - _prompt_ids(frame.bank)
                self._steps.put(NewList(result.counts, frame, gone))
                self._bank = frame.bank
                self._changed.notify()
            if transitions:
                wanted = self._evidence is not None and any(each.kind == "raise" for each in transitions)
                self._steps.put(Step(transitions, frame, result.frame.image if wanted else None))
                self._changed.notify()

    def check(self) -> None:
        """Raises what ended the thread, or came to `fail`: for whoever has nothing to report just now."""
        if self._failure is not None:
            raise self._failure

    def tell_again(self) -> None:
        """Put the list in force, and the discovery, again: a broker may have forgotten what it took.

        For every connection that is made, from any thread; waits for nothing.
        """
        with self._changed:
            soonest = max(time.monotonic(), self._told_again + TELL_AGAIN_S)
            self._next_again = min(self._next_again, soonest)
            self._changed.notify()

    def fail(self, error: Exception) -> None:
        """End the flight: the next `report` or `check` raises `error`, met by another thread; then `stop`."""
        with self._changed:
            self._failure = self._failure or error

    def stop(self) -> None:
        """Write what is left, the last counts too. Raises OutboxError when that is not possible.

        Without a frame nobody knows what became of the alerts that were resumed: they end as after a reboot.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        self.check()

    @property
    def hangs(self) -> bool:
        """Whether the thread has been inside one call for HANGS_AFTER_S: nothing is written then, or sent."""
        return time.monotonic() - self._came_round > HANGS_AFTER_S

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - raised in the frame loop: it must not fly on unheard
            if self._failure is not None:
                log.error("%s", error)  # the flight ends already, and tells the first one
            self.fail(error)

    def _work(self) -> None:
        troubled = False
        while True:
            self._came_round = time.monotonic()
            with self._changed:
                if self._steps.first() is None and not self._stopping:
                    due = min(self._next_counts, self._next_health, self._next_again)
                    self._changed.wait(max(0.0, due - time.monotonic()))
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
                written = (self._outbox.path, self._steps.left_out)
                log.info("%s: the outbox can be written again; %d old updates are left out so far", *written)
            troubled = False
            if stopping:
                return

    def _bear_it(self) -> None:
        """What has to be done while nothing can be written: the frames that wait must not fill the memory."""
        for step in self._steps.steps():
            self._picture(step)
        try:
            self._look_at_health(final=False)
        except OutboxDamagedError:
            raise
        except OutboxError as error:
            log.debug("no health: %s", error)  # the same disk, of which the log tells
        with self._changed:
            self._changed.wait(RETRY_S)

    def _write(self, *, final: bool) -> None:
        while (step := self._steps.first()) is not None:
            self._came_round = time.monotonic()
            if isinstance(step, NewList):
                self._write_new_list(step)
            else:
                self._write_step(step)
            self._steps.first_done()  # only now: a step that could not be written stays first in line
        if final and not self._reported and self._failure is None:
            self._alerts.take_over(())
        now = time.monotonic()
        if now >= self._next_again or (final and self._next_again < math.inf):
            self._state.prompts_again()
            with self._changed:
                self._next_again, self._told_again = math.inf, now
        if final or now >= self._next_counts:
            self._write_counts()
            self._next_counts = now + self._counts_interval
        self._look_at_health(final=final)
        if self._health is not None:
            self._state.health(self._health)
            self._health = None

    def _write_step(self, step: Step) -> None:
        self._picture(step)
        for event in self._alerts.write(step.transitions, step.frame, step.pictures):
            what = (event.msg_type, event.prompt, event.count_kind, event.count, event.reason)
            log.info("%s %s: %s = %g (%s)", *what)

    def _picture(self, step: Step) -> None:
        """Make the pictures that the step still lacks, and let go of the frame. Never raises."""
        image, step.image = step.image, None
        if image is None or self._evidence is None:
            return
        for transition in step.transitions:
            if transition.kind == "raise":
                sha256 = self._evidence.keep(image, transition.boxes)
                if sha256 is not None:
                    step.pictures[transition.alert_id] = sha256

    def _write_new_list(self, step: NewList) -> None:
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
