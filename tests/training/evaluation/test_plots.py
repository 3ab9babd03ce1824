from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from firmware_cfg.errors import UsageError
from training.evaluation.plots import Curve, check_plot, confusion_figure, curves_figure, save_figure


def test_a_confusion_matrix_shows_each_row_in_percent(tmp_path: Path) -> None:
    figure = confusion_figure(np.array([[3, 1], [0, 0]]), ["ship", "plane"], "two classes")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["75", "25"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ship (4)", "plane (0)"]
    save_figure(figure, tmp_path / "matrix.png")
    picture = cv2.imread(str(tmp_path / "matrix.png"))
    assert picture is not None
    assert [path.name for path in tmp_path.iterdir()] == ["matrix.png"]


def test_a_large_matrix_has_no_numbers() -> None:
    assert not confusion_figure(np.eye(30, dtype=np.int64), [f"c{i}" for i in range(30)], "").axes[0].texts


def test_curves_have_a_tick_at_every_point_and_their_intervals(tmp_path: Path) -> None:
    curve = Curve("linear", [1, 4, 32], [0.3, 0.5, 0.7], [0.2, 0.4, 0.6], [0.4, 0.6, 0.8])
    figure = curves_figure([curve], "few-shot", ("shots", "top-1"), {"zero-shot": 0.4})
    axes = figure.axes[0]
    assert axes.get_xticks().tolist() == [1, 4, 32]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["linear", "zero-shot"]
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.2, 0.8)
    save_figure(figure, tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_text().lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("name", "message"),
    [("figure.gif", r"a figure is one of \.png"), ("no/figure.png", "there is no folder")],
)
def test_a_figure_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_plot(tmp_path / name)
