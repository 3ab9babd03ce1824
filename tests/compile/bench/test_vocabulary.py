"""What long lists cost: that both tasks are measured, on lists that the drone would read as it does these."""

from __future__ import annotations

import numpy as np

from compile.bench.spec import Setting
from compile.bench.vocabulary import DENSE_ROWS, LISTS, bank_of, rows, sentences
from edge.bundle.load import Bundle
from firmware_cfg.prompt_list import GRAPH_ROWS


def test_both_tasks_run_on_the_named_bundle_and_precision(tiny_bundle: Bundle) -> None:
    notes: list[str] = []
    found = rows(1, notes.append, Setting("", str(tiny_bundle.path), "", "", precision="fp32"))
    assert [(row.task, row.contender) for row in found] == [
        *(("dense prompts", str(count)) for count in DENSE_ROWS),
        *(("lookup of 300 places", str(count)) for count in LISTS),
    ]
    assert next(row.contender for row in found if row.ratio == 1.0) == "10"
    (note,) = notes
    assert note.startswith("vocabulary: openvino fp32 at 64x64")


def test_the_longest_list_is_spread_and_its_rows_are_unit_vectors(tiny_bundle: Bundle) -> None:
    bank = bank_of(tiny_bundle, max(LISTS))
    assert len(bank.rows) == max(LISTS)
    assert len(bank.graph_rows) == GRAPH_ROWS
    np.testing.assert_allclose(np.linalg.norm(sentences(tiny_bundle, 7), axis=1), 1, atol=1e-6)
