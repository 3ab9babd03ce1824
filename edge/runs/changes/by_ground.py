"""Two runs laid over one another by their telemetry: things have places, and frames have footprints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.geo.earth import LocalPlane
from edge.runs.changes.looks import Looks, facing, inverse, transformed
from edge.runs.changes.things import Floats, Side, Thing
from edge.runs.format import footprint_pixels
from edge.runs.reader import RunFrame

_FEWEST_VOTES = 4
_VOTE_SHARE = 0.3
_SMALLEST_M = 1.0
_FEWEST_CORNERS = 6
_FULLEST = 32
"""Places of the votes' histogram that are looked through: the best of them, and those beside it."""
_CANDIDATES = 128
"""Votes of each that are tried, evenly among them."""


@dataclass(frozen=True, slots=True, eq=False)
class GroundSide:
    """A run on the plane: which frames lie how on it, and where its things are.

    extents    by frame index: (2, 2) metres, lowest and highest north, east of its footprint
    to_pixels  by frame index: (3, 3) from metres north, east to pixels
    things     a thing once, however often the flight came by
    at         (N, 2) metres north, east of each
    h_acc_m    (N,) 95% radius
    size_m     (N,) longer side of its box
    """

    side: Side
    extents: dict[int, Floats]
    to_pixels: dict[int, Floats]
    things: list[Thing]
    at: Floats
    h_acc_m: Floats
    size_m: Floats

    def looks(self, at: Floats, reach_m: Floats) -> Looks:
        """Every look of this run at places (N, 2) on the plane; a place is a thing of its own number."""
        found: list[tuple[int, int, float, float, float]] = []
        for index, matrix in self.to_pixels.items():
            frame = self.side.frames[index]
            pixels, scale = _with_scale(matrix, at)
            reach = reach_m * scale
            inside = (pixels > reach[:, None]).all(axis=1)
            inside &= (pixels < np.array([frame.width, frame.height]) - reach[:, None]).all(axis=1)
            found += [(int(n), index, *pixels[n].tolist(), float(reach[n])) for n in np.flatnonzero(inside)]
        return Looks.of(found)


def plane_of(a: Side, b: Side) -> LocalPlane | None:
    """A plane near both flights; None where one of them has no footprints."""
    first = [next((grid for f in side.frames if (grid := _grid(f)) is not None), None) for side in (a, b)]
    if first[0] is None or first[1] is None:
        return None
    latitude, longitude = first[0][np.isfinite(first[0]).all(axis=1)].mean(axis=0).tolist()
    return LocalPlane(latitude, longitude)


def on_ground(side: Side, plane: LocalPlane, prompts: set[str]) -> GroundSide:
    """Put a run on the plane. Things without a place there are left out."""
    to_pixels, extents = {}, {}
    for index, frame in enumerate(side.frames):
        placed = _placed(frame, plane)
        if placed is not None:
            to_pixels[index], extents[index] = placed
    located = [thing for thing in side.things(prompts) if thing.degrees is not None]
    at = np.array([plane.from_degrees(*thing.degrees[:2]) for thing in located if thing.degrees is not None])
    at = at.reshape(-1, 2)
    size = np.array([_size_m(thing, to_pixels, where) for thing, where in zip(located, at, strict=True)])
    groups = _same_things(located, at, size)
    things = [_joined([located[n] for n in group]) for group in groups]
    first = [group[0] for group in groups]
    h_acc = np.array([thing.degrees[2] for thing in things if thing.degrees is not None])
    centre = np.array([np.median(at[group], axis=0) for group in groups]).reshape(-1, 2)
    return GroundSide(side, extents, to_pixels, things, centre, h_acc, size[first] if len(first) else size)


def shift_between(a: GroundSide, b: GroundSide) -> tuple[Floats, float] | None:
    """How far the second flight's places lie off the first's, (2,) metres, and the residual, metres.

    Most of a position's error is the same for a whole flight. Every pair of a thing here and one of its
    prompt there, within their common accuracy, votes for the shift between them: true pairs agree on one.
    None where there is no agreement.
    """
    shifts = []
    for n, thing in enumerate(a.things):
        same = np.array([other.prompt == thing.prompt for other in b.things], np.bool_)
        apart = b.at - a.at[n]
        near = same & (np.linalg.norm(apart, axis=1) <= np.hypot(a.h_acc_m[n], b.h_acc_m))
        shifts.append(apart[near])
    votes = np.concatenate(shifts) if shifts else np.zeros((0, 2))
    if not len(votes):
        return None
    reach = max(_SMALLEST_M, float(np.median(np.concatenate([a.size_m, b.size_m]))) / 2)
    agreed = most_agreed(votes, reach)
    if len(agreed) < max(_FEWEST_VOTES, _VOTE_SHARE * min(len(a.things), len(b.things))):
        return None
    shift: Floats = np.median(agreed, axis=0)
    residual = float(np.median(np.linalg.norm(agreed - shift, axis=1)))
    return shift, residual


def most_agreed(votes: Floats, reach: float) -> Floats:
    """The votes (M, 2) round the one that most of (N, 2) others lie within reach of; N at least 1.

    Looked for only where it can be, in the fullest places of a histogram: there are as many votes as pairs
    of things, and as many pairs of votes as that squared.
    """
    cells, inside, counts = np.unique(
        np.floor(votes / reach).astype(np.int64), axis=0, return_inverse=True, return_counts=True
    )
    inside = inside.reshape(-1)
    count_of = dict(zip(map(tuple, cells.tolist()), counts.tolist(), strict=True))
    around = np.array(
        [sum(count_of.get((x + i, y + j), 0) for i in (-1, 0, 1) for j in (-1, 0, 1)) for x, y in cells]
    )
    best = votes[:0]
    for cell in np.argsort(-around, kind="stable")[:_FULLEST].tolist():
        if around[cell] <= len(best):
            break
        near = votes[(abs(cells - cells[cell]) <= 1).all(axis=1)[inside]]
        candidates = votes[inside == cell]
        for vote in candidates[:: -(-len(candidates) // _CANDIDATES)]:
            agreed = near[np.linalg.norm(near - vote, axis=1) <= reach]
            if len(agreed) > len(best):
                best = agreed
    return best


def _grid(frame: RunFrame) -> Floats | None:
    """Its footprint, where enough of it shows ground."""
    if frame.footprint is None or np.isfinite(frame.footprint[:, 0]).sum() < _FEWEST_CORNERS:
        return None
    return frame.footprint


def _placed(frame: RunFrame, plane: LocalPlane) -> tuple[Floats, Floats] | None:
    """From metres to its pixels, (3, 3), and its footprint's extent, (2, 2)."""
    import cv2

    grid = _grid(frame)
    if grid is None:
        return None
    known = np.isfinite(grid).all(axis=1)
    ground = plane.from_degrees(grid[known, 0], grid[known, 1])
    matrix, _ = cv2.findHomography(ground, footprint_pixels(frame.width, frame.height)[known])
    usable = matrix is not None and abs(np.linalg.det(matrix)) > 1e-12
    if not usable:
        return None
    extent = np.stack([ground.min(axis=0), ground.max(axis=0)])
    return facing(np.asarray(matrix, np.float64), ground.mean(axis=0)), extent


def _with_scale(matrix: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Pixels (N, 2) of places, and pixels per metre there (N,)."""
    pixels = transformed(matrix, at)
    beside = [np.linalg.norm(transformed(matrix, at + step) - pixels, axis=1) for step in ([1, 0], [0, 1])]
    scale: Floats = np.maximum(*beside)
    return pixels, scale


def _size_m(thing: Thing, to_pixels: dict[int, Floats], at: Floats) -> float:
    """Longer side of its box on the ground; a metre where no frame tells."""
    for frame, side in zip(thing.frames.tolist(), thing.sides.tolist(), strict=True):
        if frame in to_pixels:
            _, scale = _with_scale(to_pixels[frame], at[None])
            return float(side / scale[0])
    return _SMALLEST_M


def _same_things(things: Sequence[Thing], at: Floats, size_m: Floats) -> list[list[int]]:
    """Groups of tracks that are one thing: of one prompt, in one place, never seen beside one another."""
    groups: list[list[int]] = []
    for n in sorted(range(len(things)), key=lambda n: -len(things[n].frames)):
        for group in groups:
            head = group[0]
            if (
                things[head].prompt == things[n].prompt
                and np.linalg.norm(at[head] - at[n]) <= max(_SMALLEST_M, 0.6 * size_m[head])
                and not any(np.isin(things[m].frames, things[n].frames).any() for m in group)
            ):
                group.append(n)
                break
        else:
            groups.append([n])
    return groups


def _joined(things: Sequence[Thing]) -> Thing:
    if len(things) == 1:
        return things[0]
    frames = np.concatenate([thing.frames for thing in things])
    order = np.argsort(frames, kind="stable")
    return Thing(
        things[0].prompt,
        tuple(track for thing in things for track in thing.tracks),
        frames[order],
        np.concatenate([thing.boxes for thing in things])[order],
        np.concatenate([thing.scores for thing in things])[order],
        np.median([thing.degrees for thing in things if thing.degrees is not None], axis=0),
    )


def reach_m(here: GroundSide, there: GroundSide, residual: float | None) -> Floats:
    """(N,) metres: how far off the other flight may find each thing of this one.

    Where the flights agree on a shift, what is left of the error, and a thing's own size; else all of both
    flights' error.
    """
    worst = float(np.median(there.h_acc_m)) if len(there.h_acc_m) else 0.0
    both = np.hypot(here.h_acc_m, worst)
    if residual is None:
        return np.maximum(both, _SMALLEST_M)
    left = np.maximum(0.6 * here.size_m, 3 * residual)
    return np.minimum(np.maximum(left, _SMALLEST_M), np.maximum(both, _SMALLEST_M))


def between(here: GroundSide, frame: int, there: GroundSide, other: int, shift: Floats) -> Floats | None:
    """(3, 3) from pixels of a frame of one flight to those of one of the other; None without footprints."""
    if frame not in here.to_pixels or other not in there.to_pixels:
        return None
    moved = np.eye(3)
    moved[:2, 2] = shift
    matrix: Floats = there.to_pixels[other] @ moved @ inverse(here.to_pixels[frame])
    return matrix
