from __future__ import annotations

from pathlib import Path

import pytest

from compile.distill.options import Weights, round_of, stated_weights, unlabelled_folders
from firmware_cfg.errors import UsageError


def test_stated_weights_take_the_place_of_the_defaults() -> None:
    assert stated_weights(["feature=10", "box=0"]) == Weights(feature=10, box=0)
    assert stated_weights([]) == Weights(feature=2000, interactive=1, affinity=1, dense=1, box=0.3)


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ("relation=1", r"no such loss \(they are feature, interactive, affinity, dense, box\)"),
        ("feature", "write NAME=NUMBER"),
        ("feature=much", "write NAME=NUMBER"),
        ("dense=-1", "from 0 upwards"),
        ("dense=nan", "from 0 upwards"),
        ("dense=inf", "from 0 upwards"),
    ],
)
def test_a_weight_that_cannot_be_is_refused(stated: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        stated_weights([stated])


@pytest.mark.parametrize(
    ("steps", "asked", "found"), [(300, None, 300), (5000, None, 1000), (5000, 2000, 2000)]
)
def test_the_teachers_round_is_no_longer_than_the_run(steps: int, asked: int | None, found: int) -> None:
    assert round_of(steps, asked) == found


def test_unlabelled_images_need_a_folder() -> None:
    assert unlabelled_folders([], None) == 0
    assert unlabelled_folders([Path("a")], None) == 8
    assert unlabelled_folders([Path("a")], 3) == 3
    with pytest.raises(UsageError, match="--images FOLDER"):
        unlabelled_folders([], 3)
