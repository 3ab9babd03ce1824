"""Engines run the model's graphs. They are chosen by name and imported only when asked for."""

from __future__ import annotations

from edge.engines.base import EngineOutput, ImageEngine, TextEngine

__all__ = ["EngineOutput", "ImageEngine", "TextEngine"]
