"""What is known of every track, and the Kalman filter that keeps it.

A thing moves at a constant velocity over the standing world, in pixels of the frame; both axes are alike and
independent, so its covariance is three numbers. All noise goes with the thing's size: whether a car is near
or far, it turns and speeds up by as many of its own lengths. Bar-Shalom, Li and Kirubarajan, "Estimation with
Applications to Tracking and Navigation", 2001, section 6.2 (continuous white noise acceleration).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.motion import CameraMotion

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Records: TypeAlias = NDArray[Any]  # of TRACK

_XY = (np.float64, (2,))
TRACK = np.dtype(
    [
        ("id", np.int64),
        ("prompt", np.int64),
        ("centre", *_XY),  # pixels of the frame
        ("size", *_XY),
        ("cut_low", np.bool_, (2,)),  # a place whose box the frame's left (upper) edge cuts off
        ("cut_high", np.bool_, (2,)),
        ("velocity", *_XY),  # pixels per second, beyond the camera's
        ("var_centre", np.float64),
        ("covar", np.float64),
        ("var_velocity", np.float64),
        ("hits", np.int64),  # sightings
        ("missed", np.int64),  # updates since the last one
        ("first_s", np.float64),
        ("seen_s", np.float64),
        ("firm_s", np.float64),  # when last seen well enough to count by itself
        ("confirmed", np.bool_),
    ]
)

_SIGHT = 0.14
"""One sigma of where a box is seen, as a share of its breadth (the shipped model's on the demo: 0.13) ..."""
_SIGHT_PX = 1.0
"""... and at least this."""
_SPEED = 1.0
"""One sigma of how fast a thing first seen may move by itself, breadths per second."""
_UNEASE, _BLIND_UNEASE = 0.4, 1.5
"""Square root of the noise density of its acceleration, breadths per second to the power 1.5: by itself, and
where the camera's own turns and zooms are in it."""


_SHORTEST_S = 1e-3


def breadth(things: Records) -> Floats:
    """Side of the square that is as large as the box, (N,) pixels."""
    side: Floats = np.sqrt(things["size"][:, 0] * things["size"][:, 1])
    return side


def sight_variance(things: Records) -> Floats:
    """Of where a box is seen, (N,) square pixels."""
    variance: Floats = (_SIGHT * breadth(things)) ** 2 + _SIGHT_PX**2
    return variance


def begin(things: Records, *, blind_s: float | None) -> None:
    """First variances of things just seen.

    `blind_s` is the time between frames where the camera's speed is not known: a thing may then move by its
    own breadth in it.
    """
    side = breadth(things)
    things["var_centre"] = sight_variance(things)
    things["covar"] = 0.0
    things["var_velocity"] = (_SPEED * side) ** 2
    if blind_s:
        things["var_velocity"] += (side / max(blind_s, _SHORTEST_S)) ** 2


def warp(tracks: Records, motion: CameraMotion) -> None:
    """Moves the standing world under the tracks."""
    if not len(tracks):
        return
    turned = motion.stretched(tracks["centre"])
    growth = np.sqrt(abs(np.linalg.det(turned))).clip(0.2, 5.0)
    tracks["centre"] = motion.moved(tracks["centre"])
    tracks["velocity"] = (turned @ tracks["velocity"][:, :, None])[:, :, 0]
    tracks["size"] *= growth[:, None]
    for variance in ("var_centre", "covar", "var_velocity"):
        tracks[variance] *= growth**2


def predict(tracks: Records, elapsed_s: float, *, blind: bool) -> None:
    """Moves the tracks by their own velocity. `blind`: nobody measured the camera's motion."""
    noise = ((_BLIND_UNEASE if blind else _UNEASE) * breadth(tracks)) ** 2
    tracks["centre"] += tracks["velocity"] * elapsed_s
    tracks["var_centre"] += (
        2 * elapsed_s * tracks["covar"] + elapsed_s**2 * tracks["var_velocity"] + noise * elapsed_s**3 / 3
    )
    tracks["covar"] += elapsed_s * tracks["var_velocity"] + noise * elapsed_s**2 / 2
    tracks["var_velocity"] += noise * elapsed_s


def completed(tracks: Records, seen: Records) -> Records:
    """The places (K,) as they would look beyond the frame's edges, were they the tracks (K,).

    A box that leaves the frame shrinks from one side. Its centre then seems to lag behind, and its size to
    lessen; the edge that is still inside tells where the thing is.
    """
    low, high = seen["cut_low"], seen["cut_high"]
    cut = low | high
    if not cut.any():
        return seen
    whole: Records = seen.copy()
    size = np.where(cut, np.maximum(seen["size"], tracks["size"]), seen["size"])
    shift = (size - seen["size"]) / 2
    centre = seen["centre"] + np.where(low, -shift, 0.0) + np.where(high, shift, 0.0)
    whole["size"], whole["centre"] = size, np.where(low & high, tracks["centre"], centre)
    return whole


def correct(old: Records, seen: Records) -> Records:
    """The tracks (K,) after they were seen as `seen` (K,), completed."""
    new: Records = old.copy()
    total = old["var_centre"] + sight_variance(seen)
    gain, velocity_gain = old["var_centre"] / total, old["covar"] / total
    error = seen["centre"] - old["centre"]
    new["centre"] += gain[:, None] * error
    new["velocity"] += velocity_gain[:, None] * error
    new["var_velocity"] -= velocity_gain * old["covar"]
    new["covar"] *= 1 - gain
    new["var_centre"] *= 1 - gain
    cut = seen["cut_low"] | seen["cut_high"]
    new["size"] = np.where(cut, seen["size"], (old["size"] + seen["size"]) / 2)
    new["hits"] += 1
    new["missed"] = 0
    return new
