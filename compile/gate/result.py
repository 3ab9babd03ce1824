"""What a gate found of one variant: every image's and place's figure, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compile.gate.limits import LIMITS, problems_of, remarks_of
from edge.bundle.manifest import Gate, Precision
from edge.engines.base import F32
from firmware_cfg.errors import BundleError

Counts = NDArray[np.int64]

_WIDENING = ("openvino", "onnxruntime")
"""Engines whose answers to a float16 graph are those to the float32 one to the last bits (measured)."""


@dataclass(frozen=True, slots=True, eq=False)
class GateResult:
    """One variant against the reference.

    Attributes:
        precision, engine, probe: what ran on what.
        images: (n,) file names; cosine: (n,) between the embeddings of each.
        places: places of the reference that were looked for; place_cosine: (k,) of those found again.
        names: (C,) what was asked for; confusion: (C, C) places found again, by the reference's prompt (rows)
            and the variant's.
        truth, counted_reference, counted: (n', C) numbers on annotated images; None without any.
        hits_reference, hits: (n", 6) of each image with sentences: whether it is found at 1, 5, 10 by its
            sentences, and the share of them that are found by it; None without any.
        answered_reference, answered: (Q,) blind pairs that are told apart (pairs.py); None without any.
    """

    precision: Precision
    engine: str
    probe: str
    images: tuple[str, ...]
    cosine: F32
    places: int
    place_cosine: F32
    names: tuple[str, ...]
    confusion: Counts
    truth: Counts | None
    counted_reference: Counts | None
    counted: Counts | None
    hits_reference: NDArray[np.float64] | None
    hits: NDArray[np.float64] | None
    answered_reference: NDArray[np.bool_] | None = None
    answered: NDArray[np.bool_] | None = None

    def record(self) -> Gate:
        """The figures and the verdict, as the manifest keeps them."""
        found = len(self.place_cosine)
        measured = Gate(
            probe=self.probe,
            engine=self.engine,
            images=len(self.images),
            cosine_mean=float(self.cosine.mean()),
            cosine_min=float(self.cosine.min()),
            places=self.places,
            place_cosine_mean=float(self.place_cosine.mean()) if found else None,
            place_cosine_min=float(self.place_cosine.min()) if found else None,
            places_missing=1 - found / self.places if self.places else None,
            prompt_confusion=self._confused(found),
            counts=0 if self.truth is None else self.truth.size,
            count_mae_reference=_mean(self._errors(self.counted_reference)),
            count_mae=_mean(self._errors(self.counted)),
            count_mae_chance=_chance(self._errors(self.counted), self._errors(self.counted_reference)),
            counts_changed=self._changed(),
            captioned=0 if self.hits is None else len(self.hits),
            mean_recall_reference=_mean(self.hits_reference),
            mean_recall=_mean(self.hits),
            mean_recall_chance=_chance(self.hits, self.hits_reference),
            blind_pairs=0 if self.answered is None else len(self.answered),
            pair_accuracy_reference=_share(self.answered_reference),
            pair_accuracy=_share(self.answered),
            pair_accuracy_chance=_chance(_column(self.answered), _column(self.answered_reference)),
            passed=True,
        )
        limits = LIMITS[self.precision]
        problems = problems_of(measured, limits)
        remarks = (*remarks_of(measured, limits), *self._not_shown())
        return measured.model_copy(update={"passed": not problems, "problems": problems, "remarks": remarks})

    def _not_shown(self) -> tuple[str, ...]:
        """What this engine cannot tell of the variant."""
        if self.precision != "fp16" or self.engine not in _WIDENING:
            return ()
        return (f"{self.engine} computes float16 graphs in float32 here: what rounding costs shows on a GPU",)

    def _confused(self, found: int) -> float | None:
        """None where there is nothing to take one for another."""
        return 1 - float(np.trace(self.confusion)) / found if found and len(self.names) > 1 else None

    def _errors(self, counted: Counts | None) -> NDArray[np.float64] | None:
        """(n', C) of each image and class."""
        if counted is None or self.truth is None:
            return None
        return np.asarray(np.abs(counted - self.truth), np.float64)

    def _changed(self) -> float | None:
        if self.counted is None or self.counted_reference is None:
            return None
        return float((self.counted != self.counted_reference).mean())


def regressions_of(results: Mapping[Precision, GateResult], allow_regression: bool) -> tuple[str, ...]:
    """What the manifest must say for ever of variants that failed; empty when all passed.

    Raises BundleError with every problem unless regressions are allowed.
    """
    found = tuple(
        f"{name} on {result.engine}: {problem}"
        for name, result in results.items()
        for problem in result.record().problems
    )
    if found and not allow_regression:
        raise BundleError(
            f"accuracy was lost: {'; '.join(found)} (or keep it, on record: --allow-regression)"
        )
    return found


def _mean(values: NDArray[np.float64] | None) -> float | None:
    return None if values is None else float(values.mean())


def _share(answered: NDArray[np.bool_] | None) -> float | None:
    return None if answered is None else float(answered.mean())


def _column(answered: NDArray[np.bool_] | None) -> NDArray[np.float64] | None:
    return None if answered is None else answered[:, None].astype(np.float64)


def _chance(values: NDArray[np.float64] | None, reference: NDArray[np.float64] | None) -> float | None:
    """Two standard errors of the mean difference, images being what is drawn by chance; None without any."""
    if values is None or reference is None:
        return None
    difference = (values - reference).mean(axis=1)
    return 2 * float(difference.std()) / float(np.sqrt(len(difference)))
