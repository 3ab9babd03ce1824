"""The image engines of one model, an engine a tile size, each loaded once."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    from edge.engines.base import ImageEngine
    from edge.runtime import Runtime

_log = logging.getLogger(__name__)


class EnginePool:
    """`get` belongs to the thread that runs the engines; `load` and `close` may be called from any."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._loading = threading.Lock()
        self._guard = threading.Lock()  # of the next two together; never held for long
        self._engines: dict[tuple[int, int], ImageEngine] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def get(self, size: tuple[int, int]) -> ImageEngine:
        """The engine for tiles of (width, height) pixels, loaded if needed.

        Raises EngineError, MissingExtra.
        """
        if self._closed:
            raise EngineError("this pipeline is closed")
        if size not in self._engines:
            self.load(size)
        return self._engines[size]

    def load(self, size: tuple[int, int]) -> None:
        """Have the engine ready; who comes while it is being loaded waits.

        Raises EngineError, MissingExtra.
        """
        with self._loading:
            if size in self._engines:
                return
            engine = self._runtime.image_engine(size)
            with self._guard:
                if not self._closed:
                    self._engines[size] = engine
                    _log.info("%s %s at %dx%d", engine.name, engine.precision, *size)
                    return
        engine.close()
        raise EngineError("this pipeline is closed")

    def close(self) -> None:
        """Free every engine, one that is being loaded as soon as it is there. May be called twice."""
        with self._guard:
            self._closed = True
            engines, self._engines = self._engines, {}
        for engine in engines.values():
            engine.close()
