"""The capture thread: files lose nothing, live sources stay current, and the end always comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.capture import QUEUED_FRAMES, Capture
from edge.frames import Frame, RgbImage
from edge.sources import FrameSource
from firmware_cfg.errors import SourceError

IMAGE = RgbImage(np.zeros((2, 2, 3), dtype=np.uint8))
FRAMES = 20


class ScriptedSource(FrameSource):
    """Frames 10 ms apart; `before` runs before each of them, with its number."""

    image = IMAGE

    def __init__(self, before: Callable[[int], object] = lambda number: None) -> None:
        super().__init__("scripted")
        self._before = before

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> FrameSource:
        return cls()

    def __iter__(self) -> Iterator[Frame]:
        for number in range(FRAMES):
            self._before(number)
            yield Frame(self.image, number, number * 0.01, datetime.now(timezone.utc), 0, self.name)


def test_a_file_loses_no_frame_however_slow_the_model() -> None:
    held_up = threading.Event()
    capture = Capture(ScriptedSource(lambda number: held_up.set() if number == QUEUED_FRAMES + 1 else None))
    numbers = []
    for frame in capture:
        held_up.wait(60)  # the queue is full and the source waits
        numbers.append(frame.number)
    assert numbers == list(range(FRAMES))
    assert capture.dropped == 0


def test_of_large_frames_one_is_read_ahead() -> None:
    read: list[int] = []
    source = ScriptedSource(read.append)
    source.image = RgbImage(np.broadcast_to(np.zeros((), np.uint8), (2160, 3840, 3)))
    capture = Capture(source)
    ahead = []
    for frame in capture:
        while len(read) < min(frame.number + 3, FRAMES):  # one queued, and one in the source's thread
            time.sleep(0.001)
        time.sleep(0.01)
        ahead.append(len(read) - frame.number - 1)
    assert ahead == [2] * (FRAMES - 2) + [1, 0]


def test_of_a_live_source_the_newest_frame_is_always_next_and_the_others_are_counted() -> None:
    taken, halfway, go_on = threading.Event(), threading.Event(), threading.Event()

    def hold(number: int) -> None:
        if number == 1:
            taken.wait(60)
        if number == FRAMES // 2:
            halfway.set()
            go_on.wait(60)

    capture = Capture(ScriptedSource(hold), drop_oldest=True)
    frames = iter(capture)
    numbers = [next(frames).number]
    taken.set()
    assert halfway.wait(60)  # while the model was busy with the first one
    numbers.append(next(frames).number)
    go_on.set()
    assert capture.join(60)
    numbers += [frame.number for frame in frames]
    assert numbers == [0, FRAMES // 2 - 1, FRAMES - 1]
    assert capture.dropped == FRAMES - 3


def test_who_does_not_wait_is_told_that_there_is_no_frame_yet() -> None:
    release = threading.Event()
    capture = Capture(ScriptedSource(lambda number: release.wait(60) if number == 1 else None))
    assert capture.next() is not None
    assert capture.next(wait=False) is None
    release.set()
    assert capture.next() is not None


def test_a_failure_waits_for_who_waits_for_a_frame() -> None:
    def fail(number: int) -> None:
        raise SourceError("camera: unplugged")

    capture = Capture(ScriptedSource(fail))
    assert capture.next(wait=False) is None
    assert capture.join(60)
    assert capture.next(wait=False) is None
    with pytest.raises(SourceError, match="unplugged"):
        capture.next()


def test_a_failing_source_raises_in_the_frame_loop_after_its_good_frames() -> None:
    def fail(number: int) -> None:
        if number == 3:
            raise SourceError("camera: unplugged")

    frames = iter(Capture(ScriptedSource(fail)))
    assert [next(frames).number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SourceError, match="unplugged"):
        next(frames)


def test_stop_ends_the_iteration_while_the_source_is_stuck() -> None:
    stuck, release = threading.Event(), threading.Event()

    def block(number: int) -> None:
        if number == 2:
            stuck.set()
            release.wait(60)

    capture = Capture(ScriptedSource(block))
    frames = iter(capture)
    assert [next(frames).number, next(frames).number] == [0, 1]
    assert stuck.wait(60)
    assert not capture.join(0)
    threading.Timer(0.05, capture.stop).start()
    assert list(frames) == []
    release.set()
    assert capture.join(60)


def test_stop_ends_the_capture_thread_while_it_waits_for_room() -> None:
    capture = Capture(ScriptedSource())
    next(iter(capture))
    capture.stop()
    assert capture.join(60)


def test_real_time_holds_a_frame_back_until_its_moment() -> None:
    now = [100.0]
    calls = threading.Lock()

    def clock() -> float:
        with calls:
            now[0] += 0.002
            return now[0]

    for frame in Capture(ScriptedSource(), realtime=True, clock=clock):
        assert now[0] - 100.0 >= frame.time_s
    assert frame.number == FRAMES - 1


def test_as_fast_as_possible_asks_no_clock() -> None:
    def clock() -> float:
        raise AssertionError("the clock was asked")

    assert sum(1 for _ in Capture(ScriptedSource(), clock=clock)) == FRAMES


def test_whoever_waits_for_a_frame_that_is_early_is_told_and_for_one_that_is_stuck_is_not() -> None:
    told: list[int] = []
    stuck, release = threading.Event(), threading.Event()

    def block(number: int) -> None:
        if number == 2:
            stuck.set()
            release.wait(60)

    due = [0.0]
    capture = Capture(
        ScriptedSource(block), realtime=True, on_early=lambda: told.append(1), clock=lambda: due[0]
    )
    frames = iter(capture)
    assert next(frames).number == 0
    reader = threading.Thread(target=lambda: told.extend([-1] * next(frames).number))
    reader.start()
    while not told:
        reader.join(0.01)
    due[0] = 1e9  # from here on nothing is early
    reader.join(60)
    assert told[-1] == -1
    assert stuck.wait(60)
    before = len(told)
    threading.Timer(0.5, capture.stop).start()
    assert list(frames) == []
    assert len(told) == before
    release.set()
    assert capture.join(60)


class LiveScript(ScriptedSource):
    """A camera that is waited for before its third frame."""

    live = True
    waiting = False
    stopped = False

    @property
    def waits(self) -> bool:
        return self.waiting

    def stop(self) -> None:
        self.stopped = True


def test_a_camera_drops_its_oldest_frames_unless_told_otherwise_and_is_never_paced() -> None:
    capture = Capture(LiveScript(), realtime=True, clock=lambda: pytest.fail("the clock was asked"))
    frames = iter(capture)
    numbers = [next(frames).number]
    assert capture.join(60)
    numbers += [frame.number for frame in frames]
    assert len(numbers) + capture.dropped == FRAMES
    assert capture.dropped > 0
    whole = Capture(LiveScript(), drop_oldest=False)
    assert [frame.number for frame in whole] == list(range(FRAMES))


def test_whoever_waits_for_a_camera_is_told_while_it_is_looked_for() -> None:
    told, release = threading.Event(), threading.Event()

    def look(number: int) -> None:
        if number == 2:
            source.waiting = True
            release.wait(60)
            source.waiting = False

    source = LiveScript(look)
    capture = Capture(source, drop_oldest=False, on_early=told.set)
    frames = iter(capture)
    assert [next(frames).number, next(frames).number] == [0, 1]
    threading.Thread(target=lambda: told.wait(60) and release.set()).start()
    assert next(frames).number == 2
    assert told.is_set()
    capture.stop()
    assert source.stopped
    assert capture.join(60)
