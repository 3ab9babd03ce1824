"""`prompts/set`, `prompts/desired` and `prompts/get`, as the control room sends them, and their answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from edge.prompts.intake import Outcome
from edge.prompts.owner import ShelfError
from edge.requests.desk import answer_topic
from edge.requests.refusals import Refusals
from firmware_cfg.errors import ConfigError
from firmware_cfg.messages import PromptsAck, PromptsProblem
from firmware_cfg.messages.prompts import MOST_ERRORS
from firmware_cfg.topics import Topics

if TYPE_CHECKING:
    from edge.mqtt.messages import IncomingMessage
    from edge.prompts.updates import PromptUpdater

log = logging.getLogger(__name__)

QUIET_S = 10.0

Send = Callable[[str, bytes, "bytes | None"], None]
"""Puts topic, payload and correlation data in line for the broker."""

_RETAINED = ConfigError(
    "prompts/set",
    0,
    0,
    "a retained list would come again with every connection",
    "send it on prompts/desired",
)


class PromptRequests:
    """Handlers for the request desk. They never raise for what was sent; what `send` raises, they raise."""

    def __init__(self, updater: PromptUpdater, device: str, send: Send) -> None:
        self._updater = updater
        self._topics = Topics(device)
        self._send = send
        self._refusals = Refusals(log, quiet_s=QUIET_S)

    def set_list(self, message: IncomingMessage) -> None:
        """Handle `prompts/set`: one list, once, answered in any case."""
        if message.retained:
            if message.payload:  # an empty one is somebody removing it
                self._answer(message, self._updater.refuse(message.payload, _RETAINED))
            return
        self._answer(message, self._updater.set_list(message.payload))

    def desired(self, message: IncomingMessage) -> None:
        """Handle `prompts/desired`: answered where it is news."""
        outcome = self._updater.desired(message.payload, repeated=message.retained)
        if outcome is not None:
            self._answer(message, outcome)

    def tell_list(self, message: IncomingMessage) -> None:
        """Handle `prompts/get`: the list in force as its author wrote it; empty where it cannot be read."""
        if message.retained:
            return  # it would be asked again with every connection
        try:
            data = self._updater.list_in_force()
        except ShelfError as error:
            log.warning("%s: %s", message.topic, error)
            data = b""
        self._send(answer_topic(message, self._topics.prompts_list), data, message.correlation)

    def _answer(self, request: IncomingMessage, outcome: Outcome) -> None:
        if outcome.errors:
            self._say(outcome.errors)
        errors = outcome.errors[:MOST_ERRORS]
        ack = PromptsAck(
            device=self._topics.device,
            sent_at=datetime.now(timezone.utc),
            applied=outcome.applied,
            received_sha256=outcome.received_sha256,
            sha256=outcome.sha256,
            kept=outcome.kept,
            errors=tuple(
                PromptsProblem(line=error.line, column=error.column, problem=error.problem, mend=error.mend)
                for error in errors
            ),
            more_errors=len(outcome.errors) - len(errors),
        ).to_payload()
        # Everybody may know, and the one who asked gets it where it was asked for.
        own = self._topics.prompts_ack
        for topic in dict.fromkeys((own, answer_topic(request, own))):
            self._send(topic, ack, request.correlation)

    def _say(self, errors: tuple[ConfigError, ...]) -> None:
        more = f" and {len(errors) - 1} more errors" if len(errors) > 1 else ""
        self._refusals.say(f"{errors[0]}{more}; the list is refused")
