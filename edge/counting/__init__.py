"""Tracked places and scene scores of one frame -> the numbers that rules speak about."""

from edge.counting.areas import inside_polygon
from edge.counting.counter import Counter
from edge.counting.counts import FrameCounts, PromptCounts

__all__ = ["Counter", "FrameCounts", "PromptCounts", "inside_polygon"]
