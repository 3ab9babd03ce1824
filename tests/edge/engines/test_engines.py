"""Every engine answers to one contract, and refuses what does not fit before the runtime sees it."""

from __future__ import annotations

import locale
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle.load import Bundle, load_bundle, write_manifest
from edge.engines import ENGINE_NAMES, EngineOutput, ImageEngine, create_image_engine, create_text_engine
from firmware_cfg.errors import EngineError, MissingExtra

ENGINES = pytest.mark.parametrize("name", ENGINE_NAMES)
OUTPUTS = ("scene", "embedding", "place_box", "place_embedding", "place_logit")


def random_inputs(batch: int = 1, rows: int = 3, width: int = 64, height: int = 64) -> tuple[Any, Any, Any]:
    chance = np.random.default_rng(batch * 100 + rows)
    prompts = chance.normal(size=(rows, 8)).astype(np.float32)
    bias = chance.normal(size=rows).astype(np.float32)
    return chance.integers(0, 256, (batch, height, width, 3), np.uint8), prompts, bias


def ordered(output: EngineOutput, index: int) -> EngineOutput:
    """One image's output with its places in the order of their boxes."""
    order = np.lexsort(output.place_box[index].T)
    parts = {name: getattr(output, name)[index] for name in OUTPUTS}
    return EngineOutput(**{n: part[order] if n.startswith("place") else part for n, part in parts.items()})


@ENGINES
def test_shapes_and_types_are_the_contract_s(tiny_bundle: Bundle, name: str) -> None:
    engine = create_image_engine(tiny_bundle, name, image_size=(128, 64))
    output = engine.infer(*random_inputs(2, 5, 128, 64))
    cells = 16 * 8
    shapes = {output_name: getattr(output, output_name).shape for output_name in OUTPUTS}
    assert shapes == {
        "scene": (2, 5),
        "embedding": (2, 6),
        "place_box": (2, cells, 4),
        "place_embedding": (2, cells, 8),
        "place_logit": (2, cells, 5),
    }
    assert {getattr(output, output_name).dtype for output_name in OUTPUTS} == {np.dtype(np.float32)}
    assert (engine.name, engine.precision, engine.image_size) == (name, "fp32", (128, 64))


@ENGINES
def test_places_are_at_most_three_hundred(tiny_bundle: Bundle, name: str) -> None:
    engine = create_image_engine(tiny_bundle, name, image_size=(192, 160))
    assert engine.infer(*random_inputs(1, 2, 192, 160)).place_box.shape == (1, 300, 4)


def test_engines_agree(tiny_bundle: Bundle) -> None:
    inputs = random_inputs(3, 4)
    one, other = (create_image_engine(tiny_bundle, name).infer(*inputs) for name in ENGINE_NAMES)
    for index in range(3):
        for output_name in OUTPUTS:
            np.testing.assert_allclose(
                getattr(ordered(one, index), output_name),
                getattr(ordered(other, index), output_name),
                atol=2e-4,
                err_msg=output_name,
            )


@ENGINES
def test_the_number_of_prompts_changes_without_a_rebuild(tiny_bundle: Bundle, name: str) -> None:
    engine = create_image_engine(tiny_bundle, name)
    image, prompts, bias = random_inputs(1, 256)
    everything = engine.infer(image, prompts, bias)
    for rows in (1, 7, 200):
        some = engine.infer(image, prompts[:rows], bias[:rows])
        np.testing.assert_allclose(some.scene, everything.scene[:, :rows], atol=1e-5)


@ENGINES
def test_outputs_survive_the_next_frame(tiny_bundle: Bundle, name: str) -> None:
    engine = create_image_engine(tiny_bundle, name)
    first = engine.infer(*random_inputs())
    kept = first.place_embedding.copy()
    image, prompts, bias = random_inputs()
    engine.infer(255 - image, prompts, bias)
    np.testing.assert_array_equal(first.place_embedding, kept)


@ENGINES
def test_two_batches_may_be_under_way(tiny_bundle: Bundle, name: str) -> None:
    engine = create_image_engine(tiny_bundle, name)
    inputs = [random_inputs(batch, rows) for batch, rows in ((1, 3), (2, 3), (3, 5), (1, 4))]
    expected = [engine.infer(*each) for each in inputs]
    before = engine.start(*inputs[0])
    seconds = []
    for each, wanted in zip([*inputs[1:], inputs[0]], expected, strict=True):
        after = engine.start(*each)
        found = before.result()
        seconds.append(before.seconds)
        for output_name in OUTPUTS:
            np.testing.assert_array_equal(getattr(found, output_name), getattr(wanted, output_name))
        before = after
    # One that ended, by the runtime's own clock, no later than the one before it took none of its own.
    assert min(seconds) >= 0
    assert max(seconds) > 0


def test_an_output_that_was_written_over_is_refused(tiny_bundle: Bundle) -> None:
    engine = create_image_engine(tiny_bundle, "openvino")
    lost, *kept = (engine.start(*random_inputs()) for _ in range(3))
    with pytest.raises(EngineError, match="two later frames"):
        lost.result()
    for pending in kept:
        assert pending.result() is pending.result()


@ENGINES
def test_closing_waits_for_what_is_under_way(tiny_bundle: Bundle, name: str) -> None:
    engine = create_image_engine(tiny_bundle, name)
    pending = engine.start(*random_inputs(3))
    engine.close()
    assert pending.result().scene.shape == (3, 3)
    with pytest.raises(EngineError, match="this engine is closed"):
        engine.start(*random_inputs())


@ENGINES
def test_inputs_may_be_views_with_strides(tiny_bundle: Bundle, name: str) -> None:
    engine = create_image_engine(tiny_bundle, name)
    image, prompts, bias = random_inputs(1, 4)
    wide = np.zeros((1, 64, 128, 3), np.uint8)
    wide[:, :, ::2] = image
    np.testing.assert_array_equal(
        engine.infer(wide[:, :, ::2], prompts[::2], bias[::2]).scene,
        engine.infer(image, prompts[::2].copy(), bias[::2].copy()).scene,
    )


@ENGINES
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda i, p, b: (i[0], p, b),
            r"image is uint8 \(64, 64, 3\), expected uint8 \(1 or more, 64, 64, 3\)",
        ),
        (lambda i, p, b: (i[:, :32], p, b), r"image is uint8 \(1, 32, 64, 3\)"),
        (lambda i, p, b: (i[:0], p, b), r"image is uint8 \(0, 64, 64, 3\)"),
        (lambda i, p, b: (i.astype(np.float32), p, b), "image is float32"),
        (lambda i, p, b: (i, p[:, :7], b), r"prompts is float32 \(3, 7\), expected float32 \(1 or more, 8\)"),
        (lambda i, p, b: (i, p[:0], b[:0]), r"prompts is float32 \(0, 8\)"),
        (lambda i, p, b: (i, p.astype(np.float64), b), "prompts is float64"),
        (lambda i, p, b: (i, p, b[:2]), r"bias is float32 \(2,\), expected float32 \(3,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tiny_bundle: Bundle, name: str, change: Any, problem: str
) -> None:
    engine = create_image_engine(tiny_bundle, name)
    with pytest.raises(EngineError, match=problem):
        engine.infer(*change(*random_inputs()))


@ENGINES
def test_text_runs_at_any_length_and_ignores_padding(tiny_bundle: Bundle, name: str) -> None:
    engine = create_text_engine(tiny_bundle, name)
    alone = engine.encode(np.array([[2, 4]]), np.array([[1, 1]]))
    padded = engine.encode(np.array([[2, 4, 1, 1], [3, 3, 3, 3]]), np.array([[1, 1, 0, 0], [1, 1, 1, 1]]))
    assert alone.shape == (1, 6)
    assert alone.dtype == np.float32
    np.testing.assert_allclose(padded[:1], alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(padded, axis=1), 1, atol=1e-6)
    with pytest.raises(EngineError, match=r"input_ids is int32 \(1, 2\), expected int64"):
        engine.encode(np.array([[2, 4]], np.int32), np.array([[1, 1]]))
    with pytest.raises(EngineError, match=r"input_ids is \(1, 2\) but attention_mask is \(1, 1\)"):
        engine.encode(np.array([[2, 4]]), np.array([[1]]))


@ENGINES
def test_a_closed_engine_says_so(tiny_bundle: Bundle, name: str) -> None:
    image_engine: ImageEngine = create_image_engine(tiny_bundle, name)
    text_engine = create_text_engine(tiny_bundle, name)
    for engine in (image_engine, text_engine):
        engine.close()
        engine.close()
    with pytest.raises(EngineError, match="closed"):
        image_engine.infer(*random_inputs())
    with pytest.raises(EngineError, match="closed"):
        text_engine.encode(np.array([[2]]), np.array([[1]]))


def test_a_runtime_failure_is_one_line(tiny_bundle: Bundle) -> None:
    engine = create_text_engine(tiny_bundle, "onnxruntime")
    with pytest.raises(EngineError, match=r"^onnxruntime failed: .*out of data bounds") as caught:
        engine.encode(np.array([[10_000]]), np.array([[1]]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            {"name": "tensorflow"},
            r"there is no engine 'tensorflow' \(choose one of openvino, onnx",
        ),
        ({"precision": "int8"}, r"no int8 image graph in this bundle \(choose auto or fp32\)"),
        ({"image_size": (100, 64)}, "100x64: both sides must be positive multiples of 32"),
        ({"image_size": (-64, 64)}, "-64x64"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(tiny_bundle: Bundle, arguments: Any, problem: str) -> None:
    with pytest.raises(EngineError, match=problem):
        create_image_engine(tiny_bundle, **arguments)


def test_threads_may_be_stated(tiny_bundle: Bundle) -> None:
    for name in ENGINE_NAMES:
        one = create_image_engine(tiny_bundle, name, threads=1)
        assert one.infer(*random_inputs()).scene.shape == (1, 3)


def test_auto_takes_the_fast_variant_on_openvino_and_the_exact_one_on_the_reference(
    bundle_copy: Path, manifest_fields: dict[str, Any]
) -> None:
    (bundle_copy / "image.int8.onnx").write_bytes((bundle_copy / "image.onnx").read_bytes())
    variants = {"fp32": "image.onnx", "int8": "image.int8.onnx"}
    write_manifest(bundle_copy, {**manifest_fields, "variants": variants})
    bundle = load_bundle(bundle_copy)
    chosen = {name: create_image_engine(bundle, name).precision for name in ENGINE_NAMES}
    assert chosen == {"openvino": "int8", "onnxruntime": "fp32"}
    assert create_image_engine(bundle, "openvino", "fp32").precision == "fp32"


@ENGINES
def test_a_graph_that_is_none_is_one_line(
    bundle_copy: Path, manifest_fields: dict[str, Any], name: str
) -> None:
    (bundle_copy / "image.onnx").write_bytes(b"not a graph")
    write_manifest(bundle_copy, manifest_fields)
    with pytest.raises(EngineError, match=rf"image\.onnx: {name} cannot (read|load) it: ") as caught:
        create_image_engine(load_bundle(bundle_copy), name)
    assert "\n" not in str(caught.value)


@ENGINES
def test_a_graph_with_other_outputs_is_refused(
    bundle_copy: Path, manifest_fields: dict[str, Any], name: str
) -> None:
    (bundle_copy / "image.onnx").write_bytes((bundle_copy / "text.onnx").read_bytes())
    write_manifest(bundle_copy, manifest_fields)
    with pytest.raises(EngineError, match=r"image\.onnx: the graph has no input image, prompts, bias"):
        create_image_engine(load_bundle(bundle_copy), name)


def test_a_damaged_compile_cache_does_not_stop_the_drone(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path))
    expected = create_image_engine(tiny_bundle).infer(*random_inputs())
    blobs = [path for path in (tmp_path / "openvino").rglob("*") if path.is_file()]
    assert blobs
    for blob in blobs:
        blob.write_bytes(blob.read_bytes()[: blob.stat().st_size // 2])
    again = create_image_engine(tiny_bundle).infer(*random_inputs())
    np.testing.assert_array_equal(again.scene, expected.scene)


def test_a_retrained_graph_is_never_answered_from_the_old_one_s_cache(
    bundle_copy: Path, manifest_fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path / "cache"))
    before = create_image_engine(load_bundle(bundle_copy)).infer(*random_inputs())
    graph = onnx.load(bundle_copy / "image.onnx")
    (offset,) = (weight for weight in graph.graph.initializer if weight.name == "offset")
    offset.CopyFrom(onnx.numpy_helper.from_array(np.array(-24, np.float32), "offset"))
    onnx.save(graph, bundle_copy / "image.onnx")
    write_manifest(bundle_copy, manifest_fields)
    after = create_image_engine(load_bundle(bundle_copy)).infer(*random_inputs())
    np.testing.assert_allclose(after.place_logit, before.place_logit + 1, atol=1e-4)


def run_python(program: str) -> str:
    """The output of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_runtimes_are_imported_only_when_asked_for() -> None:
    heavy = ("openvino", "onnxruntime", "torch", "onnx")
    program = f"import sys, edge.pipeline; print([name for name in {heavy} if name in sys.modules])"
    assert run_python(program) == "[]"


def test_a_missing_runtime_names_its_extra(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "edge.engines.onnxruntime_engine", raising=False)
    monkeypatch.delattr("edge.engines.onnxruntime_engine", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install 'remoteclip-edge\[onnxruntime\]'"):
        create_image_engine(tiny_bundle, "onnxruntime")


def test_loading_in_several_threads_leaves_the_locale_as_it_was(tiny_bundle: Bundle) -> None:
    """OpenVINO sets it to C meanwhile; left so, text would be read as ASCII for the rest of a flight."""
    before = locale.setlocale(locale.LC_ALL)

    def load(width: int) -> None:
        for _ in range(10):
            create_image_engine(tiny_bundle, "openvino", image_size=(width, 64)).close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(load, (64, 96, 128, 160)))
    assert locale.setlocale(locale.LC_ALL) == before
