"""The TensorRT engine on a GPU made of host memory (see conftest): threads, memory, graphs, teardown.

On a machine with a real GPU, TensorRT and pycuda the last test runs the shipped bundle on it.
"""

from __future__ import annotations

import gc
import logging
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle.golden import check_image_engine, load_golden
from edge.bundle.load import Bundle, load_bundle
from edge.engines import EngineOutput, create_image_engine, create_text_engine
from edge.engines.base import FrameEngine
from edge.engines.tensorrt.build import BuildOptions, build_plan
from edge.engines.tensorrt.cuda import CudaThread
from edge.engines.tensorrt.engine import TensorRtImageEngine, load_engine
from edge.engines.tensorrt.errors import OutOfMemory
from edge.engines.tensorrt.library import load_library
from edge.frames import I420Image, RgbImage
from edge.tiling.windows import tiles_for
from firmware_cfg.errors import EngineError, MissingExtra

OUTPUTS = ("scene", "embedding", "place_box", "place_embedding", "place_logit")
SIZE = (64, 64)


def inputs(batch: int = 1, rows: int = 3, seed: int = 0) -> tuple[Any, Any, Any]:
    chance = np.random.default_rng(seed)
    prompts = chance.normal(size=(rows, 8)).astype(np.float32)
    bias = chance.normal(size=rows).astype(np.float32)
    return chance.integers(0, 256, (batch, 64, 64, 3), np.uint8), prompts, bias


def same(one: EngineOutput, other: EngineOutput) -> None:
    for name in OUTPUTS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-4, err_msg=name)


@pytest.fixture
def plan(gpu: Any, tiny_bundle: Bundle) -> bytes:
    library = load_library()
    return build_plan(library, tiny_bundle.file("image.onnx"), "fp32", BuildOptions(SIZE)).data


def loaded(plan: bytes) -> TensorRtImageEngine:
    return load_engine(load_library(), plan, "fp32", SIZE, "tiny")


def test_every_frame_gives_what_the_reference_gives_whatever_its_batch_and_prompts(
    plan: bytes, gpu: Any, tiny_bundle: Bundle
) -> None:
    shapes = [(1, 3)] * 4 + [(2, 3), (1, 256), (1, 256), (1, 256), (4, 1), (9, 5), (1, 3), (1, 3)]
    with (
        closing(loaded(plan)) as engine,
        closing(create_image_engine(tiny_bundle, "onnxruntime", image_size=SIZE)) as reference,
    ):
        assert (engine.name, engine.precision, engine.image_size) == ("tensorrt", "fp32", SIZE)
        for seed, (batch, rows) in enumerate(shapes):
            frame = inputs(batch, rows, seed)
            same(engine.infer(*frame), reference.infer(*frame))


def test_a_shape_that_stays_is_replayed_from_its_second_frame_on(plan: bytes, gpu: Any) -> None:
    with closing(loaded(plan)) as engine:
        for seed in range(5):
            engine.infer(*inputs(1, 3, seed))
        assert (gpu.ran, gpu.replayed) == (5, 4)
        engine.infer(*inputs(1, 4))
        assert gpu.replayed == 4
        assert sum(item[0] == "graph" for item in gpu.living if isinstance(item, tuple)) == 0
        engine.infer(*inputs(1, 4))
        assert gpu.replayed == 5


def test_what_cannot_be_recorded_runs_all_the_same(plan: bytes, gpu: Any) -> None:
    gpu.captures = False
    with closing(loaded(plan)) as engine:
        first = engine.infer(*inputs())
        for _ in range(3):
            same(engine.infer(*inputs()), first)
        assert (gpu.ran, gpu.replayed) == (4, 0)


def test_outputs_are_the_caller_s_own(plan: bytes, gpu: Any) -> None:
    with closing(loaded(plan)) as engine:
        first = engine.infer(*inputs(seed=1))
        kept = {name: getattr(first, name).copy() for name in OUTPUTS}
        engine.infer(*inputs(seed=2))
        for name in OUTPUTS:
            np.testing.assert_array_equal(getattr(first, name), kept[name])


def test_the_caller_goes_on_while_the_engine_works(plan: bytes, gpu: Any) -> None:
    gpu.delay["image.onnx"] = 0.05
    with closing(loaded(plan)) as engine:
        expected = engine.infer(*inputs(seed=1))
        first, second = (engine.start(*inputs(seed=seed)) for seed in (1, 2))
        assert gpu.ran < 3
        same(first.result(), expected)
        assert first.seconds >= 0.05
        same(second.result(), engine.infer(*inputs(seed=2)))


def test_an_output_holds_until_the_second_start_after_its_own(plan: bytes, gpu: Any) -> None:
    with closing(loaded(plan)) as engine:
        first = engine.start(*inputs(seed=1))
        kept = first.result().copy()
        second = engine.start(*inputs(seed=2))
        second.result()
        same(first.result(), kept)
        third = engine.start(*inputs(seed=3))
        third.result()
        assert third.result().place_logit is first._output.place_logit  # nothing new was taken
        with pytest.raises(EngineError, match="this output is gone: two later frames"):
            first.result()


def test_numbers_of_tiles_that_come_again_take_no_new_memory(plan: bytes, gpu: Any) -> None:
    """As windows of interest do."""
    with closing(loaded(plan)) as engine:
        taken: list[set[int]] = []
        for _ in range(3):
            taken.append(set())
            for batch in (1, 3, 2, 3, 1, 2):
                output = engine.start(*inputs(batch)).result()
                assert output.scene.shape == (batch, 3)
                taken[-1].add(id(output.scene))
        assert taken[0] == taken[1] == taken[2]


def test_what_fails_under_way_is_told_with_its_result(plan: bytes, gpu: Any) -> None:
    with closing(loaded(plan)) as engine:
        engine.infer(*inputs())
        gpu.captures = False
        works = gpu.driver.memcpy_dtoh_async

        def broken(*_: Any) -> None:
            raise gpu.driver.Error("cuMemcpyDtoHAsync failed: unspecified launch failure")

        gpu.driver.memcpy_dtoh_async = broken
        pending = engine.start(*inputs(seed=2))
        for _ in range(2):
            with pytest.raises(EngineError, match=r"tiny: tensorrt failed: .*unspecified launch failure"):
                pending.result()
        gpu.driver.memcpy_dtoh_async = works
        engine.infer(*inputs())  # it goes on


def test_closing_waits_for_what_is_under_way(plan: bytes, gpu: Any) -> None:
    gpu.delay["image.onnx"] = 0.05
    engine = loaded(plan)
    pending = engine.start(*inputs())
    engine.close()
    assert gpu.ran == 1
    assert pending.result().scene.shape == (1, 3)


def frame_of(width: int, height: int, seed: int) -> I420Image:
    chance = np.random.default_rng(seed)
    y, u, v = (
        chance.integers(0, 256, ((height + half) // (1 + half), (width + half) // (1 + half)), np.uint8)
        for half in (0, 1, 1)
    )
    return I420Image(y, u, v)


def test_tiles_that_the_gpu_makes_give_what_the_reference_gives(
    plan: bytes, tile_kernels: Any, tiny_bundle: Bundle
) -> None:
    """Frames and windows of several sizes, more windows than the engine takes at once, tiles in between."""
    _, prompts, bias = inputs()
    with (
        closing(loaded(plan)) as engine,
        closing(create_image_engine(tiny_bundle, "onnxruntime", image_size=SIZE)) as reference,
    ):
        assert isinstance(engine, FrameEngine)
        cases: list[tuple[tuple[int, int], Any]] = [((200, 120), "none")] * 3
        cases += [((200, 120), (3, 2)), ((90, 131), (2, 1)), ((90, 131), "none"), ((301, 95), (4, 2))]
        for seed, (size, wanted) in enumerate(cases):
            image, tiling = frame_of(*size, seed), tiles_for(*size, SIZE, wanted)
            got = engine.start_frame(image, tiling.windows, prompts, bias).result()
            expected = reference.infer(tiling.render(image), prompts, bias)
            # One grey level of 255 in a unit vector of six colours.
            np.testing.assert_allclose(got.embedding, expected.embedding, atol=0.01)
            np.testing.assert_allclose(got.scene, expected.scene, atol=0.05)
            assert got.place_box.shape == expected.place_box.shape
            if seed % 2:
                same(engine.infer(*inputs(2, 3, seed)), reference.infer(*inputs(2, 3, seed)))


def test_a_frame_of_windows_that_the_engine_takes_at_once_is_one_launch(
    plan: bytes, tile_kernels: Any
) -> None:
    _, prompts, bias = inputs()
    with closing(loaded(plan)) as engine:
        tile_kernels.launches.clear()
        for columns, launched in ((1, [1]), (3, [4]), (4, [4, 1])):
            windows = tiles_for(320, 100, SIZE, (columns, 1)).windows
            engine.start_frame(frame_of(320, 100, columns), windows, prompts, bias).result()
            assert [grid[2] for _, grid in tile_kernels.launches] == launched
            tile_kernels.launches.clear()


def test_frames_of_one_size_take_no_new_memory_and_replay_the_graph(plan: bytes, tile_kernels: Any) -> None:
    _, prompts, bias = inputs()
    windows = tiles_for(200, 120, SIZE, "none").windows
    with closing(loaded(plan)) as engine:
        engine.start_frame(frame_of(200, 120, 0), windows, prompts, bias).result()
        free, replayed = tile_kernels.free, tile_kernels.replayed
        for seed in range(3):
            engine.start_frame(frame_of(200, 120, seed), windows, prompts, bias).result()
        assert (tile_kernels.free, tile_kernels.replayed) == (free, replayed + 3)
        engine.start_frame(frame_of(400, 240, 0), tiles_for(400, 240, SIZE, "none").windows, prompts, bias)
    assert not tile_kernels.living


def test_windows_that_do_not_fit_are_refused(plan: bytes, tile_kernels: Any) -> None:
    _, prompts, bias = inputs()
    image = frame_of(200, 120, 0)
    with closing(loaded(plan)) as engine:
        outside = tiles_for(202, 120, SIZE, "none").windows
        with pytest.raises(EngineError, match="does not lie in the 200x120 image"):
            engine.start_frame(image, outside, prompts, bias)
        other = tiles_for(200, 120, (96, 64), "none").windows
        with pytest.raises(EngineError, match="is for tiles of another size than 64x64"):
            engine.start_frame(image, other, prompts, bias)
        (even,) = tiles_for(100, 60, SIZE, "none").windows
        for odd in (replace(even, x=1), replace(even, y=3)):
            with pytest.raises(EngineError, match=r"begins at an odd pixel.*begin at even ones"):
                engine.start_frame(image, (odd,), prompts, bias)
            engine.start_frame(RgbImage(image.rgb()), (odd,), prompts, bias).result()
        with pytest.raises(EngineError, match=r"image is uint8 \(0, 64, 64, 3\)"):
            engine.start_frame(image, (), prompts, bias)
    with pytest.raises(EngineError, match="this engine is closed"):
        engine.start_frame(image, tiles_for(200, 120, SIZE, "none").windows, prompts, bias)


def test_a_frame_too_long_for_the_kernels_is_rendered_on_the_processor(
    plan: bytes, tile_kernels: Any
) -> None:
    _, prompts, bias = inputs()
    image = RgbImage(np.full((2, 33_000, 3), 90, np.uint8))
    tiling = tiles_for(33_000, 2, SIZE, "none")
    with closing(loaded(plan)) as engine:
        tile_kernels.launches.clear()
        got = engine.start_frame(image, tiling.windows, prompts, bias).result().copy()
        assert not tile_kernels.launches
        same(got, engine.infer(tiling.render(image), prompts, bias))


def test_without_the_kernels_the_processor_makes_the_tiles(
    plan: bytes, gpu: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with closing(loaded(plan)) as engine:
        assert not isinstance(engine, FrameEngine)
    assert "tiny: tiles are made on the processor: the GPU's tile kernels are not built" in caplog.text


def test_any_thread_may_call_and_one_thread_works(plan: bytes, gpu: Any) -> None:
    with closing(loaded(plan)) as engine:
        gpu.threads.clear()
        expected = engine.infer(*inputs())
        answers: list[EngineOutput] = []
        for _ in range(3):
            caller = threading.Thread(target=lambda: answers.append(engine.infer(*inputs())))
            caller.start()
            caller.join()
        for answer in answers:
            same(answer, expected)
        assert gpu.threads == {"cuda"}


def test_memory_is_taken_once_and_given_back(plan: bytes, gpu: Any) -> None:
    before = gpu.free
    engine = loaded(plan)
    taken = gpu.free
    assert taken < before
    for batch, rows in ((1, 1), (4, 256), (2, 7)):
        engine.infer(*inputs(batch, rows))
        assert gpu.free == taken
    engine.close()
    engine.close()
    assert gpu.free == before
    assert not gpu.living
    with pytest.raises(EngineError, match="this engine is closed"):
        engine.infer(*inputs())


def test_an_engine_that_nobody_closed_gives_its_memory_back_when_it_is_dropped(plan: bytes, gpu: Any) -> None:
    engine = loaded(plan)
    engine.infer(*inputs())
    del engine
    gc.collect()
    assert not gpu.living


def test_an_engine_dropped_in_its_own_thread_gives_its_memory_back(plan: bytes, gpu: Any) -> None:
    """As where the garbage collector runs there and finds it in a cycle."""
    engine = loaded(plan)
    thread, held = engine._thread, [engine]
    del engine
    thread.run(held.clear)
    thread.close()
    assert not gpu.living
    assert "cuda" in gpu.threads


def test_what_the_gpu_s_thread_asks_of_itself_is_done_at_once(gpu: Any) -> None:
    thread = CudaThread(gpu.driver)
    assert thread.run(lambda: thread.run(lambda: threading.current_thread().name)) == "cuda"
    thread.close()


def test_work_asked_for_while_the_thread_ends_is_refused_and_work_asked_for_before_is_done(gpu: Any) -> None:
    thread = CudaThread(gpu.driver)
    busy, free = threading.Event(), threading.Event()
    answers: list[str] = []

    def slow() -> str:
        busy.set()
        assert free.wait(30)
        return "done"

    caller = threading.Thread(target=lambda: answers.append(thread.run(slow)))
    caller.start()
    assert busy.wait(30)
    closer = threading.Thread(target=thread.close, args=[lambda: answers.append("last")])
    closer.start()
    while not thread._closed:
        closer.join(0.001)
    with pytest.raises(EngineError, match="this engine is closed"):
        thread.run(lambda: None)
    free.set()
    for waiting in (caller, closer):
        waiting.join(30)
        assert not waiting.is_alive()
    assert sorted(answers) == ["done", "last"]


def test_what_closing_raises_is_told(gpu: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise EngineError("the GPU is gone")

    thread = CudaThread(gpu.driver)
    with pytest.raises(EngineError, match="the GPU is gone"):
        thread.close(fails)
    thread.close(fails)  # the second time nothing is left to do
    other = CudaThread(gpu.driver)
    other.run(lambda: other.close(fails))
    other.close()
    assert "that nobody closed was not freed: the GPU is gone" in caplog.text


def test_too_little_memory_is_told_apart_and_nothing_is_left_behind(plan: bytes, gpu: Any) -> None:
    gpu.free = 100_000
    with pytest.raises(
        OutOfMemory, match=r"tiny: the GPU has too little free memory: .*out of memory"
    ) as caught:
        loaded(plan)
    assert "\n" not in str(caught.value)
    assert gpu.free == 100_000
    assert not gpu.living


def test_a_plan_of_another_tensorrt_is_refused_in_its_words(plan: bytes, gpu: Any) -> None:
    with pytest.raises(
        EngineError, match=r"tiny: TensorRT 10\.3\.0 cannot load it: .*magic tag does not match"
    ):
        loaded(b"ftrt of another version")


def test_more_prompts_than_it_was_built_for_are_refused(plan: bytes, gpu: Any) -> None:
    with closing(loaded(plan)) as engine:
        with pytest.raises(EngineError, match="257 prompt rows, but the engine was built for 256"):
            engine.infer(*inputs(1, 257))
        with pytest.raises(EngineError, match=r"image is uint8 \(64, 64, 3\)"):
            engine.infer(inputs()[0][0], *inputs()[1:])
        engine.infer(*inputs())  # it goes on


def test_a_machine_without_a_gpu_says_so(plan: bytes, gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.driver.Device, "count", staticmethod(lambda: 0))
    with pytest.raises(EngineError, match="there is no GPU that CUDA may use"):
        loaded(plan)


def test_sentences_are_encoded_on_the_processor(tiny_bundle: Bundle) -> None:
    with closing(create_text_engine(tiny_bundle, "tensorrt")) as engine:
        assert engine.name == "openvino"


def test_a_real_gpu_reproduces_the_golden_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle("default")
    golden = load_golden(bundle)
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path))
    try:
        engine = create_image_engine(bundle, "tensorrt", "auto", golden.image_size)
    except MissingExtra as error:
        pytest.skip(str(error))
    except EngineError as error:
        if not str(error).startswith(("there is no GPU", "CUDA cannot start")):
            raise
        pytest.skip(str(error))
    with closing(engine):
        assert not check_image_engine(engine, golden).problems
        first = engine.infer(golden.image[:1], golden.prompts, golden.bias)
        for _ in range(5):  # the CUDA graph takes over
            again = engine.infer(golden.image[:1], golden.prompts, golden.bias)
        np.testing.assert_allclose(again.scene, first.scene, atol=1e-3)
