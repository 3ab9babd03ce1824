"""`remoteclip changes`: what appeared and what vanished between two flights over one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.geo.earth import LocalPlane
from edge.runs.changes import by_ground, by_picture
from edge.runs.changes.area import areas
from edge.runs.changes.by_ground import GroundSide
from edge.runs.changes.judge import Between, Change, Judged, Way, found_share
from edge.runs.changes.things import Floats, Side, common_prompts
from edge.runs.format import RunError
from edge.runs.reader import Run


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two runs came to.

    Attributes:
        way: how they were laid over one another.
        changes: surest first.
        kept: things that both show, by prompt; unsure: that cannot be told; unseen: that the other flight
            never looked at, and of which nothing is said. First run, second run.
        area_m2: seen by the first, by the second, by both; None without telemetry.
        pictures: pairs of kept pictures that show one ground; None with telemetry.
        shift_m: north, east of the second's positions against the first's; None where nothing tells.
        prompts: that were compared; others: that only one looked for, or in other words.
    """

    way: Way
    changes: tuple[Change, ...]
    kept: tuple[int, int]
    unsure: tuple[int, int]
    unseen: tuple[int, int]
    area_m2: tuple[float, float, float] | None
    pictures: int | None
    shift_m: tuple[float, float] | None
    prompts: tuple[str, ...]
    others: tuple[str, ...]


def compare_runs(first: Run, second: Run, *, use_telemetry: bool = True) -> Comparison:
    """Compare two runs.

    A thing has changed when its own flight found it in at least SURE_SHARE of its looks, and the other in at
    most GONE_SHARE of at least FEWEST_LOOKS. The confidence is the difference of the two shares, times the
    chance that as many looks would have found it, were it there.

    Raises:
        RunError: one is damaged, empty or of unrelated images, they are of two models, looked for nothing in
            common, or show no ground in common.
    """
    for run in (first, second):
        if run.about.independent:
            raise RunError(
                f"{run.path}: is of unrelated images, in which no thing is followed"
                " (record it with remoteclip count --sequence)"
            )
    if first.about.bundle_sha256 != second.about.bundle_sha256:
        models = f"{first.about.bundle_sha256[:12]} and {second.about.bundle_sha256[:12]}"
        raise RunError(
            f"{first.path} and {second.path}: recorded with two models, {models} (record one of them again)"
        )
    a, b = Side(first), Side(second)
    prompts, others = common_prompts(a, b)
    plane = by_ground.plane_of(a, b) if use_telemetry else None
    if plane is None:
        return _by_picture(a, b, prompts, others)
    return _by_ground(a, b, plane, prompts, others)


def _by_ground(a: Side, b: Side, plane: LocalPlane, prompts: set[str], others: set[str]) -> Comparison:
    on_a, on_b = by_ground.on_ground(a, plane, prompts), by_ground.on_ground(b, plane, prompts)
    found = by_ground.shift_between(on_a, on_b)
    shift, residual = (np.zeros(2), None) if found is None else found
    area = areas(on_a, on_b, shift)
    if not area[2]:
        raise RunError(f"{a.run.path} and {b.run.path}: the two flights saw no ground in common")
    judged = []
    for here, there, way in ((on_a, on_b, shift), (on_b, on_a, -shift)):
        reach = by_ground.reach_m(here, there, residual)
        own = found_share(here.looks(here.at, reach), here.things, here.side)
        looks = there.looks(here.at + way, reach)
        judged.append(
            Judged(
                here.side, there.side, here.things, own, looks, "ground", _through_ground(here, there, way)
            )
        )
    return _comparison(judged, prompts, others, area=area, shift=None if found is None else shift)


def _by_picture(a: Side, b: Side, prompts: set[str], others: set[str]) -> Comparison:
    pictures = [by_picture.pictures_of(side) for side in (a, b)]
    pairs = by_picture.match_pictures(*pictures)
    if not pairs:
        raise RunError(
            f"{a.run.path} and {b.run.path}: no two of their pictures show one ground"
            " (record with telemetry, or more pictures: record: {thumbnail_every: 1s})"
        )
    judged = []
    for here, there, mine, back in ((a, b, pictures[0], False), (b, a, pictures[1], True)):
        things = here.things(prompts)
        again = by_picture.looks(things, by_picture.match_pictures(mine, mine), here, back=False)
        own = found_share(again, things, here)
        looks = by_picture.looks(things, pairs, there, back=back)
        known = by_picture.matrices(pairs, back=back)
        judged.append(Judged(here, there, things, own, looks, "picture", _known(known)))
    return _comparison(judged, prompts, others, pictures=len(pairs))


def _comparison(
    judged: Sequence[Judged],
    prompts: set[str],
    others: set[str],
    *,
    area: tuple[float, float, float] | None = None,
    pictures: int | None = None,
    shift: Floats | None = None,
) -> Comparison:
    gone, kept_a, unsure_a, unseen_a = judged[0].judge("vanished")
    come, kept_b, unsure_b, unseen_b = judged[1].judge("appeared")
    return Comparison(
        way=judged[0].way,
        changes=tuple(sorted(gone + come, key=lambda change: -change.confidence)),
        kept=(kept_a, kept_b),
        unsure=(unsure_a, unsure_b),
        unseen=(unseen_a, unseen_b),
        area_m2=area,
        pictures=pictures,
        shift_m=None if shift is None else (float(shift[0]), float(shift[1])),
        prompts=tuple(sorted(prompts)),
        others=tuple(sorted(others)),
    )


def _through_ground(here: GroundSide, there: GroundSide, shift: Floats) -> Between:
    return lambda frame, other: by_ground.between(here, frame, there, other, shift)


def _known(matrices: Mapping[tuple[int, int], Floats]) -> Between:
    return lambda frame, other: matrices.get((frame, other))
