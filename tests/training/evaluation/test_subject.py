from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge.bundle.load import load_bundle
from edge.frames import RgbImage
from edge.letterbox import letterbox
from edge.runtime import BundleRuntime
from firmware_cfg.bundles import default_bundle_path
from firmware_cfg.errors import BundleError, EngineError, UsageError
from firmware_cfg.prompt_list import PromptList
from training.checkpoint import ModelSpec, load_checkpoint, save_checkpoint
from training.errors import CheckpointError, DataError
from training.evaluation.frames import frame_of
from training.evaluation.subject import Subject, open_subject
from training.models.lite import LiteImageTower
from training.models.text import TextTower


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained checkpoint."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    spec = ModelSpec(1, "remoteclip-lite0", "tf_efficientnet_lite0", "all-MiniLM-L6-v2", 32, 24, "research")
    image = LiteImageTower(32, 24, pretrained=False).eval()
    save_checkpoint(folder, spec, image, TextTower(32).eval(), {}, "# card\n")
    return folder


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Subject:
    return open_subject(folder)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Pictures of two shapes, so that they suit different model inputs."""
    rng = np.random.default_rng(0)
    paths = []
    for number, (width, height) in enumerate(((200, 200), (640, 380))):
        path = tmp_path / f"{number}.png"
        small = rng.integers(0, 256, (height // 20, width // 20, 3), np.uint8)
        assert cv2.imwrite(str(path), cv2.resize(small, (width, height)))
        paths.append(path)
    return paths


@torch.inference_mode()
def test_a_checkpoints_images_are_letterboxed_as_the_drone_does(
    folder: Path, checkpoint: Subject, pictures: list[Path]
) -> None:
    tower = load_checkpoint(folder).image
    assert (checkpoint.name, checkpoint.kind) == ("remoteclip-lite0", "checkpoint")
    found = checkpoint.image_embeddings(pictures)
    assert found.shape == (2, 32)
    for path, row, size in zip(pictures, found, ((256, 256), (640, 384)), strict=True):
        pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        tile, _ = letterbox(RgbImage(pixels), *size)
        expected = tower(torch.from_numpy(tile[None])).embedding[0].numpy()
        np.testing.assert_allclose(row, expected, atol=1e-5)


@torch.inference_mode()
def test_a_checkpoints_sentences_are_those_of_its_text_tower(folder: Path, checkpoint: Subject) -> None:
    tower = load_checkpoint(folder).text
    texts = ["a harbour", "many planes are parked"]
    tokens = checkpoint.runtime.sentences.token_ids
    for text, row in zip(texts, checkpoint.text_embeddings(texts), strict=True):
        ids = torch.tensor([tokens(text)])
        expected = tower(ids, torch.ones_like(ids))[0].numpy()
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_a_checkpoint_counts_through_the_drones_pipeline(checkpoint: Subject, pictures: list[Path]) -> None:
    prompts = PromptList.model_validate({"prompts": [{"id": "ship", "text": ["a ship"], "threshold": 0.0}]})
    with checkpoint.pipeline(prompts, (192, 128)) as pipeline:
        result = pipeline.process(frame_of(pictures[1], 0))
    assert (result.engine, result.image_size, result.independent) == ("torch", (192, 128), True)
    assert result.counts.prompts["ship"].count == len(result.scores.places) > 0
    for place in result.scores.places:  # not calibrated: a score is the sigmoid of the margin itself
        assert place.score == pytest.approx(1 / (1 + np.exp(-place.raw)), rel=1e-4)
    with (
        checkpoint.pipeline(prompts, (100, 96)) as pipeline,
        pytest.raises(EngineError, match="100x96: both sides must be positive multiples of 32"),
    ):
        pipeline.process(frame_of(pictures[1], 0))


def test_the_shipped_bundle_is_opened_by_its_name_or_folder(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = default_bundle_path()
    if not (folder / "manifest.json").is_file():
        pytest.skip(f"no bundle at {folder} yet: compile one, or install a release")
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path))
    shipped = open_subject("default", threads=1)
    assert shipped.kind == "bundle"
    assert shipped.sha256 == open_subject(folder).sha256
    rows = shipped.image_embeddings(pictures[:1])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    with pytest.raises(DataError, match=r"nothing\.png"):
        shipped.image_embeddings([tmp_path / "nothing.png"])


def test_the_shipped_bundle_and_its_checkpoint_see_and_read_alike(
    pictures: list[Path], repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = repository / "training" / "checkpoints" / "default"
    if not (default_bundle_path() / "manifest.json").is_file() or not (source / "model.json").is_file():
        pytest.skip("no shipped bundle, or no checkpoint of it, in this checkout")
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path))
    bundle, checkpoint = open_subject("default", threads=1), open_subject(source)
    stated = load_bundle("default").manifest.checkpoint_sha256
    assert (bundle.name, checkpoint.sha256) == (checkpoint.name, stated)
    exact = checkpoint.image_embeddings(pictures)
    seen = (bundle.image_embeddings(pictures) * exact).sum(axis=1)
    assert 0.99 < seen.min() < 0.99999  # int8 is what flies, as an evaluation should see it
    unquantized = replace(bundle, runtime=BundleRuntime(load_bundle("default"), precision="fp32"))
    np.testing.assert_allclose(unquantized.image_embeddings(pictures), exact, atol=1e-4)
    texts = ["a satellite photo of river.", "many planes are parked beside a terminal"]
    cosine = (bundle.text_embeddings(texts) * checkpoint.text_embeddings(texts)).sum(axis=1)
    assert cosine.min() > 0.995  # the bundle's text tower keeps its weights in eight bits, its words in four


def test_what_is_no_model_or_damaged_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no bundle and no checkpoint \(name a folder with manifest\.json"):
        open_subject(tmp_path)
    for name in ("RemoteCLIP-RN50x4.pt", "epoch_3.pt", "RN50-or-ViT-B-32.pt"):
        (tmp_path / name).touch()
        with pytest.raises(UsageError, match=rf"{name}: its name tells no tower \(name it after one of RN50"):
            open_subject(tmp_path / name)
    (tmp_path / "RemoteCLIP-ViT-B-32.pt").touch()
    with pytest.raises(CheckpointError, match=r"RemoteCLIP-ViT-B-32\.pt"):
        open_subject(tmp_path / "RemoteCLIP-ViT-B-32.pt")
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"model\.json: schema None"):
        open_subject(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match=r"manifest\.json"):
        open_subject(tmp_path)
