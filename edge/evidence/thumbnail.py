"""Answers `thumbnail/get`: what the camera sees just now, small, and not often: a radio link is thin."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.evidence.picture import picture
from edge.mqtt.messages import IncomingMessage
from edge.outbox.outbox import Outbox
from edge.requests.desk import answer_topic
from edge.requests.refusals import Refusals, read_request
from firmware_cfg.messages import ThumbnailRequest
from firmware_cfg.topics import Topics

if TYPE_CHECKING:
    from edge.frames import Image

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 1024
EVERY_S = 1.0
"""Of what is asked for more often, one picture in this time is sent, to all who listen."""


class Thumbnails:
    """`see` is for the frame loop; `handle`, of the channel `thumbnail/get`, for one other thread."""

    def __init__(
        self, outbox: Outbox, device: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._outbox = outbox
        self._topics = Topics(device)
        self._monotonic = monotonic
        self._refusals = Refusals(log)
        self._newest: Image | None = None
        self._sent_at = -math.inf

    def see(self, image: Image) -> None:
        """The newest frame; nothing is done with it before somebody asks."""
        self._newest = image

    def handle(self, message: IncomingMessage) -> None:
        """Answer with a JPEG, or with nothing before the first frame. Raises OutboxError."""
        request = read_request(message, ThumbnailRequest, self._refusals, max_bytes=MAX_REQUEST_BYTES)
        if request is None:
            return
        usual = self._topics.thumbnail
        if self._monotonic() - self._sent_at < EVERY_S or self._outbox.waits(usual):
            return  # the one that was just sent, or is on its way, is for this one, too
        image = self._newest
        data = b"" if image is None else picture(image, (), request.max_kib << 10)
        self._sent_at = self._monotonic()
        topic = answer_topic(message, usual)
        self._outbox.put(topic, data, kind="telemetry", correlation=message.correlation)
