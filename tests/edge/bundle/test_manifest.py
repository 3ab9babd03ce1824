"""What a manifest may say of a bundle's accuracy, and that it cannot keep quiet about what was lost."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edge.bundle.load import Bundle
from edge.bundle.manifest import Manifest

GATE: dict[str, Any] = {
    "probe": "shipped",
    "engine": "openvino",
    "images": 12,
    "cosine_mean": 0.998,
    "cosine_min": 0.99,
    "places": 300,
    "passed": True,
}
FAILED = {**GATE, "passed": False, "problems": ["mean cosine 0.9 is below 0.99"]}


def manifest(bundle: Bundle, **changes: Any) -> Manifest:
    """The bundle's manifest with fields of another value, read as a file would be."""
    return Manifest.model_validate({**bundle.manifest.model_dump(by_alias=True), **changes})


def test_a_manifest_of_before_the_gates_still_reads(tiny_bundle: Bundle) -> None:
    fields = tiny_bundle.manifest.model_dump(by_alias=True)
    for name in ("target", "layout", "gates", "regressions"):
        del fields[name]
    old = Manifest.model_validate(fields)
    assert (old.target, old.layout, old.gates, old.regressions) == (None, {}, {}, ())


def test_gates_survive_writing_and_reading(tiny_bundle: Bundle) -> None:
    found = manifest(tiny_bundle, target="cpu", gates={"fp32": GATE}, layout={"fp32": "weights stored half"})
    assert Manifest.model_validate_json(found.model_dump_json(by_alias=True)) == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "toaster"}, "target"),
        ({"gates": {"fp16": GATE}}, "variants that are not there: fp16"),
        ({"gates": {"fp32": FAILED}}, "fp32 failed its gate, and regressions does not say so"),
        ({"gates": {"fp32": {**GATE, "problems": ["slow"]}}}, "passed if and only if it has no problems"),
        ({"gates": {"fp32": {**GATE, "passed": False}}}, "passed if and only if it has no problems"),
        ({"gates": {"fp32": {**GATE, "cosine_mean": float("nan")}}}, "finite"),
    ],
)
def test_a_manifest_that_does_not_add_up_is_refused(
    tiny_bundle: Bundle, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        manifest(tiny_bundle, **changes)


def test_a_failed_gate_is_kept_with_its_regression(tiny_bundle: Bundle) -> None:
    kept = manifest(tiny_bundle, gates={"fp32": FAILED}, regressions=["fp32: mean cosine 0.9 is below 0.99"])
    assert not kept.gates["fp32"].passed
    assert kept.regressions
