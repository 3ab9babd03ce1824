"""How much a variant may lose against the float32 checkpoint, and what a small probe set cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.bundle.manifest import Gate


@dataclass(frozen=True, slots=True)
class Limits:
    """What passes.

    Attributes:
        cosine: least mean cosine of image embeddings, and of the embeddings of places found again.
        missing: largest share of the reference's places that are not found again within a cell.
        confusion: largest share of places found again that another prompt claims.
        count_rise: largest rise of the counting error, as a share of the reference's.
        recall_drop: largest drop of mean recall, a fraction (0.005 is half a point).
    """

    cosine: float
    missing: float
    confusion: float
    count_rise: float
    recall_drop: float


# The text tower is weight-only int8 beside every variant: its loss is in their counts and recalls too.
_FLOAT = Limits(cosine=0.999, missing=0.02, confusion=0.03, count_rise=0.05, recall_drop=0.005)
LIMITS: Mapping[str, Limits] = {
    "fp32": _FLOAT,
    "fp16": _FLOAT,
    "int8": Limits(cosine=0.99, missing=0.05, confusion=0.08, count_rise=0.05, recall_drop=0.005),
}

BY_CHANCE = 3.0
"""A set may be too small to show 5% or half a point: a loss within two standard errors of the paired
difference passes up to so many times the limit, or the few below, and never beyond. Of a large set these
errors are small, and the limit itself holds."""
SPARE_COUNTS, FEW_COUNTS = 2, 5
"""Counting errors more, in all, that are no loss, and that are none within two standard errors: on a set with
few errors one is more than any share of them."""
SPARE_ANSWERS, FEW_ANSWERS = 1, 3
"""The same for images that fall out of one of the six recalls: of few, one is more than half a point."""
SPARE_PAIRS = 1
"""Blind pairs more that are not told apart, and are no loss; beyond, a loss must lie within two standard
errors of the paired difference."""
SPARE_PLACES = 2
"""Places missing or claimed by another prompt, in all, that are no loss."""


_ROUNDING = 1e-9


def problems_of(gate: Gate, limits: Limits) -> tuple[str, ...]:
    """What exceeds the limits, a sentence each. Only the measurements of `gate` are read, not its verdict."""
    return (
        *_cosines(gate, limits),
        *_places(gate, limits),
        *_counts(gate, limits.count_rise, _rise_by_chance(gate, limits)),
        *_recall(gate, limits.recall_drop, _drop_by_chance(gate, limits)),
        *_blind_pairs(gate),
    )


def remarks_of(gate: Gate, limits: Limits) -> tuple[str, ...]:
    """What exceeds the limits and passes, because chance does as much on so small a set; a sentence each."""
    if problems_of(gate, limits):
        return ()
    found = (*_counts(gate, limits.count_rise, 0.0), *_recall(gate, limits.recall_drop, 0.0))
    return tuple(f"{sentence}: no more than chance does on so few images" for sentence in found)


def _cosines(gate: Gate, limits: Limits) -> list[str]:
    found = []
    for what, mean, lowest in (
        ("images", gate.cosine_mean, gate.cosine_min),
        ("places", gate.place_cosine_mean, gate.place_cosine_min),
    ):
        if mean is not None and mean < limits.cosine:
            found.append(
                f"mean cosine of {what} is {mean:.4f} (lowest {lowest:.4f}), wanted {limits.cosine} or more"
            )
    return found


def _places(gate: Gate, limits: Limits) -> list[str]:
    found = []
    for share, limit, what in (
        (gate.places_missing, limits.missing, "not found again"),
        (gate.prompt_confusion, limits.confusion, "claimed by another prompt"),
    ):
        allowed = max(limit, SPARE_PLACES / max(gate.places, 1))
        if share is not None and share > allowed + _ROUNDING:
            found.append(f"{share:.1%} of {gate.places} places are {what}, allowed {allowed:.1%}")
    return found


def _rise_by_chance(gate: Gate, limits: Limits) -> float:
    if not gate.counts:
        return 0.0
    share = BY_CHANCE * limits.count_rise * (gate.count_mae_reference or 0.0)
    most = max(share, FEW_COUNTS / gate.counts)
    return max(min(gate.count_mae_chance or 0.0, most), SPARE_COUNTS / gate.counts)


def _drop_by_chance(gate: Gate, limits: Limits) -> float:
    if not gate.captioned:
        return 0.0
    most = max(BY_CHANCE * limits.recall_drop, FEW_ANSWERS / (6 * gate.captioned))
    return max(min(gate.mean_recall_chance or 0.0, most), SPARE_ANSWERS / (6 * gate.captioned))


def _counts(gate: Gate, share: float, by_chance: float) -> list[str]:
    before, after = gate.count_mae_reference, gate.count_mae
    if before is None or after is None:
        return []
    rise = max(share * before, by_chance)
    if after <= before + rise + _ROUNDING:
        return []
    return [
        f"counting error rose from {before:.3f} to {after:.3f}, allowed {before + rise:.3f}"
        f" ({gate.counts} counts)"
    ]


def _recall(gate: Gate, points: float, by_chance: float) -> list[str]:
    before, after = gate.mean_recall_reference, gate.mean_recall
    if before is None or after is None:
        return []
    drop = max(points, by_chance)
    if after >= before - drop - _ROUNDING:
        return []
    return [
        f"mean recall fell from {before:.2%} to {after:.2%}, allowed {100 * drop:.2f} points"
        f" ({gate.captioned} images with sentences)"
    ]


def _blind_pairs(gate: Gate) -> list[str]:
    before, after = gate.pair_accuracy_reference, gate.pair_accuracy
    if before is None or after is None:
        return []
    drop = max(gate.pair_accuracy_chance or 0.0, SPARE_PAIRS / gate.blind_pairs)
    if after >= before - drop - _ROUNDING:
        return []
    return [
        f"pair accuracy fell from {before:.1%} to {after:.1%}, allowed {100 * drop:.1f} points"
        f" ({gate.blind_pairs} blind pairs)"
    ]
