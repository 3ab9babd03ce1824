"""Places of one frame -> tracks: which is the same thing as before, with the camera's motion taken out."""

from edge.tracking.patience import TrackerSettings
from edge.tracking.tracker import TrackedPlace, Tracker

__all__ = ["TrackedPlace", "Tracker", "TrackerSettings"]
