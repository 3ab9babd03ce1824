"""The loops over frames: nothing is held back, nothing lost when they end, and no memory is asked for."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from edge.broker import free_port
from edge.bundle.load import Bundle, load_bundle
from edge.count import count_frames
from edge.daemon import Daemon
from edge.frames import Frame, I420Image, RgbImage
from edge.pipeline import FrameResult, Pipeline
from edge.sources import FrameSource
from firmware_cfg.bundles import default_bundle_path
from firmware_cfg.device import DeviceFile, Mqtt, Source
from firmware_cfg.errors import SourceError
from firmware_cfg.prompt_list import load_prompt_bytes, load_prompt_list

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
PROMPTS = b"prompts: [{id: red, text: red, threshold: 0.5}]\nbackground: [grey grey]\n"
TRAFFIC = Path(__file__).parents[2] / "firmware_cfg/prompts/traffic.yaml"
LARGE_BYTES = 64 << 10


class Flat(FrameSource):
    """So many grey frames; `before` runs before each of them, with its number, and once more at the end."""

    def __init__(self, frames: int, before: Callable[[int], object] = lambda number: None) -> None:
        super().__init__("flat")
        self._frames = frames
        self._before = before

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> FrameSource:
        return cls(1)

    def __iter__(self) -> Iterator[Frame]:
        image = RgbImage(np.full((64, 128, 3), 114, np.uint8))
        for number in range(self._frames):
            self._before(number)
            yield Frame(image, number, number / 10, START + timedelta(seconds=number / 10), 0, self.name)
        self._before(self._frames)


class Camera(Flat):
    """The same, live."""

    live = True


@pytest.fixture
def device_file(tiny_bundle: Bundle, tmp_path: Path) -> DeviceFile:
    prompts = tmp_path / "prompts.yaml"
    prompts.write_bytes(PROMPTS)
    return DeviceFile(
        device="bird",
        source=Source(uri="flat"),
        prompts=prompts,
        bundle=str(tiny_bundle.path),
        mqtt=Mqtt(url=f"mqtt://127.0.0.1:{free_port()}"),
        state_dir=tmp_path / "state",
    )


@pytest.mark.parametrize("kind", [Flat, Camera])
def test_no_result_is_held_back_for_the_next_frame(device_file: DeviceFile, kind: type[Flat]) -> None:
    told = [threading.Event() for _ in range(4)]
    in_time: list[bool] = []

    def after_the_last_was_told(number: int) -> None:
        if number:
            in_time.append(told[number - 1].wait(60))

    source = kind(4, after_the_last_was_told)
    summary = Daemon(
        device_file, source=source, on_frame=lambda result, _: told[result.frame.number].set()
    ).run()
    assert (summary.frames, summary.dropped) == (4, 0)
    assert in_time == [True] * 4


def test_a_camera_s_newest_frame_is_next_and_what_was_dropped_is_told(device_file: DeviceFile) -> None:
    first_told, all_there = threading.Event(), threading.Event()
    numbers: list[int] = []

    def come(number: int) -> None:
        if number == 1:
            first_told.wait(60)
        if number == 6:
            all_there.set()

    def tell(result: FrameResult, _: object) -> None:
        numbers.append(result.frame.number)
        first_told.set()
        all_there.wait(60)

    summary = Daemon(device_file, source=Camera(6, come), on_frame=tell).run()
    assert numbers == [0, 5]
    assert summary.dropped == 4


def test_every_stage_of_the_daemon_s_frames_is_timed(device_file: DeviceFile) -> None:
    results: list[FrameResult] = []
    Daemon(device_file, source=Flat(3), on_frame=lambda result, _: results.append(result)).run()
    for seconds in (result.seconds for result in results):
        assert min(seconds.decode, seconds.preprocess, seconds.engine, seconds.lookup, seconds.publish) > 0


def test_a_flight_that_is_stopped_in_a_frame_ends_with_that_frame(device_file: DeviceFile) -> None:
    def tell(result: FrameResult, _: object) -> None:
        if result.frame.number == 3:
            daemon.stop("seen enough")

    daemon = Daemon(device_file, source=Flat(20), on_frame=tell)
    assert daemon.run().frames == 4


def test_count_tells_all_that_it_found_before_a_source_failed(tiny_bundle: Bundle) -> None:
    def fail(number: int) -> None:
        if number == 3:
            raise SourceError("flat: unplugged")

    numbers: list[int] = []
    with Pipeline(tiny_bundle, load_prompt_bytes(PROMPTS, "list.yaml")) as pipeline:
        with pytest.raises(SourceError, match="unplugged"):
            numbers.extend(result.frame.number for result in count_frames(Flat(5, fail), pipeline))
        assert numbers == [0, 1, 2]
        assert [result.frame.number for result in count_frames(Flat(1), pipeline)] == [0]


def test_a_count_that_is_given_up_leaves_nothing_in_flight(tiny_bundle: Bundle) -> None:
    with Pipeline(tiny_bundle, load_prompt_bytes(PROMPTS, "list.yaml")) as pipeline:
        counting = count_frames(Flat(5), pipeline)
        next(counting)
        counting.close()
        assert len(list(count_frames(Flat(5), pipeline))) == 5


def test_the_frame_loop_asks_for_no_large_memory_once_it_is_warm() -> None:
    if not default_bundle_path().is_dir():
        pytest.skip("this checkout has no model bundle in firmware_cfg/bundles/default")
    chance = np.random.default_rng(3)
    y = np.kron(chance.integers(60, 190, (90, 160), np.uint8), np.ones((8, 8), np.uint8))
    u, v = (np.full((360, 640), 128, np.uint8) for _ in range(2))
    image = I420Image(y, u, v)

    class Still(Flat):
        def __iter__(self) -> Iterator[Frame]:
            for number in range(12):
                yield Frame(image, number, number / 10, START + timedelta(seconds=number / 10), 0, "still")

    with Pipeline(load_bundle("default"), load_prompt_list(TRAFFIC)) as pipeline:
        for _ in count_frames(Still(12), pipeline):
            pass
        most = 0
        tracemalloc.start()
        try:
            for _ in count_frames(Still(12), pipeline):
                now, peak = tracemalloc.get_traced_memory()
                most = max(most, peak - now)
                tracemalloc.reset_peak()
        finally:
            tracemalloc.stop()
    # The small grey picture of the camera's motion is just below what is large; twice that is one too many.
    assert most < 2 * LARGE_BYTES
