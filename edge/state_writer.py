"""Writes what is true at the moment into the outbox: counts, health, and the prompt list in force."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from edge import events
from edge.home_assistant import Announcer
from firmware_cfg.topics import Topics

if TYPE_CHECKING:
    from edge.counting import FrameCounts
    from edge.events import FrameFacts, Session
    from edge.outbox.outbox import Outbox
    from edge.prompts.bank import PromptBank


class StateWriter:
    """Retained telemetry, of which the newest replaces what waits. Every method raises OutboxError.

    `discovery_prefix`: where Home Assistant is told of the drone; None: it is not.
    """

    def __init__(self, outbox: Outbox, session: Session, discovery_prefix: str | None = None) -> None:
        self._outbox = outbox
        self._session = session
        self._topics = Topics(session.device)
        self._announcer = (
            None if discovery_prefix is None else Announcer(session, discovery_prefix, outbox.path.parent)
        )
        self._told: list[tuple[str, bytes]] = []

    def counts(self, counts: FrameCounts, frame: FrameFacts) -> None:
        """The numbers of every prompt of the list in `frame`."""
        now = _now()
        with self._outbox.transaction(durable=False):
            for prompt_id, of_prompt in counts.prompts.items():
                message = events.counts(self._session, prompt_id, of_prompt, frame, now)
                self._put(self._topics.counts(prompt_id), message.to_payload())

    def prompts(self, bank: PromptBank, gone: Collection[str] = ()) -> None:
        """The list in force, and no counts any more of the prompts that are `gone` with the one before it."""
        state = events.prompts_state(self._session, bank, _now())
        told = [(self._topics.prompts_state, state.to_payload())]
        if self._announcer is not None:
            told.append(self._announcer.message(bank.prompt_list))
        self._put_all([*told, *((self._topics.counts(prompt_id), b"") for prompt_id in sorted(gone))])
        self._told = told

    def prompts_again(self) -> None:
        """The list in force once more, as it was told: it was not applied again. Nothing before `prompts`."""
        self._put_all(self._told)

    def health(self, payload: bytes) -> None:
        """How the device is doing."""
        self._put(self._topics.health, payload)

    def _put_all(self, messages: Sequence[tuple[str, bytes]]) -> None:
        with self._outbox.transaction(durable=False):
            for topic, payload in messages:
                self._put(topic, payload)

    def _put(self, topic: str, payload: bytes) -> None:
        self._outbox.put(topic, payload, kind="telemetry", retain=True)


def _now() -> datetime:
    return datetime.now(timezone.utc)
