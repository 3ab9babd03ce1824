"""A bundle's calibration: the null bank and the two Platt fits that hold for every prompt."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from edge.files import UNREADABLE_NPZ, open_npz, write_atomically
from edge.prompts.rectification import Rectification
from firmware_cfg.errors import BundleError


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What turns raw numbers into scores, and what a prompt nobody validated is measured against.

    Attributes:
        null_cells: (K, D + E) float32 embeddings of background cells from validation images, K >= 1.
        null_scenes: (K2, D) float32 embeddings of whole validation images, K2 >= 1.
        platt_object: (a, c): an object's score is sigmoid(a * margin + c), a > 0.
        platt_scene: (a, c) on the cosine of a scene prompt, a > 0.
        false_alarm_rate_object: share of null cells that may reach a default threshold, between 0 and 1.
        false_alarm_rate_scene: the same share for null scenes.
        rectification: what prompts are given against the model's bias; a file of its own, where there is any.
    """

    null_cells: F32
    null_scenes: F32
    platt_object: tuple[float, float]
    platt_scene: tuple[float, float]
    false_alarm_rate_object: float
    false_alarm_rate_scene: float
    rectification: Rectification | None = None

    def object_score(self, margin: F32) -> F32:
        """Calibrated scores (0 to 1) of margins, any shape."""
        return _sigmoid(margin, self.platt_object)

    def scene_score(self, cosine: F32) -> F32:
        """Calibrated scores (0 to 1) of scene cosines, any shape."""
        return _sigmoid(cosine, self.platt_scene)

    def save(self, path: Path) -> None:
        """Write calibration.npz atomically; the banks as float16. Raises OSError."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            null_cells=self.null_cells.astype(np.float16),
            null_scenes=self.null_scenes.astype(np.float16),
            platt_object=np.asarray(self.platt_object, np.float64),
            platt_scene=np.asarray(self.platt_scene, np.float64),
            false_alarm_rate_object=np.float64(self.false_alarm_rate_object),
            false_alarm_rate_scene=np.float64(self.false_alarm_rate_scene),
        )
        write_atomically(path, buffer.getvalue())


def load_calibration(path: Path, embedding_width: int, position_width: int) -> Calibration:
    """Read and check calibration.npz.

    Raises:
        BundleError: not an npz file, an array is missing or of the wrong shape, or a number makes no sense.
    """
    try:
        with open_npz(path) as archive:
            calibration = Calibration(
                null_cells=_bank(archive["null_cells"], "null_cells", embedding_width + position_width),
                null_scenes=_bank(archive["null_scenes"], "null_scenes", embedding_width),
                platt_object=_platt(archive["platt_object"], "platt_object"),
                platt_scene=_platt(archive["platt_scene"], "platt_scene"),
                false_alarm_rate_object=_rate(archive["false_alarm_rate_object"], "false_alarm_rate_object"),
                false_alarm_rate_scene=_rate(archive["false_alarm_rate_scene"], "false_alarm_rate_scene"),
            )
    except UNREADABLE_NPZ as error:
        # A KeyError's text is the quoted message of numpy; its bare form reads like any other.
        detail = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise BundleError(f"{path}: unusable calibration: {detail} (compile the bundle again)") from error
    return calibration


def _sigmoid(value: F32, platt: tuple[float, float]) -> F32:
    slope, offset = platt
    # tanh does not overflow where exp(-x) would.
    half = np.asarray(value, np.float32) * np.float32(0.5 * slope) + np.float32(0.5 * offset)
    score: F32 = np.float32(0.5) * (np.float32(1) + np.tanh(half))
    return score


def _bank(array: NDArray[np.generic], name: str, width: int) -> F32:
    if array.dtype.kind != "f" or array.ndim != 2 or array.shape[0] < 1 or array.shape[1] != width:
        raise ValueError(
            f"{name} is {array.dtype} {array.shape}, expected floats of shape (1 or more, {width})"
        )
    bank = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(bank).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return bank


def _platt(array: NDArray[np.generic], name: str) -> tuple[float, float]:
    if array.dtype.kind != "f" or array.shape != (2,) or not np.isfinite(array.astype(np.float64)).all():
        raise ValueError(f"{name} must be two finite numbers")
    slope, offset = (float(number) for number in array.astype(np.float64))
    if slope <= 0:
        raise ValueError(f"{name} has slope {slope:g}; a higher logit must give a higher score")
    return slope, offset


def _rate(array: NDArray[np.generic], name: str) -> float:
    if array.dtype.kind != "f" or array.shape != () or not 0 < float(array.astype(np.float64)) < 1:
        raise ValueError(f"{name} must be one number between 0 and 1")
    return float(array.astype(np.float64))
