"""Places of one frame -> tracks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.lookup import Place


@dataclass(frozen=True, slots=True)
class TrackedPlace:
    """A place with the track it belongs to.

    age        seconds of capture time since the track was first seen
    confirmed  seen often enough to count as a thing of its own; stays true for the rest of the track's life
    """

    place: Place
    track_id: int
    age: float
    confirmed: bool
