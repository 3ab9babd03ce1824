"""What every camera has in common: numbers, times and counts through losses; and the clock behind them."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Generator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.backoff import Backoff
from edge.frames import RgbImage
from edge.sources import CameraOptions, LiveSource
from edge.sources.camera import CameraError, Shot, public_name, with_login
from edge.sources.stream_clock import Pace, StreamClock
from firmware_cfg.errors import SourceError

IMAGE = RgbImage(np.zeros((2, 2, 3), dtype=np.uint8))
STEP_S = 0.04

Part = list[float] | CameraError


class ScriptedCamera(LiveSource):
    """Connections one after another: capture times of pictures, or an error instead of them."""

    def __init__(self, *parts: Part, patient: bool = True, last: Callable[[], None] = lambda: None) -> None:
        super().__init__("rtsp://pilot:hunter2@camera/stream?token=hunter2", CameraOptions(patient=patient))
        self.fps = 1 / STEP_S
        self._parts = iter(parts)
        self._last = last
        self._backoff = Backoff(first=0.0)

    @classmethod
    def from_options(cls, uri: str, options: CameraOptions) -> ScriptedCamera:
        return cls()

    def _shots(self) -> Generator[Shot, None, None]:
        part = next(self._parts, None)
        if part is None:
            self.stop()
            self._last()
            return
        if isinstance(part, CameraError):
            raise part
        yield from (Shot(IMAGE, captured_s) for captured_s in part)


def steps(first: int, many: int) -> list[float]:
    return [1000 + (first + each) * STEP_S for each in range(many)]


def test_numbers_and_times_go_on_through_losses_and_each_is_counted_by_its_cause() -> None:
    gone = CameraError("camera: unplugged", "camera unplugged")
    source = ScriptedCamera(steps(0, 10), gone, gone, steps(30, 5), [*steps(50, 5), *steps(57, 3)])
    frames = list(source)
    wanted = [*range(10), *range(30, 35), *range(50, 55), *range(57, 60)]
    assert [frame.number for frame in frames] == wanted
    assert [frame.time_s for frame in frames] == pytest.approx([number * STEP_S for number in wanted])
    assert source.skipped == {"stream ended": 20 + 15, "lost on the way": 2}
    assert source.outages == 2 + 1  # the script's end is a loss, too


def test_pictures_that_come_all_at_once_keep_their_order() -> None:
    frames = list(ScriptedCamera([1000.0, 1000.0, 999.0, 1001.0]))
    assert [frame.number for frame in frames][:3] == [0, 1, 2]
    times = [frame.time_s for frame in frames]
    assert all(one < other for one, other in itertools.pairwise(times))


def test_a_camera_that_is_not_there_at_first_is_said_once_and_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    gone = CameraError("camera: no host of that name", "no camera")
    source = ScriptedCamera(gone, gone, gone, steps(0, 3))
    frames = iter(source)
    assert next(frames).number == 0
    assert source.problem == ""
    assert source.outages == 1
    assert source.skipped == {}
    said = [record.getMessage() for record in caplog.records]
    assert said == ["camera: no host of that name; trying again", f"{source.name}: there it is again"]


def test_who_is_not_patient_gets_the_first_trouble() -> None:
    source = ScriptedCamera(steps(0, 3), patient=False)
    assert len(list(source)) == 3
    with pytest.raises(SourceError, match="unplugged"):
        list(ScriptedCamera(CameraError("camera: unplugged", "gone"), steps(0, 3), patient=False))


def test_a_source_that_pauses_waits_and_one_that_broke_its_promise_does_not() -> None:
    source = ScriptedCamera()
    assert not source.waits
    source._promise(60)
    assert source.waits
    source._promise(0)
    assert not source.waits


def test_stop_ends_a_pause_however_long() -> None:
    source = ScriptedCamera(CameraError("camera: gone", "gone"))
    source._backoff = Backoff(first=1e6, longest=1e6)
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.extend(source))
    reader.start()
    while not source.waits:
        time.sleep(0.001)
    source.stop()
    reader.join(60)
    assert not reader.is_alive()
    assert found == []


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("rtsp://pilot:a@b@camera:554/live/1?user=x&pass=y#z", "rtsp://camera:554/live/1"),
        ("rtsp://camera?token=secret", "rtsp://camera"),
        ("rtsp://camera/", "rtsp://camera/"),
        ("/dev/video0", "/dev/video0"),
        ("rtsp://pilot:12/34@camera/live", "rtsp://camera/live"),
        ("rtsp://pilot:a#b?c@camera/live", "rtsp://camera/live"),
        ("rtsp:/pilot:pass@camera/live", "rtsp:/camera/live"),
        ("rtsp:pilot:pass@camera/live", "rtsp:camera/live"),
        ("rtsp//pilot:pass@camera/live", "rtsp//camera/live"),
        ("flights//noon #3.mp4", "flights//noon #3.mp4"),
        ("/data/12:30@noon #3.mp4", "/data/12:30@noon #3.mp4"),
        ("file:///data/12:30@noon.mp4", "file:///data/12:30@noon.mp4"),
    ],
)
def test_a_name_holds_nothing_secret(uri: str, name: str) -> None:
    assert public_name(uri) == name


def test_a_login_is_written_so_that_it_reads_the_same() -> None:
    assert (
        with_login("rtsp://old@camera:8554/a", "pi lot", "p@:/?")
        == "rtsp://pi%20lot:p%40%3A%2F%3F@camera:8554/a"
    )
    assert with_login("rtsp://camera/a", None, None) == "rtsp://camera/a"
    assert "hunter2" not in repr(CameraOptions(username="pilot", password="hunter2"))


@given(
    st.lists(st.floats(0, 0.5), min_size=30, max_size=60),
    st.floats(-5e-4, 5e-4),
    st.floats(-1e6, 1e6),
)
def test_capture_times_follow_the_camera_and_never_run_ahead_of_arrival(
    delays: list[float], drift: float, zero: float
) -> None:
    clock = StreamClock()
    delays[0] = 0.0
    for number, delay in enumerate(delays):
        taken_s = number * STEP_S
        stamp_s, arrived_s = zero + taken_s * (1 + drift), 500 + taken_s + delay
        late_s = clock.note(stamp_s, arrived_s)
        captured_s = clock.captured_s(stamp_s, arrived_s)
        assert captured_s <= arrived_s
        assert late_s >= -1e-9
        # The first was on time, so that jitter cancels out but for the clocks' drift.
        drifted_s = 0.002 * (taken_s + 1)
        assert captured_s == pytest.approx(500 + taken_s, abs=drifted_s)
        assert late_s == pytest.approx(delay, abs=drifted_s)


def test_a_decoder_that_is_one_percent_too_slow_is_seen_to_fall_behind() -> None:
    clock = StreamClock()
    late_s = [clock.note(number * STEP_S, number * STEP_S * 1.01) for number in range(7500)]
    assert late_s[-1] == pytest.approx(0.009 * 300, rel=0.05)


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_camera_whose_clock_is_set_is_followed(jump_s: float) -> None:
    clock = StreamClock()
    for number in range(20):
        clock.note(4000 + number * STEP_S, 100 + number * STEP_S)
    stamp_s, now_s = 4000 + jump_s + 20 * STEP_S, 100 + 20 * STEP_S
    assert clock.note(stamp_s, now_s) == 0
    assert clock.captured_s(stamp_s, now_s) == pytest.approx(now_s)


def test_without_a_stamp_a_picture_was_taken_now() -> None:
    assert StreamClock().captured_s(None, 7.0) == 7.0


@given(st.floats(0.01, 1.0), st.lists(st.integers(0, 8), min_size=4, max_size=40))
def test_gaps_are_counted_in_frames(step_s: float, missing: list[int]) -> None:
    # One gap among steady frames each time, as the pace is learnt from them.
    pace = Pace(step_s)
    at_s = 0.0
    pace.gap(at_s)
    for lost in missing:
        at_s += step_s * (lost + 1)
        assert pace.gap(at_s) == lost
        for _ in range(15):
            at_s += step_s
            assert pace.gap(at_s) == 0


def test_a_camera_that_slows_down_in_the_dark_loses_nothing_for_long() -> None:
    pace = Pace(1 / 30)
    times = [*(each / 30 for each in range(60)), *(2 + each / 10 for each in range(60))]
    counted = [pace.gap(at_s) for at_s in times]
    assert sum(counted[:60]) == 0
    assert sum(counted[70:]) == 0
