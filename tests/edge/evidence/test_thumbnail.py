"""What the camera sees, for whoever asks: small, and no oftener than a thin link bears."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.evidence.thumbnail import EVERY_S, Thumbnails
from edge.frames import RgbImage
from edge.mqtt.messages import IncomingMessage
from edge.outbox.outbox import Outbox
from firmware_cfg.messages import ThumbnailRequest
from firmware_cfg.topics import Topics

TOPICS = Topics("bird")


def asks(payload: bytes = b"{}", **options: str) -> IncomingMessage:
    return IncomingMessage(TOPICS.thumbnail_get, payload, False, **options)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.db") as box:
        yield box


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def thumbnails(outbox: Outbox, clock: list[float]) -> Thumbnails:
    return Thumbnails(outbox, "bird", monotonic=lambda: clock[0])


def sent(outbox: Outbox) -> list[tuple[str, bytes]]:
    found = outbox.pending()
    outbox.done(*(message.id for message in found))
    return [(message.topic, message.payload) for message in found]


def noise(seed: int = 0) -> RgbImage:
    return RgbImage(np.random.default_rng(seed).integers(0, 256, (480, 640, 3), dtype=np.uint8))


def test_the_whole_of_the_newest_frame_comes_as_a_small_jpeg(outbox: Outbox, thumbnails: Thumbnails) -> None:
    thumbnails.see(noise())
    thumbnails.see(RgbImage(np.full((480, 640, 3), 200, np.uint8)))
    thumbnails.handle(asks(ThumbnailRequest(max_kib=4).to_payload()))
    ((topic, data),) = sent(outbox)
    assert (topic, len(data) <= 4096) == (TOPICS.thumbnail, True)
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape[0] / shown.shape[1] == pytest.approx(480 / 640, abs=0.02)
    assert abs(float(shown.mean()) - 200) < 3


@pytest.mark.parametrize("kib", [2, 8, 64])
def test_no_picture_is_larger_than_was_asked_for(outbox: Outbox, thumbnails: Thumbnails, kib: int) -> None:
    thumbnails.see(noise())
    thumbnails.handle(asks(ThumbnailRequest(max_kib=kib).to_payload()))
    ((_, data),) = sent(outbox)
    assert 0 < len(data) <= kib * 1024


def test_before_the_first_frame_the_answer_is_empty(outbox: Outbox, thumbnails: Thumbnails) -> None:
    thumbnails.handle(asks())
    assert sent(outbox) == [(TOPICS.thumbnail, b"")]


def test_asking_more_often_sends_no_more(outbox: Outbox, thumbnails: Thumbnails, clock: list[float]) -> None:
    thumbnails.see(noise())
    for _ in range(5):
        thumbnails.handle(asks())
    assert len(sent(outbox)) == 1
    clock[0] += EVERY_S
    thumbnails.handle(asks())
    clock[0] += EVERY_S
    thumbnails.handle(asks())  # the one before still waits for the link
    assert len(sent(outbox)) == 1


@pytest.mark.parametrize("payload", [b"", b"{", b'{"max_kib": 1000}', b'{"max_kib": 0}', b" " * 2000])
def test_a_slip_in_the_request_is_not_answered(
    outbox: Outbox, thumbnails: Thumbnails, payload: bytes
) -> None:
    thumbnails.see(noise())
    thumbnails.handle(asks(payload))
    assert sent(outbox) == []
