from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from rich.console import Console

from compile import bundle as module
from compile.bundle import VARIANTS, BundleOptions, compile_bundle, manifest_fields
from compile.golden import synthetic_scene
from edge.bundle.manifest import Manifest
from edge.engines.tensorrt import library
from firmware_cfg.errors import MissingExtra, RemoteclipError, UsageError
from training.checkpoint import ModelSpec, load_checkpoint, save_checkpoint
from training.errors import CheckpointError, DataError
from training.models.lite import LiteImageTower
from training.models.text import TextTower
from training.recipe import DEFAULT_CHECKPOINT, Recipe, default_recipe, load_recipe
from training.torch_engine import LITE_IMAGE_SIZES

QUIET = Console(stderr=True, quiet=True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained checkpoint."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    spec = ModelSpec(
        1, "remoteclip-lite0", "tf_efficientnet_lite0", "all-MiniLM-L6-v2", 32, 24, "research only"
    )
    metrics = {"validation": {"score": 0.5}}
    save_checkpoint(folder, spec, LiteImageTower(32, 24).eval(), TextTower(32), metrics, "# card\n")
    return folder


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(default_recipe())


def test_a_failed_compile_leaves_nothing_behind_and_the_old_bundle_alone(
    checkpoint: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bundles" / "mine"
    out.mkdir(parents=True)
    (out / "manifest.json").write_text("the old one")

    def full_disk(checkpoint: object, folder: Path, size: object) -> NoReturn:
        (folder / "image.onnx").write_bytes(b"half a graph")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "export_image_graph", full_disk)
    with pytest.raises(OSError, match="No space left"):
        compile_bundle(checkpoint, out, BundleOptions(recipe, tmp_path), QUIET)
    assert [path.name for path in out.parent.iterdir()] == ["mine"]
    assert (out / "manifest.json").read_text() == "the old one"


def test_calibration_without_its_data_leaves_nothing_behind(
    checkpoint: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The exports have tests of their own, and would take half a minute here.
    monkeypatch.setattr(module, "export_image_graph", lambda checkpoint, folder, size: None)
    monkeypatch.setattr(module, "write_text_graph", lambda checkpoint, file: 1.0)
    with pytest.raises(DataError, match=r"instances_train\.json: no such file"):
        compile_bundle(checkpoint, tmp_path / "mine", BundleOptions(recipe, tmp_path), QUIET)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_in_it_is_never_replaced(
    checkpoint: Path, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds something else than a bundle"):
        compile_bundle(checkpoint, tmp_path, BundleOptions(recipe, tmp_path), QUIET)
    with pytest.raises(UsageError, match="holds something else than a bundle"):
        compile_bundle(checkpoint, tmp_path / "thesis.tex", BundleOptions(recipe, tmp_path), QUIET)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_folder_that_is_no_checkpoint_says_so(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.json: cannot be read"):
        compile_bundle(tmp_path / "nowhere", tmp_path / "out", BundleOptions(recipe, tmp_path), QUIET)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"image_size": (224, 224)}, "remoteclip-lite0 takes any size of tile"),
        ({"teacher": DEFAULT_CHECKPOINT}, "its embeddings are 256 wide, the student's 32"),
        ({"probe": Path("nowhere")}, "nowhere: no such folder"),
    ],
)
def test_wrong_options_are_found_before_the_work(
    checkpoint: Path, recipe: Recipe, tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    options = replace(BundleOptions(recipe, tmp_path), **changes)
    with pytest.raises(RemoteclipError, match=problem):
        compile_bundle(checkpoint, tmp_path / "out", options, QUIET)
    assert list(tmp_path.iterdir()) == []


def test_a_target_whose_builder_is_missing_names_the_extra(
    checkpoint: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(library._MODULES, library.RTX, ())
    options = BundleOptions(recipe, tmp_path, target="jetson-orin")
    with pytest.raises(MissingExtra, match=r"remoteclip-edge\[rtx\]"):
        compile_bundle(checkpoint, tmp_path / "out", options, QUIET)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_says_what_the_checkpoint_is(checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    fields = manifest_fields(loaded, LITE_IMAGE_SIZES, 0.999)
    names = (*VARIANTS.values(), "text.onnx", "tokenizer.json", "calibration.npz", "golden.npz", "card.md")
    files = dict.fromkeys(names, "0" * 64)
    manifest = Manifest.model_validate({**fields, "files": files, "created_at": "2026-01-01T00:00:00Z"})
    assert manifest.embedding_width == 32
    assert manifest.checkpoint_sha256 == loaded.sha256
    assert manifest.logit_scale == pytest.approx(loaded.image.logit_scale.exp().item())
    assert manifest.logit_bias == loaded.image.logit_bias.item()
    assert manifest.accuracy["validation"] == {"score": 0.5}


def test_golden_pictures_are_drawn_the_same_everywhere() -> None:
    first, again, other = (synthetic_scene(seed, (256, 192)) for seed in (1, 1, 2))
    assert first.shape == (192, 256, 3)
    assert (first == again).all()
    assert (first != other).any()
