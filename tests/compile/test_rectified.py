"""A rectified model from checkpoint to drone: the same rows, the same logits, nothing else touched."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from compile.bundle import manifest_fields
from compile.golden import golden_vectors, synthetic_scene
from edge.bundle.load import Bundle, load_bundle, write_manifest
from edge.bundle.manifest import MANIFEST_NAME
from edge.lookup import place_logits
from edge.prompts.build import build_prompt_bank, in_memory_list
from edge.prompts.rectification import RECTIFICATION_NAME, Rectification
from edge.runtime import BundleRuntime
from firmware_cfg.bundles import default_bundle_path
from firmware_cfg.errors import BundleError
from firmware_cfg.prompt_list import PromptList
from training.checkpoint import AnyCheckpoint, open_checkpoint, save_rectified
from training.errors import CheckpointError
from training.evaluation.subject import CheckpointRuntime
from training.recipe import DEFAULT_CHECKPOINT
from training.torch_engine import TorchImageEngine

SIZE = (256, 256)
LISTED = in_memory_list(
    PromptList.model_validate(
        {
            "prompts": [
                {"id": "field", "kind": "scene", "text": ["a field"]},
                {"id": "car", "text": ["a car seen from above", "a car"]},
                {"id": "tree", "text": ["a tree", "a bush"], "match": "any"},
            ],
            "background": ["bare ground", "a roof"],
        }
    )
)


@pytest.fixture(scope="module")
def rectification() -> Rectification:
    rng = np.random.default_rng(0)
    weight, offset = rng.normal(0, 0.5, (256, 17)), rng.normal(0, 0.05, 17)
    return Rectification(weight.astype(np.float32), offset.astype(np.float32))


@pytest.fixture(scope="module")
def folder(rectification: Rectification, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rectified") / "checkpoint"
    save_rectified(out, DEFAULT_CHECKPOINT, rectification, {"rectification": {}}, "rectified")
    return out


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> AnyCheckpoint:
    return open_checkpoint(folder)


@pytest.fixture(scope="module")
def bundle(rectification: Rectification, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The shipped bundle with a rectification beside its files, as `compile bundle` writes it."""
    path = tmp_path_factory.mktemp("bundle") / "bundle"
    shutil.copytree(default_bundle_path(), path)
    rectification.save(path / RECTIFICATION_NAME)
    fields = json.loads((path / MANIFEST_NAME).read_text())
    del fields["files"]
    write_manifest(path, {**fields, "rectified": True})
    return load_bundle(path)


def test_the_checkpoint_keeps_its_weights_and_gets_a_name_of_its_own(
    folder: Path, checkpoint: AnyCheckpoint, rectification: Rectification
) -> None:
    before = open_checkpoint(DEFAULT_CHECKPOINT)
    weights = "weights.safetensors"
    assert (folder / weights).read_bytes() == (DEFAULT_CHECKPOINT / weights).read_bytes()
    assert checkpoint.sha256 != before.sha256
    assert before.rectification is None
    assert checkpoint.rectification is not None
    np.testing.assert_array_equal(checkpoint.rectification.weight, rectification.weight)
    assert (checkpoint.metrics, checkpoint.card) == ({"rectification": {}}, "rectified")
    assert manifest_fields(checkpoint, (SIZE,), 1.0)["rectified"]
    assert not manifest_fields(before, (SIZE,), 1.0)["rectified"]


def test_a_checkpoint_with_a_rectification_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "checkpoint"
    shutil.copytree(folder, other)
    Rectification(np.zeros((8, 17), np.float32), np.zeros(17, np.float32)).save(other / RECTIFICATION_NAME)
    with pytest.raises(CheckpointError, match=r"rectification\.npz: unusable .*weight is float32 \(8, 17\)"):
        open_checkpoint(other)


def test_the_drone_reads_the_logits_that_torch_computes(checkpoint: AnyCheckpoint, bundle: Bundle) -> None:
    reference = CheckpointRuntime(checkpoint)
    runtime = BundleRuntime(bundle, precision="fp32", threads=1)
    ours = build_prompt_bank(LISTED, reference.sentences, reference.facts, reference.calibration)
    bank = build_prompt_bank(LISTED, runtime.sentences, runtime.facts, runtime.calibration)
    np.testing.assert_allclose(bank.rows, ours.rows, atol=0.1)  # the text tower's weights are int8
    np.testing.assert_allclose(bank.row_bias, ours.row_bias, atol=0.1)
    # The same rows into both: what differs then is the engine alone.
    tile = synthetic_scene(5, SIZE)[None]
    expected = TorchImageEngine(checkpoint, SIZE).infer(tile, bank.graph_rows, bank.graph_bias)
    with closing(runtime.image_engine(SIZE)) as engine:
        found = engine.infer(tile, bank.graph_rows, bank.graph_bias)
    same = np.abs(found.place_box[0] - expected.place_box[0]).max(axis=1) < 0.5
    assert same.mean() > 0.9
    apart = np.abs(place_logits(found, 0, bank)[same] - place_logits(expected, 0, bank)[same])
    assert apart.max() < 0.05
    # And they are exp(s) * <cell, [t, position]> + b + bias, worked from the place's own embedding.
    facts, embedding = runtime.facts, expected.place_embedding[0]
    worked = facts.logit_scale * (embedding @ bank.rows.T) + facts.logit_bias + bank.row_bias
    logits = place_logits(expected, 0, bank)
    read = logits > -1e3
    assert read[:, bank.layout.background_begin :].all()
    np.testing.assert_allclose(logits[read], worked[read], atol=2e-3)


def test_scenes_stay_as_they_are_and_default_thresholds_see_it(bundle: Bundle) -> None:
    plain, runtime = BundleRuntime(load_bundle("default")), BundleRuntime(bundle)
    before = build_prompt_bank(LISTED, plain.sentences, plain.facts, plain.calibration)
    after = build_prompt_bank(LISTED, runtime.sentences, runtime.facts, runtime.calibration)
    scene = before.layout.scene_begin
    assert not before.row_bias.any()
    assert not before.rows[:, 256:].any()
    assert not after.row_bias[scene]
    np.testing.assert_array_equal(after.rows[:, :256], before.rows[:, :256])
    np.testing.assert_array_equal(after.rows[scene], before.rows[scene])
    assert after.thresholds["field"] == before.thresholds["field"]
    assert after.thresholds["car"] != before.thresholds["car"]


def test_golden_vectors_of_a_rectified_model_use_its_columns(checkpoint: AnyCheckpoint) -> None:
    text = np.eye(8, 256, dtype=np.float32)
    golden = golden_vectors(checkpoint, text, SIZE)
    assert golden.prompts[:, 256:].any(axis=1).all()
    assert golden.bias[:-1].any()
    assert golden.bias[-1] < -900


def test_a_bundle_that_hides_its_rectification_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle.path, copy)
    fields = json.loads((copy / MANIFEST_NAME).read_text())
    del fields["files"], fields["rectified"]
    with pytest.raises(BundleError, match="rectified is False, files tell otherwise"):
        write_manifest(copy, fields)
