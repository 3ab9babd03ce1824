"""Lists of more rows than the graph takes: what it gets, and that the host reads the rest as it would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.engines import EngineOutput
from edge.lookup import frame_cosines, place_logits
from edge.prompts import spread as module
from edge.prompts.bank import BACKGROUND_BIAS, PromptBank, RowLayout
from edge.prompts.spread import NO_PEAK, SpreadRows, most_general
from firmware_cfg.errors import EngineError
from firmware_cfg.prompt_list import PromptList

WIDTH, PLACES = 6, 5


@dataclass(frozen=True)
class Facts:
    image_sizes = ((64, 64),)
    stride: int = 8
    embedding_width: int = WIDTH
    row_width: int = WIDTH + 2
    logit_scale: float = 7.0
    logit_bias: float = -2.0


def unit_rows(count: int, seed: int = 0) -> np.ndarray:
    """(count, D + E) unit rows with empty position columns."""
    rows = np.random.default_rng(seed).normal(size=(count, WIDTH + 2)).astype(np.float32)
    rows[:, WIDTH:] = 0
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def bank_of(rows: np.ndarray, objects: int, scenes: int) -> PromptBank:
    """A bank of one-row prompts: the first are objects, then scenes, the rest is background."""
    names = [f"p{number}" for number in range(objects + scenes)]
    layout = RowLayout(
        object_ids=tuple(names[:objects]),
        object_starts=np.arange(objects),
        scene_ids=tuple(names[objects:]),
        scene_starts=np.arange(objects, objects + scenes),
        scene_begin=objects,
        background_begin=objects + scenes,
        end=len(rows),
    )
    bias = np.zeros(len(rows), np.float32)
    bias[objects:] = BACKGROUND_BIAS
    return PromptBank(
        prompt_list=PromptList(prompts=[{"id": name, "text": name} for name in names]),
        list_sha256="0" * 64,
        rows=rows,
        bias=bias,
        row_owner=np.zeros(len(rows), np.int64),
        thresholds={},
        review_below={},
        object_thresholds=np.full(objects, 0.5),
        layout=layout,
        spread=SpreadRows.of(rows, bias, layout, Facts()),
    )


def graph(rows: np.ndarray, bias: np.ndarray, peaks: np.ndarray, seed: int = 1) -> EngineOutput:
    """What the graph says about one image whose rows peak where `peaks` (PLACES, rows) says."""
    random = np.random.default_rng(seed)
    embedding = unit_rows(1, seed)[:, :WIDTH]
    cells = np.concatenate([unit_rows(PLACES, seed)[:, :WIDTH], random.normal(size=(PLACES, 2))], axis=1)
    cells = cells.astype(np.float32)
    logits = np.float32(7) * cells @ rows.T - 2 + bias
    counts = peaks | (bias <= BACKGROUND_BIAS / 2)
    return EngineOutput(
        scene=embedding @ rows[:, :WIDTH].T,
        embedding=embedding,
        place_box=np.zeros((1, PLACES, 4), np.float32),
        place_embedding=cells[None],
        place_logit=np.where(counts, logits, NO_PEAK).astype(np.float32)[None],
    )


@pytest.fixture(autouse=True)
def small_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRAPH_ROWS", 4)


def test_a_list_that_fits_is_not_spread() -> None:
    assert bank_of(unit_rows(4), 3, 0).spread is None


def test_scenes_and_background_are_read_as_the_graph_would_read_them() -> None:
    rows = unit_rows(9)
    bank = bank_of(rows, 4, 2)
    np.testing.assert_array_equal(bank.graph_rows, rows[:4])
    peaks = np.random.default_rng(2).random((PLACES, 9)) < 0.5
    whole = graph(rows, bank.bias, peaks)
    got = graph(bank.graph_rows, bank.graph_bias, peaks[:, :4])
    expected = whole.place_logit[0] - bank.bias
    np.testing.assert_allclose(place_logits(got, 0, bank), expected, atol=2e-4)  # -1000 takes digits away
    np.testing.assert_allclose(frame_cosines(got, 0, bank), whole.scene[0, 4:6], atol=1e-6)


def test_an_object_row_counts_where_the_one_that_stands_for_it_peaks() -> None:
    base = unit_rows(4, seed=3)
    near = base + 0.01 * unit_rows(4, seed=4)
    rows = np.concatenate([base, near / np.linalg.norm(near, axis=1, keepdims=True)])
    bank = bank_of(rows, 8, 0)
    assert bank.spread is not None
    pairs = bank.spread.stands_for
    np.testing.assert_array_equal(pairs[:4], pairs[4:])  # one of each pair of twins is in the graph
    peaks = np.random.default_rng(5).random((PLACES, 4)) < 0.5
    got = place_logits(graph(bank.graph_rows, bank.graph_bias, peaks), 0, bank)
    np.testing.assert_array_equal(got > NO_PEAK / 2, peaks[:, pairs])
    exact = np.float32(7) * graph(rows, bank.bias, np.ones((PLACES, 8), bool)).place_embedding[0] @ rows.T - 2
    np.testing.assert_allclose(got[got > NO_PEAK / 2], exact[got > NO_PEAK / 2], atol=1e-5)
    assert (got[got <= NO_PEAK / 2] == NO_PEAK).all()


def test_a_list_of_scenes_alone_still_gives_the_graph_a_row() -> None:
    bank = bank_of(unit_rows(6), 0, 5)
    assert bank.graph_rows.shape == (1, WIDTH + 2)
    assert bank.graph_bias.tolist() == [BACKGROUND_BIAS]
    output = graph(bank.graph_rows, bank.graph_bias, np.zeros((PLACES, 1), bool))
    np.testing.assert_allclose(frame_cosines(output, 0, bank), output.embedding[0] @ bank.rows[:5, :WIDTH].T)


def test_an_output_of_other_rows_is_refused() -> None:
    bank = bank_of(unit_rows(9), 9, 0)
    output = graph(bank.rows, bank.bias, np.zeros((PLACES, 9), bool))
    with pytest.raises(EngineError, match="output has 9 rows but the prompt bank 4"):
        place_logits(output, 0, bank)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_the_most_general_rows_are_chosen_greedily(rows: int, count: int, seed: int) -> None:
    every = unit_rows(rows, seed)
    likeness = every @ every.T
    covered, gains = np.full(rows, -1, np.float32), []
    for _ in range(min(count, rows)):  # the plain way, all gains anew each time
        gain = np.maximum(likeness - covered, 0).sum(axis=1)
        gains.append(float(gain.max()))
        covered = np.maximum(covered, likeness[gain.argmax()])
    chosen = most_general(every, count)
    assert len(set(chosen.tolist())) == min(count, rows)
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_allclose(likeness[chosen].max(axis=0).sum(), covered.sum(), rtol=1e-4)
