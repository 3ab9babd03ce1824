"""Reads requests from MQTT, with few lines about those that are refused: whoever sends one sends more."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import TypeVar

from edge.mqtt.messages import IncomingMessage
from firmware_cfg.messages.base import Payload

QUIET_S = 60.0

Request = TypeVar("Request", bound=Payload)


class Refusals:
    """One line, then none for `quiet_s` seconds; the next one says how many were left out. For one thread."""

    def __init__(
        self, log: logging.Logger, *, quiet_s: float = QUIET_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._quiet_s = quiet_s
        self._clock = clock
        self._until = -math.inf
        self._untold = 0

    def say(self, line: str) -> None:
        """Warn of one refusal, or count it."""
        now = self._clock()
        if now < self._until:
            self._untold += 1
            return
        more = f" ({self._untold} more were refused since the last such line)" if self._untold else ""
        self._log.warning("%s%s", line, more)
        self._until, self._untold = now + self._quiet_s, 0


def read_request(
    message: IncomingMessage, model: type[Request], refusals: Refusals, *, max_bytes: int
) -> Request | None:
    """The request in a message; None, with a refusal, where there is none."""
    if message.retained:
        problem = "a request must not be retained"  # it would be answered again with every connection
    elif len(message.payload) > max_bytes:
        problem = f"{len(message.payload)} bytes; {max_bytes} are enough"
    else:
        try:
            return model.from_payload(message.payload)
        except ValueError as error:
            problem = str(error)
    refusals.say(f"{message.topic}: refused: {problem}")
    return None
