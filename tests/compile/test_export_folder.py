from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from compile import export_folder
from compile.cli import app
from compile.export_folder import export_checkpoint
from compile.graph_file import load_graph
from edge.bundle.golden import GoldenCheck
from edge.engines import onnxruntime_engine
from firmware_cfg.errors import BundleError, UsageError
from training.checkpoint import open_checkpoint, save_clip_checkpoint
from training.towers.clip import create_tower

QUIET = Console(stderr=True, quiet=True)
FILES = ["image.fp16.onnx", "image.onnx", "image.weights", "text.onnx"]
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 96, "layers": 2, "width": 48, "head_width": 16, "patch_size": 16},
    "text_cfg": {"width": 64, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT with drawn weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.json").write_text(json.dumps(CONFIG))
    save_clip_checkpoint(folder / "checkpoint", create_tower(str(folder / "tiny.json")), "none", {}, "")
    return folder / "checkpoint"


def test_the_command_writes_graphs_that_engines_load_and_says_what_they_lost(
    checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "graphs"
    arguments = ["export", str(checkpoint), "-o", str(out), "--image-size", "128x96", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout.splitlines()[-1])
    assert sorted(report["sizes"]) == FILES == sorted(file.name for file in out.iterdir())
    assert report["sizes"]["image.weights"] == (out / "image.weights").stat().st_size
    assert {(c["engine"], c["precision"], c["missing"]) for c in report["parity"]} == {
        (engine, precision, 0) for engine in ("openvino", "onnxruntime") for precision in ("fp32", "fp16")
    }
    assert 0.995 <= report["text_cosine"] < 1
    for name in ("image.onnx", "image.fp16.onnx", "text.onnx"):
        load_graph(out / name)
    engine = onnxruntime_engine.image_engine(out / "image.onnx", "fp32", (128, 96), 1)
    image = np.zeros((1, 96, 128, 3), np.uint8)
    assert engine.infer(image, np.ones((2, 40), np.float32), np.zeros(2, np.float32)).place_box.shape[1] == 48


def test_a_graph_that_an_engine_does_not_reproduce_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "graphs"
    out.mkdir()
    (out / "image.onnx").write_text("the old one")
    wrong = GoldenCheck("openvino", "fp16", {}, 9, 9, ("9 of 9 places are missing",))
    monkeypatch.setattr(export_folder, "export_image_graph", lambda *_: None)
    monkeypatch.setattr(export_folder, "write_text_graph", lambda *_: 1.0)
    monkeypatch.setattr(export_folder, "run_text_graph", lambda *_: np.ones((8, 24), np.float32))
    monkeypatch.setattr(export_folder, "check_graphs", lambda *_: (wrong,))
    with pytest.raises(BundleError, match="not written: openvino fp16: 9 of 9 places are missing"):
        export_checkpoint(open_checkpoint(checkpoint), out, None, QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["graphs"]
    assert (out / "image.onnx").read_text() == "the old one"


def test_a_full_disk_leaves_nothing_behind(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(checkpoint: object, folder: Path, size: object) -> NoReturn:
        (folder / "image.onnx").write_bytes(b"half a graph")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_folder, "export_image_graph", full_disk)
    with pytest.raises(OSError, match="No space left"):
        export_checkpoint(open_checkpoint(checkpoint), tmp_path / "graphs", None, QUIET)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_in_it_is_never_replaced(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for out in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(UsageError, match="holds something else than exported graphs"):
            export_checkpoint(open_checkpoint(checkpoint), out, None, QUIET)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("size", ["large", "640"])
def test_an_image_size_that_is_none_is_a_usage_error(checkpoint: Path, tmp_path: Path, size: str) -> None:
    result = CliRunner().invoke(
        app, ["export", str(checkpoint), "-o", str(tmp_path / "out"), "--image-size", size]
    )
    assert isinstance(result.exception, UsageError)
    assert "--image-size must be WIDTHxHEIGHT" in str(result.exception)
