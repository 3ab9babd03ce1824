"""Two runs laid over one another without telemetry: by what their kept pictures show.

Pictures whose embeddings are near are candidates; SIFT features and a homography by RANSAC (Fischler and
Bolles, 1981) say whether they show one ground, and where a pixel of the one lies in the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.engines.base import F32
from edge.runs.changes.looks import Looks, facing, inverse, transformed
from edge.runs.changes.things import Floats, Side, Thing

CANDIDATES = 6
"""Pictures of the other flight that each is held against."""
FEATURES = 1500
RATIO = 0.8
"""Lowe's test: the nearest feature is clearly nearer than the second."""
INLIERS = 25
_TOLERANCE_PX = 4.0
_MOST_SCALE = 4.0
_REACH = 0.75
"""Share of a box's longer side that a thing may be off."""
_SLACK_PX = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Frames of the two runs that show one ground, by index, and (3, 3) from pixels of the first to those of
    the second."""

    first: int
    second: int
    matrix: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """The kept pictures of a run as they are matched.

    frames      (P,) indices of the frames that have one
    embeddings  (P, D) float32 unit embeddings of these frames
    features    of each: (N, 2) pixels of the frame, and (N, 128) descriptors
    """

    frames: list[int]
    embeddings: F32
    features: list[tuple[Floats, Any]]


def pictures_of(side: Side) -> Pictures:
    """Find the features of every kept picture."""
    frames = [index for index, frame in enumerate(side.frames) if frame.has_thumbnail]
    return Pictures(frames, side.run.embeddings()[frames], [_features(side, index) for index in frames])


def match_pictures(a: Pictures, b: Pictures) -> list[Pair]:
    """Every pair of kept pictures that show one ground; of a run with itself, each also with itself."""
    import cv2

    matcher = cv2.BFMatcher(cv2.NORM_L2)
    near = a.embeddings @ b.embeddings.T
    pairs = []
    for row, first in enumerate(a.frames):
        for column in np.argsort(-near[row], kind="stable")[:CANDIDATES].tolist():
            second = b.frames[column]
            matrix = _homography(matcher, a.features[row], b.features[column])
            if matrix is not None:
                pairs.append(Pair(first, second, matrix))
    return pairs


def looks(things: list[Thing], pairs: list[Pair], side: Side, *, back: bool) -> Looks:
    """Every look of the frames of `side` at things of the other run, or of its own.

    Args:
        back: the things are of the second run of the pairs, and the first looks.
    """
    by_frame: dict[int, list[tuple[int, Floats]]] = {}
    for pair in pairs:
        here, there = (pair.second, pair.first) if back else (pair.first, pair.second)
        by_frame.setdefault(here, []).append((there, inverse(pair.matrix) if back else pair.matrix))
    found = []
    for n, thing in enumerate(things):
        for frame, centre, size in zip(thing.frames.tolist(), thing.centres, thing.sides, strict=True):
            for there, matrix in by_frame.get(frame, ()):
                points = centre + np.array([[0, 0], [1, 0], [0, 1]])
                at, *beside = transformed(facing(matrix, centre), points)
                reach = _REACH * size * max(np.linalg.norm(beside - at, axis=1)) + _SLACK_PX
                other = side.frames[there]
                if (at > reach).all() and (at < np.array([other.width, other.height]) - reach).all():
                    found.append((n, there, float(at[0]), float(at[1]), float(reach)))
    return Looks.of(found)


def matrices(pairs: list[Pair], *, back: bool) -> dict[tuple[int, int], Floats]:
    """By frames of one run and of the other; `back` as in `looks`."""
    if back:
        return {(pair.second, pair.first): inverse(pair.matrix) for pair in pairs}
    return {(pair.first, pair.second): pair.matrix for pair in pairs}


def _features(side: Side, index: int) -> tuple[Floats, Any]:
    """Where in the frame its features are, (N, 2) pixels, and their descriptors."""
    import cv2

    frame, grey = side.frames[index], side.picture(index)
    if grey is None:
        return np.zeros((0, 2)), None
    points, descriptors = cv2.SIFT.create(nfeatures=FEATURES).detectAndCompute(grey, None)
    scale = np.array([frame.width / grey.shape[1], frame.height / grey.shape[0]])
    return np.array([point.pt for point in points], np.float64).reshape(-1, 2) * scale, descriptors


def _homography(matcher: Any, first: tuple[Floats, Any], second: tuple[Floats, Any]) -> Floats | None:
    """From pixels of the first to those of the second; None where they do not show one ground."""
    import cv2

    if min(len(first[0]), len(second[0])) < INLIERS:
        return None
    matches = [m for m in matcher.knnMatch(first[1], second[1], k=2) if len(m) == 2]
    good = [best for best, next_best in matches if best.distance < RATIO * next_best.distance]
    if len(good) < INLIERS:
        return None
    here = first[0][[match.queryIdx for match in good]]
    there = second[0][[match.trainIdx for match in good]]
    matrix, inliers = cv2.findHomography(here, there, cv2.RANSAC, _TOLERANCE_PX)
    if matrix is None or int(inliers.sum()) < INLIERS:
        return None
    scale = np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    plausible = 1 / _MOST_SCALE < scale < _MOST_SCALE and np.linalg.det(matrix[:2, :2]) > 0
    return np.asarray(matrix, np.float64) if plausible else None
