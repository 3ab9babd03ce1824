"""From a prompt list to the rows and thresholds that the lookup works with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle.load import Bundle
from edge.lookup import object_margins
from edge.prompts.bank import BACKGROUND_BIAS, PromptBank, PromptStore
from edge.prompts.build import LOWEST_DEFAULT, MOST_SENT_SENTENCES, build_prompt_bank, in_memory_list
from edge.prompts.builder import BankBuilder
from edge.prompts.text_encoder import TextEncoder
from edge.runtime import BundleRuntime
from firmware_cfg.errors import ConfigErrors
from firmware_cfg.prompt_list import (
    GRAPH_ROWS,
    MAX_ROWS,
    LoadedPromptList,
    PromptList,
    load_prompt_bytes,
    load_prompt_list,
)

COLOURS = b"""
version: 1
prompts:
  - {id: haze, kind: scene, text: grey, threshold: 0.25}
  - {id: warm, text: [red, red green], review_below: 0.9}
  - {id: cold, text: [blue, green blue], match: any, threshold: 0.35}
background: [grey grey]
"""


@pytest.fixture
def build(tiny_bundle: Bundle, tmp_path: Path) -> Callable[[LoadedPromptList], PromptBank]:
    """Make the bank of a list on the tiny bundle."""
    encoder = TextEncoder(tiny_bundle, cache=tmp_path)
    return lambda loaded: build_prompt_bank(loaded, encoder, tiny_bundle.manifest, tiny_bundle.calibration)


def test_rows_lie_objects_then_scenes_then_background(
    build: Any, word_embedding: Callable[[str], np.ndarray]
) -> None:
    loaded = load_prompt_bytes(COLOURS, "colours.yaml")
    bank = build(loaded)
    assert bank.rows.shape == (5, 8)
    assert bank.row_owner.tolist() == [1, 2, 2, 0, -1]
    assert bank.bias.tolist() == [0, 0, 0, BACKGROUND_BIAS, BACKGROUND_BIAS]
    assert (bank.layout.object_ids, bank.layout.scene_ids) == (("warm", "cold"), ("haze",))
    assert bank.layout.object_starts.tolist() == [0, 1]
    assert bank.layout.scene_starts.tolist() == [3]
    np.testing.assert_allclose(bank.rows[1, :6], word_embedding("blue"), atol=1e-6)
    np.testing.assert_allclose(bank.rows[3, :6], word_embedding("grey"), atol=1e-6)
    np.testing.assert_array_equal(bank.rows[3], bank.rows[4])
    np.testing.assert_array_equal(bank.rows[:, 6:], 0)
    assert bank.list_sha256 == loaded.sha256
    assert bank.prompt_list is loaded.model


def test_paraphrases_are_averaged_and_made_unit(
    build: Any, word_embedding: Callable[[str], np.ndarray]
) -> None:
    bank = build(load_prompt_bytes(COLOURS, "colours.yaml"))
    mixed = word_embedding("red") + word_embedding("green")
    mean = word_embedding("red") + mixed / np.linalg.norm(mixed)
    np.testing.assert_allclose(bank.rows[0, :6], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(bank.rows, axis=1), 1, atol=1e-6)


def test_thresholds_of_the_list_are_kept_and_the_others_come_from_the_null_bank(
    build: Any, tiny_bundle: Bundle
) -> None:
    bank = build(load_prompt_bytes(COLOURS, "colours.yaml"))
    assert list(bank.thresholds) == ["haze", "warm", "cold"]
    assert (bank.thresholds["haze"], bank.thresholds["cold"]) == (0.25, 0.35)
    assert bank.object_thresholds.tolist() == [bank.thresholds["warm"], 0.35]
    assert dict(bank.review_below) == {"haze": None, "warm": 0.9, "cold": None}
    calibration = tiny_bundle.calibration
    logits = calibration.null_cells @ bank.rows.T * 30 - 25
    scores = calibration.object_score(object_margins(logits.astype(np.float32), bank.layout))[:, 0]
    quantile = np.quantile(scores, 1 - calibration.false_alarm_rate_object)
    assert bank.thresholds["warm"] == pytest.approx(max(quantile, LOWEST_DEFAULT), abs=1e-5)
    assert (scores >= bank.thresholds["warm"]).mean() <= calibration.false_alarm_rate_object


def test_a_scene_s_threshold_comes_from_the_null_scenes(build: Any, tiny_bundle: Bundle) -> None:
    bank = build(load_prompt_bytes(b"prompts: [{id: haze, kind: scene, text: grey}]", "haze.yaml"))
    calibration = tiny_bundle.calibration
    scores = calibration.scene_score(calibration.null_scenes @ bank.rows[0, :6])
    assert 0 < (scores >= bank.thresholds["haze"]).mean() <= calibration.false_alarm_rate_scene
    assert bank.object_thresholds.shape == (0,)


def test_bias_and_temperature_leave_the_false_alarm_rate_of_an_unset_threshold(build: Any) -> None:
    # Far above LOWEST_DEFAULT, so that the quantile itself is compared.
    text = b"prompts: [{id: warm, text: grey, BIAS}, {id: haze, kind: scene, text: grey, BIAS}]"
    plain = build(load_prompt_bytes(text.replace(b", BIAS", b""), "a.yaml"))
    stated = build(load_prompt_bytes(text.replace(b"BIAS", b"bias: 0, temperature: 1"), "b.yaml"))
    moved = build(load_prompt_bytes(text.replace(b"BIAS", b"bias: -2, temperature: 3"), "c.yaml"))
    assert stated.thresholds == plain.thresholds
    for name in ("warm", "haze"):
        odds = np.log(plain.thresholds[name] / (1 - plain.thresholds[name]))
        assert moved.thresholds[name] == pytest.approx(1 / (1 + np.exp(-(odds - 2) / 3)), abs=1e-5)


def test_more_background_lowers_an_unset_threshold(build: Any) -> None:
    alone = build(load_prompt_bytes(b"prompts: [{id: warm, text: red}]", "a.yaml"))
    rival = build(load_prompt_bytes(b"prompts: [{id: warm, text: red}]\nbackground: [grey]", "b.yaml"))
    assert rival.thresholds["warm"] < alone.thresholds["warm"]


def test_a_bank_cannot_be_changed(build: Any) -> None:
    bank = build(load_prompt_bytes(COLOURS, "colours.yaml"))
    for array in (bank.rows, bank.bias, bank.row_owner, bank.object_thresholds):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(TypeError):
        bank.thresholds["warm"] = 0.1


def test_sentences_that_are_too_long_are_named_with_their_lines(build: Any, tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(
        "prompts:\n"
        "  - id: warm\n"
        f"    text: {'red ' * 9}\n"
        "  - id: cold\n"
        "    text:\n"
        "      - blue\n"
        f"      - {'blue ' * 12}\n"
        f"background: [grey, {'grey ' * 10}]\n"
    )
    with pytest.raises(ConfigErrors) as caught:
        build(load_prompt_list(path))
    lines = str(caught.value).splitlines()
    assert [line.removeprefix(str(path)).split(" text ")[0] for line in lines] == [
        ":3:11: prompt warm:",
        ":7:9: prompt cold:",
        ":8:20: background:",
    ]
    assert lines[1].endswith("has 12 tokens, the text tower reads 8 (shorten it, or split it into several)")


def test_a_long_sentence_of_a_list_without_a_file_is_named_by_its_prompt(build: Any) -> None:
    loaded = in_memory_list(PromptList(prompts=[{"id": "warm", "text": "red " * 9}]), "prompts/set")
    with pytest.raises(ConfigErrors, match=r"^prompts/set: prompt warm: text .* has 9 tokens"):
        build(loaded)


def test_no_line_is_made_up_when_the_file_has_changed_since(build: Any, tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(f"prompts: [{{id: warm, text: {'red ' * 9}}}]\n")
    loaded = load_prompt_list(path)
    for content in ("\n\n" + path.read_text(), "{", None):
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        with pytest.raises(ConfigErrors) as caught:
            build(loaded)
        assert str(caught.value).startswith(f"{path}: prompt warm: ")


def test_the_graph_takes_all_rows_of_a_list_that_it_can_take(build: Any) -> None:
    prompts = [{"id": f"p{number}", "text": ["red"] * 32, "match": "any"} for number in range(8)]
    bank = build(in_memory_list(PromptList(prompts=prompts)))
    assert bank.rows.shape == (GRAPH_ROWS, 8)
    assert bank.spread is None
    assert bank.graph_rows is bank.rows
    assert bank.graph_bias is bank.bias


def test_a_list_may_have_more_rows_than_the_graph_takes(build: Any) -> None:
    words = ["red", "green", "blue", "grey"]
    prompts: list[dict[str, Any]] = [{"id": f"p{n}", "text": words[n % 4]} for n in range(MAX_ROWS - 2)]
    prompts.append({"id": "haze", "kind": "scene", "text": "grey grey"})
    bank = build(in_memory_list(PromptList(prompts=prompts, background=["red green"])))
    assert bank.rows.shape == (MAX_ROWS, 8)
    assert bank.graph_rows.shape == (GRAPH_ROWS, 8)
    np.testing.assert_array_equal(bank.graph_bias, 0)  # background and scenes are read on the host
    assert set(bank.thresholds) == {*(f"p{n}" for n in range(MAX_ROWS - 2)), "haze"}


def test_texts_that_cancel_out_are_an_error(tiny_bundle: Bundle) -> None:
    class Opposites:
        def encode(self, texts: Any) -> np.ndarray:
            row = np.full(6, 6**-0.5, np.float32)
            return np.stack([row, -row])

    data = b"prompts:\n  - {id: warm, text: [red, blue]}"
    loaded = load_prompt_bytes(data, "list.yaml")
    with pytest.raises(
        ConfigErrors, match=r"^list\.yaml:2:22: the texts of prompt warm cancel each other out"
    ):
        build_prompt_bank(loaded, Opposites(), tiny_bundle.manifest, tiny_bundle.calibration, data=data)


def test_lines_of_a_list_without_a_file_come_from_its_bytes(tiny_bundle: Bundle, tmp_path: Path) -> None:
    data = f"prompts:\n  - id: warm\n    text: {'red ' * 9}\n".encode()
    loaded = load_prompt_bytes(data, "prompts/set")
    encoder = TextEncoder(tiny_bundle, cache=tmp_path)
    with pytest.raises(ConfigErrors, match=r"^prompts/set:3:11: prompt warm: text .* has 9 tokens"):
        build_prompt_bank(loaded, encoder, tiny_bundle.manifest, tiny_bundle.calibration, data=data)


def test_a_list_that_was_sent_cannot_ask_for_a_giant_image_size(tiny_bundle: Bundle, tmp_path: Path) -> None:
    data = b"prompts: [{id: warm, text: red}]\nimage_size: [4096, 4096]\n"
    loaded = load_prompt_bytes(data, "prompts/set")
    parts = TextEncoder(tiny_bundle, cache=tmp_path), tiny_bundle.manifest, tiny_bundle.calibration
    with pytest.raises(
        ConfigErrors, match=r"^prompts/set:2:13: image_size 4096x4096 .* at most 32768 pixels"
    ):
        build_prompt_bank(loaded, *parts, source="mqtt", data=data)
    assert build_prompt_bank(loaded, *parts, source="file", data=data).source == "file"


def test_a_list_that_was_sent_has_a_bounded_number_of_sentences(tiny_bundle: Bundle, tmp_path: Path) -> None:
    parts = TextEncoder(tiny_bundle, cache=tmp_path), tiny_bundle.manifest, tiny_bundle.calibration
    lines = [f"- {{id: p{n}, text: [{', '.join(['red'] * 32)}]}}\n" for n in range(MOST_SENT_SENTENCES // 32)]
    most = "prompts:\n" + "".join(lines)
    loaded = load_prompt_bytes(most.encode(), "prompts/set")
    assert build_prompt_bank(loaded, *parts, source="mqtt").rows.shape == (16, 8)
    data = f"{most}background: [grey]\n".encode()
    loaded = load_prompt_bytes(data, "prompts/set")
    with pytest.raises(ConfigErrors, match=r"^prompts/set:18:14: .* at most 512 sentences, not 513 \("):
        build_prompt_bank(loaded, *parts, source="mqtt", data=data)
    assert build_prompt_bank(loaded, *parts, source="rollback", data=data).rows.shape == (17, 8)


def test_equal_lists_have_equal_hashes_and_others_do_not() -> None:
    one, same = (PromptList(prompts=[{"id": "warm", "text": "red"}]) for _ in range(2))
    other = PromptList(prompts=[{"id": "warm", "text": "blue"}])
    assert in_memory_list(one).sha256 == in_memory_list(same).sha256
    assert in_memory_list(one).sha256 != in_memory_list(other).sha256


def test_the_store_gives_back_what_it_replaces(build: Any) -> None:
    first, second = (build(load_prompt_bytes(COLOURS, "colours.yaml")) for _ in range(2))
    store = PromptStore(first)
    assert store.current is first
    assert store.swap(second) is first
    assert store.current is second


def test_a_list_that_is_looked_for_in_part_is_told_of(
    tiny_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["red", "green"]
    builder = BankBuilder(BundleRuntime(tiny_bundle), keep_text_tower=False)
    for count in (GRAPH_ROWS, GRAPH_ROWS + 1):
        prompts = [{"id": f"p{n}", "text": words[n % 2]} for n in range(count)]
        with builder.turn():
            builder.build(in_memory_list(PromptList(prompts=prompts, background=["blue"])), "file")
    (said,) = [record.message for record in caplog.records if "object rows" in record.message]
    assert said.startswith("prompt list: has 257 object rows, and only the 256 most general")
    builder.close()
