"""Caches stay within their size: what was not used for longest goes first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.bundle.load import Bundle
from edge.engines import create_image_engine, openvino_engine
from edge.leftovers import shrink
from edge.prompts import text_encoder
from edge.prompts.text_encoder import TextEncoder

BLOCK = 4096


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    for number, (written, read) in enumerate([(10, 90), (20, 20), (30, 10), (40, 40)]):
        path = tmp_path / f"{number}.blob"
        path.write_bytes(bytes(BLOCK))
        os.utime(path, (read, written))
    (tmp_path / "other.txt").write_bytes(bytes(10 * BLOCK))
    (tmp_path / "folder.blob").mkdir()
    shrink(tmp_path, ".blob", 4 * BLOCK)
    assert len(names(tmp_path)) == 6
    shrink(tmp_path, ".blob", 2 * BLOCK)
    assert names(tmp_path) == {"0.blob", "3.blob", "other.txt", "folder.blob"}


def test_a_folder_that_is_gone_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shrink(tmp_path / "gone", ".blob", 0)
    assert "cannot be tidied: No such file or directory" in caplog.text


def test_sentences_of_long_ago_are_forgotten(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_encoder, "MOST_CACHED_BYTES", 4 * BLOCK)
    monkeypatch.setattr(text_encoder, "_TIDY_EVERY", 3)
    encoder = TextEncoder(tiny_bundle, cache=tmp_path)
    texts = ["red " * count + colour for count in range(6) for colour in ("green", "blue")]
    rows = encoder.encode(texts)
    assert 0 < len(names(tmp_path)) < 4 + 4
    assert (encoder.encode(texts) == rows).all()


def test_graphs_of_tile_sizes_of_long_ago_are_forgotten(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path))
    create_image_engine(tiny_bundle, "openvino", image_size=(64, 64)).close()
    (blob,) = (tmp_path / "openvino").glob("*.blob")
    os.utime(blob, (1, 1))
    monkeypatch.setattr(openvino_engine, "MOST_CACHED_BYTES", int(1.5 * blob.stat().st_blocks * 512))
    create_image_engine(tiny_bundle, "openvino", image_size=(96, 64)).close()
    (other,) = (tmp_path / "openvino").glob("*.blob")
    assert other != blob
