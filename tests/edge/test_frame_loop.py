"""The loops over frames: nothing is held back, nothing lost when they end, and no memory is asked for."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.broker import free_port
from edge.bundle.load import Bundle, load_bundle
from edge.count import count_frames
from edge.daemon import Daemon
from edge.engines.base import EngineOutput, ImageEngine
from edge.frames import Frame, I420Image, RgbImage
from edge.pipeline import FrameResult, Pipeline
from edge.runtime import BundleRuntime
from edge.sources import FrameSource
from edge.tiling import Tiles
from firmware_cfg.bundles import default_bundle_path
from firmware_cfg.device import DeviceFile, Engine, Mqtt, Source
from firmware_cfg.errors import SourceError
from firmware_cfg.prompt_list import load_prompt_bytes, load_prompt_list

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
PROMPTS = b"prompts: [{id: red, text: red, threshold: 0.5}]\nbackground: [grey grey]\n"
TRAFFIC = Path(__file__).parents[2] / "firmware_cfg/prompts/traffic.yaml"
SMALL = (320, 192)
"""Of the tile: its memory is large all the same."""
LARGE_BYTES = 64 << 10
GROWTH_BYTES = 16 << 10
"""Over a quarter of the frames; one array that is kept for each would be more."""


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


def test_a_flight_that_is_stopped_tells_what_is_with_the_engine_and_takes_no_more(
    device_file: DeviceFile,
) -> None:
    read_ahead = threading.Event()
    numbers: list[int] = []

    def come(number: int) -> None:
        if number == 5:
            read_ahead.set()

    def tell(result: FrameResult, _: object) -> None:
        numbers.append(result.frame.number)
        if result.frame.number == 2:
            assert read_ahead.wait(60)  # frame 4 is there: the engine has it when frame 3 is told
        if result.frame.number == 3:
            daemon.stop("seen enough")

    daemon = Daemon(device_file, source=Flat(20, come), on_frame=tell)
    assert daemon.run().frames == 5
    assert numbers == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("independent", [False, True])
def test_windows_of_interest_that_unrelated_images_do_not_have_are_told(
    device_file: DeviceFile, caplog: pytest.LogCaptureFixture, independent: bool
) -> None:
    source = Flat(2)
    source.independent = independent
    engine = Engine(tiles=(2, 1), tiles_where="interest")
    Daemon(device_file.model_copy(update={"engine": engine}), source=source).run()
    told = [line for line in caplog.messages if "no windows of interest" in line]
    assert told == ["flat: unrelated images have no windows of interest: all of them run"] * independent


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


class LateRuntime(BundleRuntime):
    """Its engines read their tiles only when the result is asked for, as late as an engine may."""

    def image_engine(self, size: tuple[int, int]) -> ImageEngine:
        engine = super().image_engine(size)
        start = engine.start

        class Late:
            seconds = 0.0
            done: EngineOutput | None = None

            def __init__(self, *args: Any) -> None:
                self.args = args

            def result(self) -> EngineOutput:
                if self.done is None:
                    self.done = start(*self.args).result().copy()
                return self.done

        engine.start = Late  # type: ignore[method-assign, assignment]
        return engine


@pytest.mark.parametrize("tiles", ["none", (2, 1)])
def test_no_frame_is_drawn_over_while_the_engine_may_still_read_it(tiny_bundle: Bundle, tiles: Tiles) -> None:
    class Steps(Flat):
        """A red square, one cell further in each frame."""

        def __iter__(self) -> Iterator[Frame]:
            for number in range(self._frames):
                pixels = np.full((64, 128, 3), 114, np.uint8)
                pixels[24:32, 8 * number : 8 * number + 8] = (255, 0, 0)
                yield Frame(RgbImage(pixels), number, number / 10, START, 0, self.name)

    def boxes(results: Iterable[FrameResult]) -> list[list[Any]]:
        return [[place.box for place in result.scores.places] for result in results]

    prompts = load_prompt_bytes(PROMPTS, "list.yaml")
    with Pipeline(tiny_bundle, prompts, tiles=tiles) as pipeline:
        in_turn = boxes(pipeline.process(frame) for frame in Steps(12))
    with Pipeline(LateRuntime(tiny_bundle, "openvino", "auto"), prompts, tiles=tiles) as pipeline:
        assert boxes(count_frames(Steps(12), pipeline)) == in_turn
    assert len({tuple(found) for found in in_turn}) > 10  # hardly a frame is like another


def test_a_count_that_is_given_up_leaves_nothing_in_flight(tiny_bundle: Bundle) -> None:
    with Pipeline(tiny_bundle, load_prompt_bytes(PROMPTS, "list.yaml")) as pipeline:
        counting = count_frames(Flat(5), pipeline)
        next(counting)
        counting.close()
        assert len(list(count_frames(Flat(5), pipeline))) == 5


class Still(Flat):
    """One textured picture again and again, as a decoder hands it out."""

    def __iter__(self) -> Iterator[Frame]:
        chance = np.random.default_rng(3)
        y = np.kron(chance.integers(60, 190, (90, 160), np.uint8), np.ones((8, 8), np.uint8))
        u, v = (np.full((360, 640), 128, np.uint8) for _ in range(2))
        image = I420Image(y, u, v)
        for number in range(self._frames):
            yield Frame(image, number, number / 10, START + timedelta(seconds=number / 10), 0, self.name)


class Gauge:
    """Called after each frame: what that asked for beyond what stayed, and what is held, bytes, once warm."""

    WARM = 12
    FRAMES = 36

    def __init__(self) -> None:
        self.most = 0
        self.held: list[int] = []
        self._frames = 0

    def __call__(self, *_: object) -> None:
        self._frames += 1
        if self._frames == self.WARM:
            tracemalloc.start()
        elif self._frames > self.WARM:
            now, peak = tracemalloc.get_traced_memory()
            self.most = max(self.most, peak - now)
            self.held.append(now)
            tracemalloc.reset_peak()

    @property
    def growth(self) -> int:
        """From the half of the frames on: before, what was there already makes way for what is counted."""
        half = len(self.held) // 2
        return max(self.held[half + half // 2 :]) - max(self.held[half : half + half // 2])


@pytest.fixture
def gauge() -> Iterator[Gauge]:
    if not default_bundle_path().is_dir():
        pytest.skip("this checkout has no model bundle in firmware_cfg/bundles/default")
    yield Gauge()
    tracemalloc.stop()


@pytest.mark.parametrize("tiles", ["none", (2, 1)])
def test_counting_asks_for_no_large_memory_once_it_is_warm(gauge: Gauge, tiles: Tiles) -> None:
    bundle, prompts = load_bundle("default"), load_prompt_list(TRAFFIC)
    with Pipeline(bundle, prompts, image_size=SMALL, tiles=tiles) as pipeline:
        for result in count_frames(Still(gauge.FRAMES), pipeline):
            gauge(result)
    # The small grey picture of the camera's motion is just below what is large; twice that is one too many.
    assert gauge.most < 2 * LARGE_BYTES
    assert gauge.growth < GROWTH_BYTES


def test_a_flight_asks_for_no_large_memory_once_it_is_warm(gauge: Gauge, device_file: DeviceFile) -> None:
    engine = Engine(image_size=SMALL)
    device = device_file.model_copy(update={"bundle": "default", "prompts": TRAFFIC, "engine": engine})
    Daemon(device, source=Still(gauge.FRAMES), on_frame=gauge).run()
    assert gauge.most < 2 * LARGE_BYTES
    assert gauge.growth < GROWTH_BYTES
