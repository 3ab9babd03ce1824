"""Sentences are encoded once, cached, never cut short, and a damaged cache is made anew."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle.load import Bundle, load_bundle, write_manifest
from edge.prompts import text_encoder as text_encoder_module
from edge.prompts.text_encoder import Interrupted, TextEncoder, TextTooLong
from firmware_cfg.errors import BundleError, EngineError


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the text engines loaded since the test began."""
    loaded: list[str] = []
    create = text_encoder_module.create_text_engine

    def noted(bundle: Bundle, name: str, threads: int | None) -> Any:
        loaded.append(name)
        return create(bundle, name, threads)

    monkeypatch.setattr(text_encoder_module, "create_text_engine", noted)
    return loaded


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_sentences_get_the_tower_s_unit_embeddings(
    tiny_bundle: Bundle, tmp_path: Path, word_embedding: Callable[[str], np.ndarray], engine: str
) -> None:
    rows = TextEncoder(tiny_bundle, engine, cache=tmp_path).encode(["red", "green blue", "red"])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows[0], word_embedding("red"), atol=1e-6)
    both = word_embedding("green") + word_embedding("blue")
    np.testing.assert_allclose(rows[1], both / np.linalg.norm(both), atol=1e-6)
    np.testing.assert_array_equal(rows[2], rows[0])


def test_a_sentence_does_not_depend_on_its_company(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    alone = TextEncoder(tiny_bundle, cache=tmp_path / "a").encode(["red blue"])
    together = TextEncoder(tiny_bundle, cache=tmp_path / "b").encode(["grey grey grey green", "red blue"])
    np.testing.assert_array_equal(together[1], alone[0])


def test_the_second_time_no_engine_is_needed(tiny_bundle: Bundle, tmp_path: Path, loads: list[str]) -> None:
    first = TextEncoder(tiny_bundle, cache=tmp_path).encode(["red", "blue"])
    assert loads == ["openvino"]
    again = TextEncoder(tiny_bundle, cache=tmp_path).encode(["blue", "red"])
    np.testing.assert_array_equal(again[::-1], first)
    assert loads == ["openvino"]


def test_another_engine_does_not_inherit_the_cache(
    tiny_bundle: Bundle, tmp_path: Path, loads: list[str]
) -> None:
    TextEncoder(tiny_bundle, "openvino", cache=tmp_path).encode(["red"])
    TextEncoder(tiny_bundle, "onnxruntime", cache=tmp_path).encode(["red"])
    assert loads == ["openvino", "onnxruntime"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data + data,
    ],
    ids=["empty", "short", "bit of the embedding", "bit of the digest", "twice"],
)
def test_a_damaged_entry_is_encoded_again(
    tiny_bundle: Bundle,
    tmp_path: Path,
    loads: list[str],
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes],
) -> None:
    expected = TextEncoder(tiny_bundle, cache=tmp_path).encode(["red"])
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(TextEncoder(tiny_bundle, cache=tmp_path).encode(["red"]), expected)
    assert "damaged, the text is encoded again" in caplog.text
    assert len(loads) == 2
    assert entry.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_only_time(
    tiny_bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = tmp_path / "gone"
    with caplog.at_level(logging.WARNING):
        rows = TextEncoder(tiny_bundle, cache=gone).encode(["red"])
    assert rows.shape == (1, 6)
    assert "the text's embedding is not kept: No such file or directory" in caplog.text


def test_a_cache_entry_that_cannot_be_read_costs_only_time(
    tiny_bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = TextEncoder(tiny_bundle, cache=tmp_path).encode(["red"])
    (entry,) = tmp_path.iterdir()
    entry.unlink()
    entry.mkdir()
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(TextEncoder(tiny_bundle, cache=tmp_path).encode(["red"]), expected)
    assert "cannot be read, the text is encoded again: Is a directory" in caplog.text


def test_a_sentence_is_never_cut_short(tiny_bundle: Bundle, tmp_path: Path, loads: list[str]) -> None:
    encoder = TextEncoder(tiny_bundle, cache=tmp_path)
    assert encoder.encode(["red " * 8]).shape == (1, 6)
    with pytest.raises(
        TextTooLong, match=r'text "red red .*\.\.\." has 9 tokens, the text tower reads 8'
    ) as caught:
        encoder.encode(["blue", "red " * 9, "green " * 10])
    assert [tokens for _, tokens in caught.value.texts] == [9, 10]
    assert caught.value.limit == 8
    assert len(loads) == 1


def test_a_sentence_without_tokens_is_an_error(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="has no tokens"):
        TextEncoder(tiny_bundle, cache=tmp_path).encode([" "])


def test_encoding_is_interrupted_between_sentences(tiny_bundle: Bundle, tmp_path: Path) -> None:
    answers = iter([False, False, True])
    with pytest.raises(Interrupted, match="given up"):
        TextEncoder(tiny_bundle, cache=tmp_path).encode(["red", "green", "blue"], lambda: next(answers))
    assert len(list(tmp_path.iterdir())) == 2  # what was encoded is not encoded again


def test_closing_frees_the_engine_until_it_is_needed_again(
    tiny_bundle: Bundle, tmp_path: Path, loads: list[str]
) -> None:
    encoder = TextEncoder(tiny_bundle, cache=tmp_path)
    encoder.encode(["red"])
    encoder.close()
    encoder.close()
    encoder.encode(["red"])
    assert len(loads) == 1
    encoder.encode(["blue"])
    assert len(loads) == 2


def test_a_tokenizer_that_is_none_is_one_line(bundle_copy: Path, manifest_fields: dict[str, Any]) -> None:
    (bundle_copy / "tokenizer.json").write_text('{"version": "1.0"}')
    write_manifest(bundle_copy, manifest_fields)
    with pytest.raises(
        BundleError, match=r"tokenizer\.json: not a tokenizer: .* \(compile the bundle again\)"
    ):
        TextEncoder(load_bundle(bundle_copy))


def test_embeddings_of_another_width_are_refused(bundle_copy: Path, manifest_fields: dict[str, Any]) -> None:
    write_manifest(bundle_copy, {**manifest_fields, "embedding_width": 5, "position_width": 3})
    calibration = dict(np.load(bundle_copy / "calibration.npz"))
    np.savez(
        bundle_copy / "calibration.npz", **{**calibration, "null_scenes": calibration["null_scenes"][:, :5]}
    )
    write_manifest(bundle_copy, {**manifest_fields, "embedding_width": 5, "position_width": 3})
    with pytest.raises(EngineError, match=r"text\.onnx: the embedding of a text has shape \(6,\)"):
        TextEncoder(load_bundle(bundle_copy)).encode(["red"])


def test_a_long_list_tells_how_far_it_is(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge.prompts.text_encoder.TELL_EVERY_S", 0.0)
    with caplog.at_level("INFO"):
        TextEncoder(tiny_bundle, cache=tmp_path).encode(["red", "green", "blue"])
    assert [message for message in caplog.messages if "sentences" in message] == [
        f"{number} of 3 sentences encoded" for number in range(3)
    ]
