"""`auto` flies no variant that failed its accuracy gate; who asks for one by name gets it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.load import Bundle, load_bundle, write_manifest
from edge.engines import create_image_engine
from edge.engines.factory import auto_precisions
from firmware_cfg.errors import EngineError

GATE = {"probe": "p", "engine": "openvino", "images": 1, "cosine_mean": 0.9, "cosine_min": 0.8, "places": 1}


@pytest.fixture
def with_gates(bundle_copy: Path, manifest_fields: dict[str, Any]) -> Any:
    """Makes the tiny bundle, the same graph under three names, in which the variants named failed."""

    def make(failed: Sequence[str], variants: Sequence[str] = ("fp32", "fp16", "int8")) -> Bundle:
        files = {}
        for name in variants:
            files[name] = "image.onnx" if name == "fp32" else f"image.{name}.onnx"
            (bundle_copy / files[name]).write_bytes((bundle_copy / "image.onnx").read_bytes())
        gates = {
            name: {**GATE, "passed": name not in failed, "problems": ["low"] if name in failed else []}
            for name in variants
        }
        lost = [f"{name} on openvino: low" for name in failed]
        write_manifest(
            bundle_copy, {**manifest_fields, "variants": files, "gates": gates, "regressions": lost}
        )
        return load_bundle(bundle_copy)

    return make


@pytest.mark.parametrize(
    ("failed", "openvino", "onnxruntime", "tensorrt"),
    [
        ((), "int8", "fp32", ("int8", "fp16")),
        (("int8",), "fp32", "fp32", ("fp16",)),
        (("int8", "fp16"), "fp32", "fp32", ("fp32",)),
        (("fp32",), "int8", "fp16", ("int8", "fp16")),
    ],
)
def test_auto_takes_the_best_of_those_that_passed(
    with_gates: Any, failed: Sequence[str], openvino: str, onnxruntime: str, tensorrt: tuple[str, ...]
) -> None:
    bundle = with_gates(failed)
    for name, wanted in (("openvino", openvino), ("onnxruntime", onnxruntime)):
        with closing(create_image_engine(bundle, name, image_size=(64, 64))) as engine:
            assert engine.precision == wanted
    assert auto_precisions(bundle, "tensorrt") == tensorrt


def test_by_name_a_variant_that_failed_runs(with_gates: Any) -> None:
    with closing(create_image_engine(with_gates(["int8"]), "openvino", "int8", (64, 64))) as engine:
        assert engine.precision == "int8"


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_where_none_passed_auto_says_how_to_fly_one_all_the_same(with_gates: Any, name: str) -> None:
    bundle = with_gates(["fp32", "int8"], ["fp32", "int8"])
    with pytest.raises(EngineError, match=r"fp32, int8 \(name one with --precision or engine\.precision"):
        create_image_engine(bundle, name, image_size=(64, 64))
