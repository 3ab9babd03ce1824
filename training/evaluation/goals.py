"""The figures of the accuracy table: what each is, and what it should reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["count", "zeroshot", "retrieval"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    dataset, kind: the evaluation it is taken from; path: where it stands in that evaluation's JSON object;
    label: what the row is called; goal: what it should reach, at least or, where `lower`, at most (None:
    shown beside another figure); share: a fraction, printed as a percentage; low, high: paths of its 95%
    interval, where the evaluation gives one.
    """

    dataset: str
    kind: Kind
    label: str
    path: tuple[str, ...]
    goal: float | None
    lower: bool = False
    share: bool = True
    low: tuple[str, ...] = ()
    high: tuple[str, ...] = ()

    def reached(self, value: float) -> bool | None:
        """Whether the goal is met, None without one; an error of a total counts in both directions."""
        if self.goal is None:
            return None
        return abs(value) <= self.goal if self.lower else value >= self.goal


def _of_class(dataset: str, name: str, label: str, goal: float | None) -> Figure:
    at = ("classes", name)
    return Figure(
        dataset,
        "count",
        f"{label}: mean absolute error",
        (*at, "mae"),
        goal,
        lower=True,
        share=False,
        low=(*at, "mae_low"),
        high=(*at, "mae_high"),
    )


def _total(dataset: str, name: str, label: str, goal: float) -> Figure:
    path = ("classes", name, "total_error")
    return Figure(dataset, "count", f"{label}: error of the total", path, goal, lower=True)


def _top1(dataset: str, goal: float) -> Figure:
    return Figure(
        dataset, "zeroshot", "zero-shot top-1", ("top1",), goal, low=("top1_low",), high=("top1_high",)
    )


FIGURES = (
    Figure(
        "rsicd",
        "retrieval",
        "mean recall",
        ("mean_recall",),
        0.2272,
        low=("mean_recall_low",),
        high=("mean_recall_high",),
    ),
    _top1("eurosat", 0.36),
    _top1("ucm_captions", 0.55),
    _top1("resisc12", 0.65),
    _of_class("cats_vehicles", "vehicle", "vehicles", 0.25),
    _of_class("hit_uav", "Person", "people", 1.0),
    _of_class("hit_uav", "Car", "cars", 0.5),
    Figure(
        "vhr10",
        "count",
        "counts of 1 to 10 that are exact",
        ("exact_1_10",),
        0.6,
        low=("exact_1_10_low",),
        high=("exact_1_10_high",),
    ),
    _of_class("aerial_cars", "car", "cars", 2.0),
    _total("aerial_cars", "car", "cars", 0.05),
    _of_class("urban_trees", "point", "trees", None),
    _total("urban_trees", "point", "trees", 0.2),
)
"""The goals of rsicd and eurosat are DOVE's 22.72 (trained on rsicd alone; GaLR reaches 18.96) and RemoteCLIP
ViT-B-32's 35.96; the others were set for this model."""
