"""`bundle verify --engine tensorrt` runs what `auto` would time, and names the engine that read the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.bundle.load import Bundle, load_bundle, write_manifest
from edge.bundle.verify import verify_loaded
from edge.engines import create_image_engine

VARIANTS = {"fp32": "image.onnx", "fp16": "image.fp16.onnx", "int8": "image.int8.onnx"}
GATE = {"probe": "p", "engine": "openvino", "images": 1, "cosine_mean": 0.9, "cosine_min": 0.8, "places": 1}


def bundle_with(folder: Path, fields: dict[str, Any], failed: tuple[str, ...] = ()) -> Bundle:
    """The tiny bundle with the same graph under three names, of which some failed their gates."""
    for name in VARIANTS.values():
        (folder / name).write_bytes((folder / "image.onnx").read_bytes())
    gates = {name: {**GATE, "passed": False, "problems": ["low"]} for name in failed}
    lost = [f"{name} on openvino: low" for name in failed]
    write_manifest(folder, {**fields, "variants": VARIANTS, "gates": gates, "regressions": lost})
    return load_bundle(folder)


def built(gpu: Any) -> list[str]:
    return [line.split()[0] for line in gpu.builds]


def test_only_what_auto_times_is_built_and_a_failure_ends_nothing(
    bundle_copy: Path, manifest_fields: dict[str, Any], gpu: Any
) -> None:
    bundle = bundle_with(bundle_copy, manifest_fields)
    gpu.flaws["image.int8.onnx"] = 0.2
    report = verify_loaded(bundle, ("tensorrt", "openvino"))
    assert built(gpu) == ["image.int8.onnx", "image.fp16.onnx"]
    assert [(check.engine, check.precision, not check.problems) for check in report.golden] == [
        ("tensorrt", "int8", False),
        ("tensorrt", "fp16", True),
        ("openvino", "text", True),  # it ran the text for tensorrt, and is not asked again
        ("openvino", "fp32", True),
        ("openvino", "fp16", True),
        ("openvino", "int8", True),
    ]
    (problem,) = report.problems
    assert problem.startswith("tensorrt int8: ")
    assert "does not reproduce the golden vectors: scene differs by 0.2" in problem


def test_what_failed_its_gate_is_not_built_unless_by_name(
    bundle_copy: Path, manifest_fields: dict[str, Any], gpu: Any
) -> None:
    bundle = bundle_with(bundle_copy, manifest_fields, ("int8",))
    create_image_engine(bundle, "tensorrt", image_size=(64, 64)).close()
    assert built(gpu) == ["image.fp16.onnx"]
    create_image_engine(bundle, "tensorrt", "int8", (64, 64)).close()
    assert built(gpu) == ["image.fp16.onnx", "image.int8.onnx"]


def test_a_bundle_of_which_nothing_passed_is_a_problem_and_not_the_end(
    bundle_copy: Path, manifest_fields: dict[str, Any], gpu: Any
) -> None:
    report = verify_loaded(bundle_with(bundle_copy, manifest_fields, tuple(VARIANTS)), ("tensorrt",))
    assert not gpu.builds
    assert [check.precision for check in report.golden] == ["auto", "text"]
    assert "auto takes no variant that failed its accuracy gate" in report.problems[0]
