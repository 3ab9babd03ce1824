"""Trackers behind one face: ours with and without the camera's motion, and roboflow's ByteTrack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.frames import RgbImage
from edge.lookup import Place
from edge.motion import MotionEstimator
from edge.tracking import Tracker

Tracked = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Boxes (N, 4) of what counts as a thing, and their ids (N,)."""


class Rival(Protocol):
    """A tracker that is fed every frame."""

    def update(
        self, pixels: NDArray[np.uint8], places: Sequence[Place], faint: Sequence[Place], time_s: float
    ) -> Tracked: ...


class Ours:
    """The drone's tracker."""

    def __init__(self, *, with_motion: bool, embedding_width: int = 0) -> None:
        self._tracker = Tracker(embedding_width=embedding_width)
        self._estimator = MotionEstimator() if with_motion else None

    def update(
        self, pixels: NDArray[np.uint8], places: Sequence[Place], faint: Sequence[Place], time_s: float
    ) -> Tracked:
        """See Rival."""
        motion = None
        if self._estimator is not None:
            motion = self._estimator.update(RgbImage(pixels), [place.box for place in places])
        size = (pixels.shape[1], pixels.shape[0])
        tracked = self._tracker.update(places, time_s, faint=faint, motion=motion, frame_size=size)
        sure = [item for item in tracked if item.confirmed]
        boxes = np.array([item.place.box for item in sure], np.float64).reshape(-1, 4)
        return boxes, np.array([item.track_id for item in sure], np.int64)


class ByteTrack:
    """roboflow's, which knows nothing of the camera; settings as the benchmark chose them on other scenes."""

    def __init__(
        self,
        fps: float,
        threshold: float,
        *,
        iou: float = 0.05,
        hits: int = 3,
        buffer: int = 60,
    ) -> None:
        from trackers import ByteTrackTracker

        self._tracker = ByteTrackTracker(
            lost_track_buffer=buffer,
            frame_rate=fps,
            track_activation_threshold=threshold,
            high_conf_det_threshold=threshold,
            minimum_consecutive_frames=hits,
            minimum_iou_threshold=iou,
        )

    def update(
        self, pixels: NDArray[np.uint8], places: Sequence[Place], faint: Sequence[Place], time_s: float
    ) -> Tracked:
        """See Rival."""
        import supervision as sv

        found = [*places, *faint]
        boxes = np.array([place.box for place in found], np.float64).reshape(-1, 4)
        scores = np.array([place.score for place in found])
        tracked = self._tracker.update(sv.Detections(xyxy=boxes, confidence=scores))
        ids = np.asarray(tracked.tracker_id, np.int64)
        return np.asarray(tracked.xyxy, np.float64)[ids >= 0], ids[ids >= 0]
