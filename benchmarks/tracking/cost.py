"""What one frame costs: trackers by number of objects, and the camera's motion by frame size."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.tracking.detections import THRESHOLD
from benchmarks.tracking.grounds import Ground
from benchmarks.tracking.rivals import ByteTrack, Ours, Rival
from benchmarks.tracking.scenes import FPS, Look
from edge.frames import I420Image, RgbImage
from edge.lookup import Place
from edge.motion import MotionEstimator

COUNTS = (50, 100, 300, 1000)
_FRAMES = 40
_WARM_UP = 10
WIDTH = 384
"""Numbers of an embedding, as many as the largest model has."""


def _flock(count: int, seed: int) -> list[tuple[Place, ...]]:
    """Frames of `count` things on a 1920 x 1080 frame, moving a little, nine in ten found each time.

    They look as alike as the shipped model finds trees (decision 011): a cosine of 0.98.
    """
    dice = np.random.default_rng(seed)
    spots = dice.uniform([20, 20], [1900, 1060], (count, 2))
    sides = dice.uniform(12, 40, count)
    looks = dice.normal(0, 1, WIDTH) + dice.normal(0, 0.14, (count, WIDTH))
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    frames = []
    for _ in range(_FRAMES):
        spots = spots + dice.normal(0, 1.5, spots.shape)
        found = np.flatnonzero(dice.random(count) < 0.9)
        low, high = spots - sides[:, None] / 2, spots + sides[:, None] / 2
        boxes = np.hstack([low, high])[found].tolist()
        seen = looks[found].astype(np.float32)
        frames.append(
            tuple(
                Place("thing", 0.9, 0.0, (b[0], b[1], b[2], b[3]), embedding=look)
                for b, look in zip(boxes, seen, strict=True)
            )
        )
    return frames


def tracker_table() -> str:
    """Markdown: median milliseconds a frame, the rivals taking turns at every frame."""
    makers: dict[str, Callable[[], Rival]] = {
        "ours": lambda: Ours(with_motion=False),
        "ours with looks": lambda: Ours(with_motion=False, embedding_width=WIDTH),
        "ByteTrack": lambda: ByteTrack(FPS, THRESHOLD),
    }
    pixels = np.zeros((1080, 1920, 3), np.uint8)
    lines = [f"| objects | {' | '.join(f'{name}, ms' for name in makers)} |", "| --- " * 4 + "|"]
    for count in COUNTS:
        rivals = {name: make() for name, make in makers.items()}
        spent: dict[str, list[float]] = {name: [] for name in rivals}
        for number, places in enumerate(_flock(count, count)):
            for name, rival in rivals.items():
                began = time.perf_counter()
                rival.update(pixels, places, (), number / FPS)
                if number >= _WARM_UP:
                    spent[name].append(time.perf_counter() - began)
        cells = [f"{1e3 * statistics.median(times):.2f}" for times in spent.values()]
        lines.append(f"| {count} | {' | '.join(cells)} |")
    return "\n".join([*lines, f"\nMedians at a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"])


def motion_table(ground: Ground) -> str:
    """Markdown: median milliseconds of the camera's motion, as decoders hand frames out and as RGB."""
    import cv2

    lines = ["| frame | YUV 4:2:0, ms | RGB, ms |", "| --- " * 3 + "|"]
    for width, height in ((960, 540), (1280, 720), (1920, 1080), (3840, 2160)):
        spent: tuple[list[float], list[float]] = ([], [])
        estimators = (MotionEstimator(), MotionEstimator())
        grow = np.diag([width / 960, height / 540, 1.0])
        chroma = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
        for number in range(16):
            look = Look(1000.0, 600.0 + 12 * number).homography()
            pixels = np.asarray(cv2.warpPerspective(ground.pixels, grow @ look, (width, height)), np.uint8)
            grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
            for image, estimator, times in zip(
                (I420Image(grey, chroma, chroma), RgbImage(pixels)), estimators, spent, strict=True
            ):
                began = time.perf_counter()
                estimator.update(image)
                if number >= 4:
                    times.append(time.perf_counter() - began)
        yuv, rgb = (1e3 * statistics.median(times) for times in spent)
        lines.append(f"| {width} x {height} | {yuv:.2f} | {rgb:.2f} |")
    return "\n".join(lines)
