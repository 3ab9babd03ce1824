from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from compile import text_graph
from firmware_cfg.errors import BundleError
from training.checkpoint import Checkpoint, ModelSpec
from training.models.lite import LiteImageTower
from training.models.text import TextTower


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """An untrained model around the real MiniLM."""
    torch.manual_seed(0)
    spec = ModelSpec(1, "remoteclip-lite0", "tf_efficientnet_lite0", "all-MiniLM-L6-v2", 32, 24, "research")
    image = LiteImageTower(32, 24, pretrained=False).eval()
    return Checkpoint(spec, image, TextTower(32).eval(), "0" * 64, {}, "")


def test_a_text_tower_that_lost_too_much_is_refused(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cosine = text_graph.write_text_graph(checkpoint, tmp_path / "text.onnx")
    assert text_graph.LEAST_COSINE <= cosine < 1.0
    assert (tmp_path / "text.onnx").stat().st_size < 20e6
    monkeypatch.setattr(text_graph, "LEAST_COSINE", 1.1)
    monkeypatch.setattr(text_graph, "export_text_tower", lambda checkpoint: onnx.load(tmp_path / "text.onnx"))
    with pytest.raises(BundleError, match=r"cosine to float32 is 0\.\d+, below 1\.1"):
        text_graph.write_text_graph(checkpoint, tmp_path / "again.onnx")
