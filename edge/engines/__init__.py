"""Engines run the model's graphs. They are chosen by name and imported only when asked for."""

from __future__ import annotations

from edge.engines.base import EngineOutput, ImageEngine, TextEngine
from edge.engines.factory import ENGINE_NAMES, GPU_ENGINE_NAMES, create_image_engine, create_text_engine

__all__ = [
    "ENGINE_NAMES",
    "GPU_ENGINE_NAMES",
    "EngineOutput",
    "ImageEngine",
    "TextEngine",
    "create_image_engine",
    "create_text_engine",
]
