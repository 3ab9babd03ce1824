"""How odd what the camera shows is beside the pictures that the model was calibrated on: a share, 0 to 1.

A frame's distance is one minus the mean cosine between its embedding and its NEIGHBOURS nearest in the
bundle's null bank: the detector of Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors",
ICML 2022. It is told as a share: how many pictures of the bank lie nearer to the rest of the bank. The gauge
is the median of that share over the newest frames, so that one odd picture moves nothing. ALARM is where the
median frame is odder than 95% of the bank. Below it the number ranks pictures and no more: the bank is mixed,
and sets of the training recipe stand anywhere from 0.09 to 0.94.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edge.bundle.calibration import Calibration
    from edge.engines.base import F32

NEIGHBOURS = 5
WINDOW = 30
"""Frames; three seconds at 10 frames a second."""
ALARM = 0.95
"""The gauge at which the model counts as out of its terrain; docs/decisions/016 shows what that catches."""
_FEWEST = 20
"""Pictures of a null bank: with fewer, a share of them says nothing."""


class DriftGauge:
    """Takes the embedding of every frame and says how odd the newest ones are. `value` is for any thread.

    Args:
        calibration: the bundle's. With fewer than 20 null scenes there is nothing to compare with, and
            `value` stays None.
        window: how many frames the median is over, at least 1.
    """

    def __init__(self, calibration: Calibration, window: int = WINDOW) -> None:
        self._bank = _unit(calibration.null_scenes)
        self._recent: deque[float] = deque(maxlen=window)
        self._all: list[int] = [0] * 101  # frames by percent, for the flight as a whole
        self._lock = threading.Lock()
        self._own: F32 | None = None
        if len(self._bank) >= _FEWEST:
            cosines = self._bank @ self._bank.T
            np.fill_diagonal(cosines, -np.inf)  # leave one out: a picture is no neighbour of itself
            self._own = np.sort(_nearness(cosines))

    def take(self, embedding: F32) -> float | None:
        """Take one frame in.

        Args:
            embedding: (D,) float32, the frame's own.

        Returns:
            The frame's share, 0 to 1; None where the bundle has nothing to compare with, or where the
            embedding has no length.
        """
        norm = float(np.linalg.norm(embedding))
        if self._own is None or not 0 < norm < np.inf:
            return None
        near = _nearness((self._bank @ (embedding / np.float32(norm)))[None])
        share = 1.0 - float(np.searchsorted(self._own, near)[0]) / len(self._own)
        with self._lock:
            self._recent.append(share)
            self._all[round(100 * share)] += 1
        return share

    @property
    def value(self) -> float | None:
        """Median share of the newest frames, 0 to 1; None before the first one."""
        with self._lock:
            return float(np.median(self._recent)) if self._recent else None

    @property
    def median(self) -> float | None:
        """Median share of all frames so far, to a hundredth; None before the first one."""
        with self._lock:
            total = np.cumsum(self._all)
        return None if total[-1] == 0 else float(np.searchsorted(total, total[-1] / 2)) / 100


def drift_line(value: float) -> str:
    """What the gauge says, for people."""
    out = value >= ALARM
    return f"drift {value:.2f}" + (": out of the model's terrain, check what it counts" if out else "")


def _unit(rows: F32) -> F32:
    unit: F32 = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    return unit


def _nearness(cosines: F32) -> F32:
    """(N, K) cosines -> (N,) mean of each row's NEIGHBOURS largest."""
    nearest: F32 = np.partition(cosines, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:].mean(axis=1)
    return nearest
