"""The whole way from the shipped checkpoint to a bundle, on the probe set for want of training data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from compile.bundle import VARIANTS, BundleOptions, Compiled, compile_bundle
from compile.gate.probe import SHIPPED
from compile.quantize.run import QuantizeOptions
from compile.report.compiled import report_on
from edge.bundle.load import load_bundle
from edge.bundle.verify import verify_bundle
from training.recipe import DEFAULT_CHECKPOINT, ObjectSet, default_recipe, load_recipe


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """A bundle calibrated on the probe set; the checkpoint is trained, so its numbers mean something."""
    root = tmp_path_factory.mktemp("data")
    shutil.copytree(SHIPPED, root / "probe")
    annotated = root / "probe" / "instances_val.json"
    shutil.copyfile(annotated, annotated.with_name("instances_train.json"))
    classes = [entry["name"] for entry in json.loads(annotated.read_text())["categories"]]
    drawn = ObjectSet(
        name="probe",
        format="coco",
        weight=1.0,
        scale=(1.0, 1.0),
        objects={name: [name] for name in classes},
        licence="Apache-2.0",
    )
    recipe = load_recipe(default_recipe()).model_copy(update={"object_sets": [drawn], "caption_sets": []})
    # The search for layers that hurt has tests of its own, and would take half of the time here.
    options = BundleOptions(recipe, root, images=SHIPPED / "images", quantize=QuantizeOptions(most_float=0))
    out = tmp_path_factory.mktemp("compiled") / "bundle"
    return compile_bundle(DEFAULT_CHECKPOINT, out, options, Console(stderr=True, quiet=True))


def test_the_bundle_is_whole_and_every_variant_reproduces_the_golden_vectors(compiled: Compiled) -> None:
    report = verify_bundle(compiled.bundle.path, ("openvino", "onnxruntime"))
    assert report.problems == ()
    checked = {(check.engine, check.precision) for check in report.golden}
    assert checked == {(e, p) for e in ("openvino", "onnxruntime") for p in (*VARIANTS, "text")}
    assert [path.name for path in compiled.bundle.path.parent.iterdir()] == ["bundle"]


def test_the_manifest_records_what_each_variant_lost(compiled: Compiled) -> None:
    manifest = load_bundle(compiled.bundle.path).manifest
    assert manifest.target == "cpu"
    assert manifest.regressions == ()
    assert manifest.gates.keys() == VARIANTS.keys()
    for gate in manifest.gates.values():
        assert gate.passed
        assert gate.images == len(list((SHIPPED / "images").iterdir()))
        assert gate.counts > 0
        assert gate.captioned > 0
    assert manifest.gates["int8"].cosine_mean < manifest.gates["fp16"].cosine_mean
    quantized = manifest.accuracy["quantization"]
    assert "fewer than the 500" in quantized["warning"]
    assert manifest.accuracy["parity"]


def test_a_report_with_every_variant_is_left_beside_it(compiled: Compiled, tmp_path: Path) -> None:
    report = report_on(compiled, tmp_path / "report")
    names = [row.name for row in report.rows]
    assert names == ["checkpoint (torch)", *VARIANTS]
    assert all(row.timing is not None and row.size for row in report.rows[1:])
    page = report.page.read_text("utf-8")
    assert page.count("<svg") >= 3
    assert compiled.bundle.manifest_sha256 in page
    assert "src=" not in page  # nothing from the network
    assert json.loads(json.dumps(report.as_json()))["rows"][3]["name"] == "int8"
