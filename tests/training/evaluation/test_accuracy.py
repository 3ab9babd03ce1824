from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from firmware_cfg.errors import UsageError
from training.evaluation import accuracy
from training.evaluation.accuracy import evaluate_accuracy, models_and_root
from training.evaluation.count import evaluate_count
from training.evaluation.goals import FIGURES, Figure
from training.evaluation.tables import accuracy_table, count_table

SHIP = ("ship", (20, 20, 44, 40), 90)
SHIP_2 = ("ship", (200, 100, 230, 120), 60)

ROWS = (
    Figure(
        "harbour",
        "count",
        "ships: mean absolute error",
        ("classes", "ship", "mae"),
        0.25,
        lower=True,
        share=False,
        low=("classes", "ship", "mae_low"),
        high=("classes", "ship", "mae_high"),
    ),
    Figure(
        "harbour", "count", "ships: error of the total", ("classes", "ship", "total_error"), 0.05, lower=True
    ),
    Figure(
        "harbour", "count", "cars: error of the total", ("classes", "car", "total_error"), 0.05, lower=True
    ),
    Figure("lake", "count", "counts of 1 to 10 that are exact", ("exact_1_10",), 0.9),
)


def printed(table: Table) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


@pytest.fixture
def root(blob_set, drawn) -> Path:
    both = [drawn((SHIP, SHIP_2)), drawn((SHIP,))]
    blob_set("lake", val=both, test=both)
    return blob_set("harbour", val=both, test=both).parent


def test_the_table_holds_every_figure_of_every_model(blob_subject, root: Path) -> None:
    near_sighted = blob_subject("checkpoint", smallest=30)
    report = evaluate_accuracy([blob_subject(), near_sighted], root, figures=ROWS)
    mae, total, cars, exact = report.rows
    assert [value and value.value for value in mae.values] == [0.0, 1.5]
    assert (mae.n, mae.difference) == (2, 1.5)
    assert [value and value.value for value in total.values] == [0.0, -1.0]
    assert cars.values == (None, None)  # there are none: no error of their total
    assert cars.difference is None
    assert [value and value.value for value in exact.values] == [1.0, 0.0]
    assert report.largest_difference(share=False) is mae
    assert report.same_counts == pytest.approx(2 / 3)  # of ships none, of planes and cars all
    document = report.as_json()
    assert document["n"] == 4
    assert [model["kind"] for model in document["models"]] == ["bundle", "checkpoint"]
    assert [row["reached"] for row in document["table"]] == [
        [True, False],
        [True, False],
        [None, None],
        [True, False],
    ]
    assert document["largest_difference"]["errors"]["difference"] == 1.5
    text = printed(accuracy_table(report))
    assert "0.00 (0.00-0.00) reached" in text
    assert "1.50" in text
    assert "66.7% of 12 counts are the same" in " ".join(text.split())


def test_models_that_count_alike_agree(blob_subject, root: Path) -> None:
    report = evaluate_accuracy(
        [blob_subject(platt=(0.5, -1.0)), blob_subject("checkpoint")], root, figures=ROWS
    )
    assert report.same_counts == 1.0
    assert {row.difference for row in report.rows} == {0.0, None}
    alone = evaluate_accuracy([blob_subject()], root, figures=ROWS)
    assert alone.same_counts is None
    assert alone.largest_difference(share=True) is None


def test_the_first_model_chooses_the_input_of_all(blob_subject, blob_set, drawn) -> None:
    small = [drawn((("car", (50, 50, 58, 58), 90),)), drawn()]
    root = blob_set("small", val=small, test=small).parent
    figure = Figure("small", "count", "cars", ("classes", "car", "mae"), 0.1, lower=True, share=False)
    second = blob_subject("checkpoint")
    evaluate_accuracy([blob_subject(smallest=11), second], root, figures=[figure])
    assert set(second.runtime.sizes) == {(480, 384)}


def test_a_stopped_run_goes_on_and_trusts_only_its_own_model(
    blob_subject, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    measure = accuracy._measure

    def counted(subject, folder, kind, size):
        measured.append(folder.name)
        if len(measured) == 2 and fail:
            raise KeyboardInterrupt
        return measure(subject, folder, kind, size)

    monkeypatch.setattr(accuracy, "_measure", counted)
    out, fail = tmp_path / "kept", True
    with pytest.raises(KeyboardInterrupt):
        evaluate_accuracy([blob_subject()], root, figures=ROWS, out=out)
    fail = False
    report = evaluate_accuracy([blob_subject()], root, figures=ROWS, out=out)
    assert measured == ["harbour", "lake", "lake"]
    assert report.as_json() == evaluate_accuracy([blob_subject()], root, figures=ROWS, out=out).as_json()
    assert len(measured) == 3
    evaluate_accuracy([blob_subject(platt=(2.0, 0.0))], root, figures=ROWS, out=out)
    assert len(measured) == 5
    for file in out.iterdir():
        assert json.loads(file.read_text())["document"]["n"] == 2


def test_one_set_can_be_measured_alone(blob_subject, root: Path) -> None:
    report = evaluate_accuracy([blob_subject()], root, figures=ROWS, only=["lake"])
    assert [row.figure.dataset for row in report.rows] == ["lake"]
    with pytest.raises(UsageError, match=r"no figure is taken from lak \(did you mean lake\?\)"):
        evaluate_accuracy([blob_subject()], root, figures=ROWS, only=["lak"])


def test_the_last_path_may_be_the_data_root(tmp_path: Path) -> None:
    model, data = tmp_path / "model", tmp_path / "data"
    model.mkdir()
    data.mkdir()
    (model / "model.json").write_text("{}")
    assert models_and_root([Path("default"), model, data]) == ([Path("default"), model], data)
    weights = tmp_path / "RemoteCLIP-ViT-B-32.pt"
    weights.touch()
    assert models_and_root([Path("default"), weights, data]) == ([Path("default"), weights], data)
    assert models_and_root([weights, data])[0] == [weights]
    with pytest.raises(UsageError, match="neither a bundle nor a checkpoint"):
        models_and_root([data])


def test_every_figure_of_the_product_is_named_once_and_can_be_judged() -> None:
    assert len({(figure.dataset, figure.label) for figure in FIGURES}) == len(FIGURES)
    error = next(f for f in FIGURES if f.dataset == "urban_trees" and f.share)
    assert [error.reached(value) for value in (-0.3, -0.1, 0.2, 0.21)] == [False, True, True, False]
    top1 = next(f for f in FIGURES if f.dataset == "eurosat")
    assert [top1.reached(value) for value in (0.35, 0.36)] == [False, True]


def test_the_count_table_marks_where_thresholds_come_from(blob_subject, root: Path) -> None:
    report = evaluate_count(blob_subject(), root / "lake", by_name=["plane"])
    text = printed(count_table([report]))
    assert "*" in text
    assert "°" in text
    assert "true number 1-2" in text
    assert np.isclose(report.classes["plane"].threshold, 0.5)
