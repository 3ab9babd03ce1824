"""From a frame's places to what happens through a flight: camera motion, tracks, ground, counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edge.counting import Counter, FrameCounts
from edge.motion import CameraMotion, MotionEstimator
from edge.tracking import TrackedPlace, Tracker, TrackerSettings

if TYPE_CHECKING:
    from edge.frames import Frame, Pixels
    from edge.geo.ground import GroundPoints
    from edge.geo.locate import Locator
    from edge.geo.pose import Pose
    from edge.lookup import FrameScores
    from firmware_cfg.prompt_list import PromptList

Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """What became of one frame's places.

    Attributes:
        tracks: the places that count, each with its track.
        ground: where they stand, in the order of `tracks`; None without a camera or a pose.
        counts: per-prompt counts, uniques, zones and crossings.
        motion_s, tracking_s: wall time of the camera's motion, and of the rest.
    """

    tracks: tuple[TrackedPlace, ...]
    ground: GroundPoints | None
    counts: FrameCounts
    motion_s: float
    tracking_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """How the camera moved since the frame before (None: not known), and the wall time that took to find."""

    motion: CameraMotion | None
    seconds: float


class Follower:
    """Takes every frame of a source in turn. Not thread-safe.

    Args:
        independent: the frames are unrelated images, of which each begins anew.
        locator: the camera, where it is described.
        embedding_width: of the model (D): how a place looks helps to know it again.
    """

    def __init__(
        self, prompt_list: PromptList, *, independent: bool, locator: Locator | None, embedding_width: int
    ) -> None:
        self._independent = independent
        self._locator = locator
        self._motion = MotionEstimator()
        settings = TrackerSettings(confirm_hits=1) if independent else None
        self._tracker = Tracker(settings, embedding_width=0 if independent else embedding_width)
        self._counter = Counter(prompt_list)
        self._last: tuple[Pose, tuple[int, int]] | None = None

    def adopt(self, prompt_list: PromptList) -> None:
        """Another list is in force: counts begin anew, tracks go on."""
        self._counter = Counter(prompt_list)

    def look(self, frame: Frame) -> Look:
        """How the camera moved from the frame that was taken last to this one. No places are needed for that.

        As the picture shows it; where it shows none (water, fog), as the telemetry tells.
        """
        if self._independent:
            return Look(None, 0.0)
        began = time.perf_counter()
        motion = self._motion.follow(frame.image)
        if motion is None:
            motion = self._flown(frame)
        self._last = None if frame.pose is None else (frame.pose, (frame.width, frame.height))
        return Look(motion, time.perf_counter() - began)

    def strange(self, look: Look) -> Pixels | None:
        """What the camera's motion does not explain, see MotionEstimator.strangeness; None if not known."""
        return None if look.motion is None else self._motion.strangeness(look.motion)

    def take(
        self,
        frame: Frame,
        scores: FrameScores,
        look: Look | None = None,
        looked_at: Sequence[Box] | None = None,
    ) -> Followed:
        """Follow one frame's places.

        Args:
            look: this frame's, where it was looked for already.
            looked_at: the parts of the frame that were looked at, see Tracker.update; None is all of it.
        """
        look = look or self.look(frame)
        began = time.perf_counter()
        if self._independent:
            self._tracker.reset()
            self._counter.reset()
        else:
            self._motion.choose([place.box for place in scores.places])
        chosen = time.perf_counter()
        size = (frame.width, frame.height)
        tracks = self._tracker.update(
            scores.places,
            frame.time_s,
            faint=scores.faint,
            motion=look.motion,
            frame_size=size,
            looked_at=looked_at,
        )
        ground = self._ground(tracks, frame.pose, size)
        counts = self._counter.update(
            tracks, scores, *size, frame.time_s, ground=ground, motion=self._tracker.motion
        )
        motion_s = look.seconds + chosen - began
        return Followed(tracks, ground, counts, motion_s, time.perf_counter() - chosen)

    def _flown(self, frame: Frame) -> CameraMotion | None:
        """The motion since the last frame that its pose and this one's tell; None without both."""
        last, size = self._last, (frame.width, frame.height)
        if self._locator is None or frame.pose is None or last is None or last[1] != size:
            return None
        from edge.geo.locate import ground_homography

        matrix = ground_homography(self._locator.camera, last[0], frame.pose, size)
        return None if matrix is None else CameraMotion(matrix)

    def _ground(
        self, tracks: tuple[TrackedPlace, ...], pose: Pose | None, size: tuple[int, int]
    ) -> GroundPoints | None:
        if self._locator is None or pose is None:
            return None
        from edge.geo.locate import stands_at

        boxes = np.array([tracked.place.box for tracked in tracks], dtype=np.float64).reshape(-1, 4)
        return self._locator.locate(stands_at(boxes, pose), pose, size)
