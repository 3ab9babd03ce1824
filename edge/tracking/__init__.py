"""Places of one frame -> tracks: which is the same thing as before, with the camera's motion taken out."""

from edge.tracking.tracker import TrackedPlace, Tracker, TrackerSettings

__all__ = ["TrackedPlace", "Tracker", "TrackerSettings"]
