"""Golden vectors: an engine that computes something else is caught."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle.golden import Golden, check_image_engine, check_text_encoder, load_golden
from edge.bundle.load import Bundle, load_bundle, write_manifest
from edge.bundle.verify import verify_bundle
from edge.engines import EngineOutput, create_image_engine
from edge.engines.base import StartsByInferring
from edge.prompts.bank import BACKGROUND_BIAS
from firmware_cfg.errors import BundleError


class AlteredEngine(StartsByInferring):
    """The reference engine, with its answer changed on the way out."""

    name = "altered"
    precision = "fp32"
    image_size = (64, 64)

    def __init__(self, bundle: Bundle, **changes: Any) -> None:
        self._engine = create_image_engine(bundle, "onnxruntime", image_size=self.image_size)
        self._changes = changes

    def infer(self, image: Any, prompts: Any, bias: Any) -> EngineOutput:
        output = self._engine.infer(image, prompts, bias)
        return replace(
            output, **{name: change(getattr(output, name)) for name, change in self._changes.items()}
        )

    def close(self) -> None:
        self._engine.close()


@pytest.fixture
def golden(tiny_bundle: Bundle) -> Golden:
    return load_golden(tiny_bundle)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_the_real_engines_reproduce_the_vectors(tiny_bundle: Bundle, golden: Golden, name: str) -> None:
    engine = create_image_engine(tiny_bundle, name, image_size=golden.image_size)
    check = check_image_engine(engine, golden)
    assert check.problems == ()
    assert check.places > 20
    assert check.missing == 0
    assert max(check.differences.values()) < 1e-3


@pytest.mark.parametrize(
    ("output", "change", "problem"),
    [
        ("scene", lambda array: array + np.float32(0.01), "scene differs by 0.01"),
        ("scene", lambda array: array * np.float32(np.nan), "scene differs by nan"),
        ("embedding", lambda array: array[:, ::-1], "embedding differs by"),
        ("place_box", lambda array: array + np.float32(8), "places are missing"),
        ("place_logit", lambda array: array * np.float32(1.1), "places are missing"),
        ("place_embedding", lambda array: array * np.float32(0.9), "place_embedding differs by"),
        ("place_logit", lambda array: array * np.float32(np.nan), "places are missing"),
    ],
)
def test_a_wrong_engine_is_caught(
    tiny_bundle: Bundle, golden: Golden, output: str, change: Any, problem: str
) -> None:
    check = check_image_engine(AlteredEngine(tiny_bundle, **{output: change}), golden)
    assert any(problem in line for line in check.problems)


class RoundedEngine(AlteredEngine):
    """As a variant whose own rounding moves peaks."""

    precision = "int8"


def _only_the_strongest(array: Any) -> Any:
    """Logits where but one prompt peaks at each place: the others' peaks have moved a cell on."""
    return np.where(array == array.max(axis=2, keepdims=True), array, np.float32(-1e4))


def test_int8_may_find_a_peak_in_the_next_cell(tiny_bundle: Bundle, golden: Golden) -> None:
    positions = np.arange(golden.prompts.shape[1]) >= golden.expected.embedding.shape[1]
    moved = {
        "place_box": lambda array: array + np.float32(8),
        "place_embedding": lambda array: np.where(positions, -array, array),
        "place_logit": _only_the_strongest,
    }
    check = check_image_engine(RoundedEngine(tiny_bundle, **moved), golden)
    assert check.problems == ()
    assert check.differences["place_box"] == pytest.approx(8, abs=1e-3)
    exact = check_image_engine(AlteredEngine(tiny_bundle, **moved), golden)
    assert exact.missing == exact.places > check.places > 20


@pytest.mark.parametrize(
    ("output", "change", "problem"),
    [
        ("embedding", lambda array: array + np.float32(0.06), "embedding differs by 0.06"),
        ("place_box", lambda array: array + np.float32(24), "places are missing"),
        ("place_logit", lambda array: array - np.float32(1), "places are missing"),
        ("place_embedding", lambda array: array + np.float32(0.4), "place_embedding differs by 0.4"),
    ],
)
def test_a_wrong_fusion_of_int8_is_caught(
    tiny_bundle: Bundle, golden: Golden, output: str, change: Any, problem: str
) -> None:
    check = check_image_engine(RoundedEngine(tiny_bundle, **{output: change}), golden)
    assert any(problem in line for line in check.problems)


@pytest.mark.parametrize("kind", [AlteredEngine, RoundedEngine])
@pytest.mark.parametrize("flat", [0.0, np.nan])
def test_vectors_with_no_place_to_look_for_prove_nothing(
    tiny_bundle: Bundle, golden: Golden, kind: type[AlteredEngine], flat: float
) -> None:
    def no_peaks(array: Any) -> Any:
        return np.full_like(array, flat)

    blind = replace(
        golden, expected=replace(golden.expected, place_logit=no_peaks(golden.expected.place_logit))
    )
    for engine in (kind(tiny_bundle), kind(tiny_bundle, place_logit=no_peaks)):
        check = check_image_engine(engine, blind)
        assert (check.places, check.missing) == (0, 0)
        assert "no place of the golden vectors is strong enough to be looked for" in check.problems


def test_what_is_no_number_is_caught_where_nothing_is_compared(tiny_bundle: Bundle, golden: Golden) -> None:
    def in_the_weakest_place(array: Any) -> Any:
        array = array.copy()
        creating = golden.expected.place_logit[0][:, golden.bias > BACKGROUND_BIAS / 2]
        array[0, creating.max(axis=1).argmin(), -1] = np.nan
        return array

    for engine in (AlteredEngine, RoundedEngine):
        check = check_image_engine(engine(tiny_bundle, place_embedding=in_the_weakest_place), golden)
        assert check.problems == ("place_embedding has values that are no number",)


def test_the_order_of_places_does_not_matter(tiny_bundle: Bundle, golden: Golden) -> None:
    order = np.random.default_rng(3).permutation(golden.expected.place_box.shape[1])
    names = ("place_box", "place_embedding", "place_logit")
    engine = AlteredEngine(tiny_bundle, **dict.fromkeys(names, lambda array: array[:, order]))
    assert check_image_engine(engine, golden).problems == ()


def test_cells_that_only_fill_up_the_places_are_not_looked_for(tiny_bundle: Bundle, golden: Golden) -> None:
    bias = golden.bias.copy()
    bias[-1] = BACKGROUND_BIAS
    engine = create_image_engine(tiny_bundle, "onnxruntime", image_size=golden.image_size)
    quiet = replace(golden, bias=bias, expected=engine.infer(golden.image, golden.prompts, bias))
    before = check_image_engine(engine, quiet)

    def fillers(seed: int) -> dict[str, Any]:
        """The ten weakest places become cells where no row peaks but the background is read: any ten."""
        rng = np.random.default_rng(seed)

        def logits(array: Any) -> Any:
            array = array.copy()
            array[:, -10:, :-1] = -1e4
            array[:, -10:, -1] = BACKGROUND_BIAS + rng.normal(size=10)
            return array

        def boxes(array: Any) -> Any:
            array = array.copy()
            array[:, -10:] = rng.uniform(0, 64, (10, 4))
            return array

        return {"place_logit": logits, "place_box": boxes}

    expected = {name: change(getattr(quiet.expected, name)) for name, change in fillers(1).items()}
    quiet = replace(quiet, expected=replace(quiet.expected, **expected))
    check = check_image_engine(AlteredEngine(tiny_bundle, **fillers(2)), quiet)
    assert check.problems == ()
    assert check.missing == 0
    assert 0 < check.places <= before.places


def test_wrong_text_embeddings_are_caught(golden: Golden) -> None:
    class Mirror:
        def encode(self, texts: Any) -> Any:
            return -golden.text_embedding

    check = check_text_encoder("mirror", Mirror(), golden)
    assert check.problems[0].startswith("text_embedding differs by 1.")


def test_verify_reports_a_graph_that_says_something_else(
    bundle_copy: Path, manifest_fields: dict[str, Any]
) -> None:
    golden = load_golden(load_bundle(bundle_copy))
    changed = replace(
        golden, expected=replace(golden.expected, scene=golden.expected.scene + np.float32(0.5))
    )
    changed.save(bundle_copy / "golden.npz")
    write_manifest(bundle_copy, manifest_fields)
    assert verify_bundle(bundle_copy).problems == ("openvino fp32: scene differs by 0.5, allowed 0.001",)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"image": np.zeros((2, 64, 64, 3), np.float32)},
            r"image is float32 .*expected uint8 \(any, any, any, 3\)",
        ),
        ({"place_logit": np.zeros((2, 64, 9), np.float32)}, "place_logit is float32"),
        ({"texts": np.array("[1]")}, "texts is not a JSON array of strings"),
        ({"texts": np.array("[")}, "unusable golden vectors"),
        ({"scene": None}, "scene is not a file in the archive"),
    ],
)
def test_damaged_vectors_are_one_line(
    bundle_copy: Path, manifest_fields: dict[str, Any], changes: dict[str, Any], problem: str
) -> None:
    path = bundle_copy / "golden.npz"
    with np.load(path) as archive:
        arrays = {**archive, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    write_manifest(bundle_copy, manifest_fields)
    with pytest.raises(BundleError, match=rf"golden\.npz: .*{problem}"):
        load_golden(load_bundle(bundle_copy))
