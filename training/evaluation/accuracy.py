"""`make accuracy`: every figure that README and the model card quote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bundle import Bundle
from training.evaluation.count import CountReport, evaluate_count
from training.evaluation.scenes import RetrievalReport, ZeroShotReport, evaluate_retrieval, evaluate_zeroshot

COUNTING = ("cats_vehicles", "aerial_cars", "hit_uav", "vhr10")
ZERO_SHOT = ("eurosat", "ucm_captions", "resisc12")
RETRIEVAL = ("rsicd",)


@dataclass(frozen=True, slots=True)
class AccuracyReport:
    """The reports of all sets."""

    counts: list[CountReport]
    zeroshot: list[ZeroShotReport]
    retrieval: list[RetrievalReport]

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last; n is the number of images of all sets."""
        groups = {"count": self.counts, "zeroshot": self.zeroshot, "retrieval": self.retrieval}
        document: dict[str, Any] = {"n": sum(report.n for reports in groups.values() for report in reports)}
        for kind, reports in groups.items():
            document[kind] = {report.dataset: report.as_json() for report in reports}
        return document


def evaluate_all(bundle: Bundle, root: Path) -> AccuracyReport:
    """Counting, zero-shot and retrieval on the held-back data of the root."""
    return AccuracyReport(
        [evaluate_count(bundle, root / name, "test") for name in COUNTING],
        [evaluate_zeroshot(bundle, root / name) for name in ZERO_SHOT],
        [evaluate_retrieval(bundle, root / name) for name in RETRIEVAL],
    )
