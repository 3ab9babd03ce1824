"""The image engines of one model, an engine a tile size, each loaded once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from typing import TYPE_CHECKING

from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    from edge.engines.base import ImageEngine
    from edge.runtime import Runtime

_log = logging.getLogger(__name__)


class EnginePool:
    """`get` and `keep` belong to the thread that runs the engines, `load` and `close` to any."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._loading = threading.Lock()
        self._guard = threading.Lock()  # of the next three together; never held for long
        self._engines: dict[tuple[int, int], ImageEngine] = {}
        self._flown: set[tuple[int, int]] = set()
        self._latest: tuple[int, int] | None = None
        self._closed = False

    def get(self, size: tuple[int, int]) -> ImageEngine:
        """The engine for tiles of (width, height) pixels, loaded if needed.

        Raises EngineError, MissingExtra.
        """
        while True:
            with self._guard:
                if self._closed:
                    raise EngineError("this pipeline is closed")
                if size in self._engines:
                    self._flown.add(size)
                    return self._engines[size]
            self.load(size)

    def has(self, size: tuple[int, int]) -> bool:
        """Whether it is loaded."""
        with self._guard:
            return size in self._engines

    def load(self, size: tuple[int, int]) -> None:
        """Have the engine ready; who comes while it is being loaded waits.

        Those that were loaded before and never flown are freed, but for the one that was asked for last: the
        next frame may need it. So lists do not pile up engines where no frame comes.

        Raises EngineError, MissingExtra.
        """
        with self._loading:
            with self._guard:
                if size in self._engines:
                    self._latest = size
                    return
                gone = self._all_but(self._flown)
            for engine in gone:
                engine.close()
            engine = self._runtime.image_engine(size)
            with self._guard:
                if not self._closed:
                    self._engines[size] = engine
                    self._latest = size
                    _log.info("%s %s at %dx%d", engine.name, engine.precision, *size)
                    return
        engine.close()
        raise EngineError("this pipeline is closed")

    def keep(self, sizes: Collection[tuple[int, int]]) -> None:
        """Free the engines of all other sizes, but for the one that was asked for last."""
        with self._guard:
            gone = self._all_but(sizes)
        for engine in gone:
            engine.close()

    def close(self) -> None:
        """Free every engine, one that is being loaded as soon as it is there. May be called twice."""
        with self._guard:
            self._closed = True
            engines, self._engines = self._engines, {}
        for engine in engines.values():
            engine.close()

    def _all_but(self, sizes: Collection[tuple[int, int]]) -> list[ImageEngine]:
        """Take all others out, but for the one that was asked for last; for whoever holds `_guard`."""
        gone = [size for size in self._engines if size not in sizes and size != self._latest]
        self._flown.difference_update(gone)
        return [self._engines.pop(size) for size in gone]
