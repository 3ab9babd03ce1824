"""The whole way of a frame: coloured squares in, places, tracks and counts out, in pixels of the frame."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle.load import Bundle
from edge.engines.base import ImageEngine
from edge.engines.pool import EnginePool
from edge.frames import Frame, I420Image, RgbImage
from edge.pipeline import FrameResult, Pipeline
from edge.prompts import text_encoder
from edge.runtime import BundleRuntime
from firmware_cfg.errors import ConfigErrors, EngineError
from firmware_cfg.prompt_list import LoadedPromptList, load_prompt_bytes

GREY = 114
PAINT = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def colour_list(*words: str, background: str = "[grey grey]") -> LoadedPromptList:
    prompts = ", ".join(f"{{id: {word}, text: {word}, threshold: 0.5}}" for word in words)
    text = f"prompts: [{prompts}, {{id: haze, kind: scene, text: grey}}]\nbackground: {background}\n"
    return load_prompt_bytes(text.encode(), "colours.yaml")


def frame_with(
    *squares: tuple[str, int, int], number: int = 0, width: int = 128, height: int = 64, side: int = 8
) -> Frame:
    """A grey frame with coloured squares at (column, row) of a grid of squares."""
    pixels = np.full((height, width, 3), GREY, np.uint8)
    for word, column, row in squares:
        pixels[row * side : (row + 1) * side, column * side : (column + 1) * side] = PAINT[word]
    time_s = number * 0.1
    captured = START + timedelta(seconds=time_s)
    return Frame(RgbImage(pixels), number, time_s, captured, number * 100_000_000, "squares")


def found(result: FrameResult) -> set[tuple[str, tuple[int, ...]]]:
    """(prompt, rounded centre in frame pixels) of every place."""
    return {
        (place.prompt, (round((place.box[0] + place.box[2]) / 2), round((place.box[1] + place.box[3]) / 2)))
        for place in result.scores.places
    }


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_frame_becomes_places_counts_and_scene_scores(tiny_bundle: Bundle, engine: str) -> None:
    with Pipeline(tiny_bundle, colour_list("red", "blue"), engine_name=engine) as pipeline:
        result = pipeline.process(frame_with(("red", 2, 3), ("red", 9, 5), ("blue", 5, 1), ("green", 13, 6)))
    assert found(result) == {("red", (20, 28)), ("red", (76, 44)), ("blue", (44, 12))}
    assert {name: counts.count for name, counts in result.counts.prompts.items()} == {
        "red": 2,
        "blue": 1,
        "haze": 0,
    }
    assert result.scores.scene["haze"] > 0.5
    assert result.counts.prompts["haze"].score == result.scores.scene["haze"]
    assert [tracked.place for tracked in result.tracks] == list(result.scores.places)
    assert (result.engine, result.precision, result.image_size) == (engine, "fp32", (128, 64))
    assert result.bank is pipeline.bank


def test_both_engines_find_the_same(tiny_bundle: Bundle) -> None:
    frame = frame_with(("red", 2, 3), ("blue", 5, 1), width=200, height=150)
    results = []
    for engine in ("openvino", "onnxruntime"):
        with Pipeline(tiny_bundle, colour_list("red", "blue"), engine_name=engine) as pipeline:
            results.append(pipeline.process(frame))
    one, other = results
    assert [place.prompt for place in one.scores.places] == [place.prompt for place in other.scores.places]
    for place, same in zip(one.scores.places, other.scores.places, strict=True):
        assert place.box == pytest.approx(same.box, abs=0.01)
        assert place.score == pytest.approx(same.score, abs=1e-3)


def test_boxes_are_in_pixels_of_a_frame_of_any_size(tiny_bundle: Bundle) -> None:
    with Pipeline(tiny_bundle, colour_list("red")) as pipeline:
        result = pipeline.process(frame_with(("red", 3, 5), width=256, height=256, side=32))
    (place,) = result.scores.places
    assert result.image_size == (64, 64)
    assert ((place.box[0] + place.box[2]) / 2, (place.box[1] + place.box[3]) / 2) == pytest.approx((112, 176))


def test_planes_from_a_decoder_are_taken_as_they_are(tiny_bundle: Bundle) -> None:
    y = np.full((64, 128), 114, np.uint8)
    u, v = (np.full((32, 64), 128, np.uint8) for _ in range(2))
    y[24:32, 16:24], u[12:16, 8:12], v[12:16, 8:12] = 76, 84, 255  # full-range BT.601 red
    image = I420Image(y, u, v, "bt601", True)
    with Pipeline(tiny_bundle, colour_list("red")) as pipeline:
        result = pipeline.process(Frame(image, 0, 0.0, START, 0, "planes"))
    assert found(result) == {("red", (20, 28))}


def test_a_thing_that_stays_is_one_unique_thing(tiny_bundle: Bundle) -> None:
    with Pipeline(tiny_bundle, colour_list("red")) as pipeline:
        results = [pipeline.process(frame_with(("red", 4, 3), number=number)) for number in range(6)]
    assert {tracked.track_id for result in results for tracked in result.tracks} == {1}
    assert results[-1].counts.prompts["red"].unique == 1


def test_nothing_is_tracked_between_unrelated_images(tiny_bundle: Bundle) -> None:
    with Pipeline(tiny_bundle, colour_list("red"), independent=True) as pipeline:
        results = [pipeline.process(frame_with(("red", 4, 3), number=number)) for number in range(3)]
    assert len({tracked.track_id for result in results for tracked in result.tracks}) == 3
    assert [result.counts.prompts["red"].unique for result in results] == [1, 1, 1]


def test_every_size_of_frame_gets_the_image_size_that_suits_it(tiny_bundle: Bundle) -> None:
    with Pipeline(tiny_bundle, colour_list("red"), independent=True) as pipeline:
        sizes = [
            pipeline.process(frame_with(number=number, width=width, height=height)).image_size
            for number, (width, height) in enumerate([(64, 64), (256, 128), (100, 100), (64, 64)])
        ]
    assert sizes == [(64, 64), (128, 64), (64, 64), (64, 64)]


def test_a_stated_image_size_is_used_for_every_frame(tiny_bundle: Bundle) -> None:
    with Pipeline(tiny_bundle, colour_list("red"), image_size=(96, 96)) as pipeline:
        assert pipeline.process(frame_with()).image_size == (96, 96)
    with (
        Pipeline(tiny_bundle, colour_list("red"), image_size=(100, 64)) as pipeline,
        pytest.raises(EngineError, match="100x64: both sides must be positive multiples of 32"),
    ):
        pipeline.process(frame_with())


def test_a_new_list_holds_from_the_next_frame_on_and_tracks_go_on(tiny_bundle: Bundle) -> None:
    squares = ("red", 4, 3), ("blue", 10, 3)
    with Pipeline(tiny_bundle, colour_list("red")) as pipeline:
        before = [pipeline.process(frame_with(*squares, number=number)) for number in range(4)]
        bank = pipeline.set_prompts(colour_list("blue", "red"))
        after = pipeline.process(frame_with(*squares, number=4))
    assert {prompt for prompt, _ in found(before[-1])} == {"red"}
    assert {prompt for prompt, _ in found(after)} == {"red", "blue"}
    assert after.bank is bank
    assert before[-1].bank is not bank
    red = {tracked.place.prompt: tracked.track_id for tracked in after.tracks}["red"]
    assert red == before[-1].tracks[0].track_id
    assert after.counts.prompts["red"].unique == 1


def test_a_bad_list_never_replaces_a_good_one(tiny_bundle: Bundle) -> None:
    with Pipeline(tiny_bundle, colour_list("red")) as pipeline:
        good = pipeline.bank
        long = load_prompt_bytes(f"prompts: [{{id: long, text: {'red ' * 9}}}]".encode(), "long.yaml")
        with pytest.raises(ConfigErrors):
            pipeline.set_prompts(long)
        assert pipeline.bank is good
        assert found(pipeline.process(frame_with(("red", 4, 3)))) == {("red", (36, 28))}


def test_lists_change_from_another_thread_while_frames_run(tiny_bundle: Bundle) -> None:
    lists = colour_list("red"), colour_list("blue", "red")
    failures: list[BaseException] = []

    with Pipeline(tiny_bundle, lists[0]) as pipeline:

        def change() -> None:
            try:
                for turn in range(20):
                    pipeline.set_prompts(lists[(turn + 1) % 2])
            except BaseException as error:
                failures.append(error)
                raise

        other = threading.Thread(target=change)
        other.start()
        number = 0
        while other.is_alive() or number < 20:
            result = pipeline.process(frame_with(("red", 4, 3), ("blue", 9, 3), number=number))
            wanted = {prompt.id for prompt in result.bank.prompt_list.prompts} - {"haze"}
            assert {prompt for prompt, _ in found(result)} == wanted
            assert set(result.counts.prompts) == wanted | {"haze"}
            number += 1
        other.join()
    assert failures == []


class WatchedRuntime(BundleRuntime):
    """Notes which thread asked for which image engine."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.loads: list[tuple[tuple[int, int], str]] = []
        self.open: set[tuple[int, int]] = set()

    def image_engine(self, size: tuple[int, int]) -> ImageEngine:
        self.loads.append((size, threading.current_thread().name))
        engine = super().image_engine(size)
        close = engine.close

        def closed() -> None:
            self.open.discard(size)
            close()

        engine.close = closed  # type: ignore[method-assign]
        self.open.add(size)
        return engine


def test_no_frame_waits_for_the_engine_of_another_image_size(tiny_bundle: Bundle) -> None:
    runtime = WatchedRuntime(tiny_bundle)
    with Pipeline(runtime, colour_list("red")) as pipeline:
        pipeline.process(frame_with())
        other = threading.Thread(target=pipeline.set_prompts, args=(sized_list(64, 64),), name="other")
        other.start()
        other.join()
        assert pipeline.process(frame_with(number=1)).image_size == (64, 64)
        pipeline.set_prompts(colour_list("blue"))
        assert pipeline.process(frame_with(number=2)).image_size == (128, 64)
    assert runtime.loads == [((128, 64), "MainThread"), ((64, 64), "other")]


def sized_list(width: int, height: int) -> LoadedPromptList:
    text = f"prompts: [{{id: red, text: red}}]\nimage_size: [{width}, {height}]"
    return load_prompt_bytes(text.encode(), "sized.yaml")


def test_engines_of_sizes_that_lists_asked_for_do_not_pile_up(tiny_bundle: Bundle) -> None:
    runtime = WatchedRuntime(tiny_bundle)
    odd = [(96, 64), (160, 96), (192, 96)]
    with Pipeline(runtime, colour_list("red")) as pipeline:
        for turn in (0, 1):
            pipeline.set_prompts(colour_list("red"))
            pipeline.process(frame_with(number=turn))
            for size in odd:
                pipeline.set_prompts(sized_list(*size))
                assert pipeline.process(frame_with(number=turn)).image_size == size
    # What the bundle names is kept from the first turn, all others are loaded again.
    assert [size for size, _ in runtime.loads] == [(128, 64), *odd, *odd]


def test_engines_do_not_pile_up_where_no_frame_comes(tiny_bundle: Bundle) -> None:
    runtime = WatchedRuntime(tiny_bundle)
    sizes = [(96, 64), (160, 96), (192, 96), (96, 96)]
    with Pipeline(runtime, colour_list("red")) as pipeline:
        pipeline.process(frame_with())
        for before, size in zip([(128, 64), *sizes], sizes, strict=False):
            pipeline.set_prompts(sized_list(*size))
            # The one that flew last, the one that a frame may just be asking for, and the new one.
            assert runtime.open == {(128, 64), before, size}
        assert pipeline.process(frame_with(number=1)).image_size == sizes[-1]
        assert len(runtime.loads) == 1 + len(sizes)
    assert runtime.open == set()


def test_the_engine_that_the_next_list_needs_is_not_freed(tiny_bundle: Bundle) -> None:
    runtime = WatchedRuntime(tiny_bundle)
    pool = EnginePool(runtime)
    for size in ((96, 64), (160, 96)):
        pool.load(size)
    pool.keep({(128, 64)})
    pool.get((160, 96))
    assert [size for size, _ in runtime.loads] == [(96, 64), (160, 96)]
    pool.get((96, 64))
    assert len(runtime.loads) == 3
    pool.close()


def test_a_list_whose_image_size_cannot_run_is_refused(tiny_bundle: Bundle) -> None:
    runtime = WatchedRuntime(tiny_bundle)

    def fail(size: tuple[int, int]) -> ImageEngine:
        raise EngineError(f"no tiles of {size[0]}x{size[1]}")

    with Pipeline(runtime, colour_list("red")) as pipeline:
        before = pipeline.bank
        pipeline.process(frame_with())
        runtime.image_engine = fail  # type: ignore[method-assign]
        with pytest.raises(EngineError, match="no tiles of 96x64"):
            pipeline.set_prompts(sized_list(96, 64))
        assert pipeline.bank is before
        assert pipeline.process(frame_with(number=1)).image_size == (128, 64)


def test_a_bank_says_where_its_list_came_from(tiny_bundle: Bundle) -> None:
    with Pipeline(tiny_bundle, colour_list("red"), prompts_source="rollback") as pipeline:
        assert pipeline.bank.source == "rollback"
        assert pipeline.set_prompts(colour_list("blue"), source="mqtt").source == "mqtt"


@pytest.mark.parametrize(("keep", "loads"), [(True, 1), (False, 3)])
def test_a_text_tower_that_is_kept_is_loaded_once(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool, loads: int
) -> None:
    create = text_encoder.create_text_engine
    loaded = []

    def noted(*args: Any) -> Any:
        loaded.append(args)
        return create(*args)

    monkeypatch.setattr(text_encoder, "create_text_engine", noted)
    with Pipeline(tiny_bundle, colour_list("red"), text_cache=tmp_path, keep_text_tower=keep) as pipeline:
        pipeline.load_text_tower()
        for words in (["green"], ["blue"]):
            pipeline.set_prompts(colour_list(*words))
    assert len(loaded) == loads


def test_closing_interrupts_a_list_that_is_being_encoded(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(tiny_bundle, colour_list("red"), text_cache=tmp_path, keep_text_tower=True)
    run = text_encoder.TextEncoder._run

    def ended(encoder: text_encoder.TextEncoder, text: str, ids: list[int]) -> Any:
        pipeline.close()
        return run(encoder, text, ids)

    monkeypatch.setattr(text_encoder.TextEncoder, "_run", ended)
    with pytest.raises(text_encoder.Interrupted):
        pipeline.set_prompts(colour_list("green", "blue"))


def test_a_list_that_comes_after_the_end_is_refused(tiny_bundle: Bundle) -> None:
    pipeline = Pipeline(tiny_bundle, colour_list("red"), keep_text_tower=True)
    pipeline.close()
    with pytest.raises(EngineError, match="this pipeline is closed"):
        pipeline.set_prompts(colour_list("blue"))
    with pytest.raises(EngineError, match="this pipeline is closed"):
        pipeline.load_text_tower()


def test_a_closed_pipeline_says_so(tiny_bundle: Bundle) -> None:
    pipeline = Pipeline(tiny_bundle, colour_list("red"))
    pipeline.process(frame_with())
    pipeline.close()
    pipeline.close()
    with pytest.raises(EngineError, match="this pipeline is closed"):
        pipeline.process(frame_with())


def test_embeddings_are_kept_where_the_caller_says(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with Pipeline(tiny_bundle, colour_list("red"), text_cache=tmp_path):
        assert len(list(tmp_path.glob("*.embedding"))) == 3


def overlapped(pipeline: Pipeline, frames: list[Frame]) -> Iterator[FrameResult]:
    """As the frame loop does it: the next frame begins before the first is finished."""
    first = pipeline.begin(frames[0])
    for frame in frames[1:]:
        pipeline.wait(first)
        second = pipeline.begin(frame)
        yield pipeline.finish(first)
        first = second
    yield pipeline.finish(first)


def drifting(count: int, *, width: int = 128, height: int = 64) -> list[Frame]:
    """A camera that moves over textured ground with red squares on it."""
    chance = np.random.default_rng(7)
    ground = np.repeat(np.repeat(chance.integers(90, 140, (32, 64, 1), np.uint8), 4, 0), 4, 1).repeat(3, 2)
    for row, column in ((16, 24), (40, 96), (72, 160)):
        ground[row : row + 8, column : column + 8] = PAINT["red"]
    frames = []
    for number in range(count):
        pixels = np.ascontiguousarray(ground[number : number + height, 2 * number : 2 * number + width])
        time_s = number * 0.1
        frames.append(Frame(RgbImage(pixels), number, time_s, START + timedelta(seconds=time_s), 0, "ground"))
    return frames


def told(result: FrameResult) -> Any:
    """All that a frame came to, but for the time it took."""
    tracks = [(track.track_id, track.place) for track in result.tracks]
    return tracks, result.counts, dict(result.scores.scene), result.scores.faint, result.image_size


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("tiles", ["none", (2, 1)])
def test_frames_that_overlap_come_to_what_they_come_to_in_turn(
    tiny_bundle: Bundle, engine: str, tiles: Any
) -> None:
    frames = drifting(24)
    with Pipeline(tiny_bundle, colour_list("red"), engine_name=engine, tiles=tiles) as pipeline:
        in_turn = [told(pipeline.process(frame)) for frame in frames]
    with Pipeline(tiny_bundle, colour_list("red"), engine_name=engine, tiles=tiles) as pipeline:
        assert [told(result) for result in overlapped(pipeline, frames)] == in_turn
    assert any(tracks for tracks, *_ in in_turn)


def test_what_was_found_is_kept_while_the_engine_writes_over_its_output(tiny_bundle: Bundle) -> None:
    frames = [frame_with(("red", 4, 3)), *(frame_with(number=number) for number in range(1, 5))]
    with Pipeline(tiny_bundle, colour_list("red")) as pipeline:
        first, *_ = results = [pipeline.process(frames[0])]
        (place,) = first.scores.places
        assert place.embedding is not None
        assert first.scores.embedding is not None
        before = place.embedding.copy(), first.scores.embedding.copy()
        results += overlapped(pipeline, frames[1:])
    np.testing.assert_array_equal(place.embedding, before[0])
    np.testing.assert_array_equal(first.scores.embedding, before[1])


def test_each_frame_in_flight_keeps_the_list_it_began_with(tiny_bundle: Bundle) -> None:
    squares = ("red", 4, 3), ("blue", 10, 3)
    with Pipeline(tiny_bundle, colour_list("red")) as pipeline:
        first = pipeline.begin(frame_with(*squares))
        bank = pipeline.set_prompts(sized_list(64, 64))
        second = pipeline.begin(frame_with(*squares, number=1))
        one, other = pipeline.finish(first), pipeline.finish(second)
    assert set(one.counts.prompts) == {"red", "haze"}
    assert (one.image_size, other.image_size) == ((128, 64), (64, 64))
    assert set(other.counts.prompts) == {"red"}
    assert other.bank is bank


def test_frames_are_finished_once_and_in_the_order_they_began(tiny_bundle: Bundle) -> None:
    with Pipeline(tiny_bundle, colour_list("red")) as pipeline:
        first, second = (pipeline.begin(frame_with(number=number)) for number in range(2))
        with pytest.raises(RuntimeError, match="2 frames are in flight"):
            pipeline.begin(frame_with(number=2))
        with pytest.raises(RuntimeError, match="it is another frame's turn"):
            pipeline.finish(second)
        pipeline.finish(first)
        with pytest.raises(RuntimeError, match="it is another frame's turn"):
            pipeline.finish(first)
        pipeline.forget()
        with pytest.raises(RuntimeError, match="it is another frame's turn"):
            pipeline.wait(second)
        assert found(pipeline.process(frame_with(("red", 4, 3), number=3))) == {("red", (36, 28))}


def test_stages_are_timed(tiny_bundle: Bundle) -> None:
    frame = replace(frame_with(("red", 4, 3)), read_s=0.25)
    with Pipeline(tiny_bundle, colour_list("red")) as pipeline:
        seconds = pipeline.process(frame).seconds
    assert seconds.decode == 0.25
    assert min(seconds.preprocess, seconds.engine, seconds.wait, seconds.lookup, seconds.tracking) > 0
    assert seconds.publish == 0


def test_windows_where_nothing_is_of_interest_are_left_out(tiny_bundle: Bundle) -> None:
    runtime = CountingRuntime(tiny_bundle)
    still = [frame_with(("red", 4, 3), number=number) for number in range(12)]
    textured = [replace(frame, image=drifting(1, width=256, height=128)[0].image) for frame in still]
    with Pipeline(runtime, colour_list("red"), tiles=(4, 2), tiles_where="interest") as pipeline:
        assert pipeline.most_in_flight == 1
        results = [pipeline.process(frame) for frame in textured]
    assert runtime.tiles[0] == 9  # nothing is known at first
    assert max(runtime.tiles[1:]) < 9
    assert {tracked.track_id for tracked in results[-1].tracks} <= {
        tracked.track_id for result in results[:4] for tracked in result.tracks
    }
    assert len(results[-1].tracks) == len(results[0].tracks) > 0


@pytest.mark.parametrize("moment", ["start", "result"])
def test_after_a_frame_that_failed_the_next_one_is_looked_at_everywhere(
    tiny_bundle: Bundle, moment: str
) -> None:
    runtime = CountingRuntime(tiny_bundle)
    image = drifting(1, width=256, height=128)[0].image
    still = [replace(frame_with(number=number), image=image) for number in range(6)]
    with Pipeline(runtime, colour_list("red"), tiles=(4, 2), tiles_where="interest") as pipeline:
        for frame in still[:3]:
            pipeline.process(frame)
        runtime.fails = moment
        with pytest.raises(EngineError, match="gone"):
            pipeline.process(still[3])
        runtime.fails = ""
        runtime.tiles.clear()
        for frame in still[4:]:
            pipeline.process(frame)
    assert runtime.tiles[0] == 9 > runtime.tiles[1]


class Gone:
    """An engine's work that fails."""

    seconds = 0.0

    def result(self) -> Any:
        raise EngineError("the device is gone")


class CountingRuntime(BundleRuntime):
    """Notes how many tiles each frame was."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.tiles: list[int] = []
        self.fails = ""

    def image_engine(self, size: tuple[int, int]) -> ImageEngine:
        engine = super().image_engine(size)
        start = engine.start

        def counted(image: Any, prompts: Any, bias: Any) -> Any:
            self.tiles.append(len(image))
            if self.fails == "start":
                Gone().result()
            if self.fails == "result":
                return Gone()
            return start(image, prompts, bias)

        engine.start = counted  # type: ignore[method-assign]
        return engine
