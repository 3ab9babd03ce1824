"""Embeddings of image files, each computed once and kept: a folder is searched again in no time."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.files import cache_folder
from edge.frames import RgbImage
from edge.leftovers import shrink
from edge.letterbox import best_image_size, letterbox
from edge.prompts.bank import BACKGROUND_BIAS
from edge.sources.images import SUFFIXES, natural_key, read_rgb
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    from edge.engines.base import F32, ImageEngine
    from edge.runtime import Runtime

_SUFFIX = ".images"
_MOST_CACHED_BYTES = 256 << 20
"""Of the disk, for the images of all models; some 400,000."""
_KEEP_EVERY_S = 1.0
"""What an interruption may cost."""
_log = logging.getLogger(__name__)


def find_images(folder: Path) -> list[Path]:
    """Every image of a folder and its sub-folders in natural order, hidden ones left out.

    Raises SourceError: the folder cannot be listed, or holds none.
    """
    try:
        found = [
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        ]
    except OSError as error:
        raise SourceError(f"{folder}: cannot be read: {error.strerror} (check its permissions)") from error
    if not found:
        raise SourceError(f"{folder}: no recorded runs and no images (looked for {' '.join(SUFFIXES)})")
    return sorted(found, key=lambda path: natural_key(str(path)))


class ImageEmbedder:
    """Embeds images with a model's image tower. Close it, or use it as a context manager.

    Args:
        model: what runs.
        identity: all that an embedding depends on besides the file: bundle, engine, precision.
        cache: folder for what was computed before; default: in the user's cache, None there: no cache.
    """

    def __init__(self, model: Runtime, identity: Sequence[str], cache: Path | None = None) -> None:
        self._model = model
        self._engines: dict[tuple[int, int], ImageEngine] = {}
        self._rows = np.zeros((1, model.facts.row_width), np.float32)
        self._rows[0, 0] = 1.0  # the graph wants a prompt; this one creates no place
        self._cache = _Cache(cache or cache_folder("images"), identity)

    def embed(
        self, paths: Iterable[Path], on_image: Callable[[], None] = lambda: None
    ) -> tuple[list[Path], F32]:
        """Embed images; what was embedded before, and has not changed, comes from the cache.

        An interruption loses at most the last second's work.

        Args:
            on_image: called after each, to show progress.

        Returns:
            Those that could be read, and their (N, D) float32 unit embeddings. Others are logged.

        Raises:
            SourceError: not one can be read.
            EngineError, MissingExtra: the model cannot be loaded, or failed.
        """
        kept: list[Path] = []
        rows: list[F32] = []
        problem = ""
        try:
            for path in paths:
                try:
                    rows.append(self._embed_one(path))
                    kept.append(path)
                except SourceError as error:
                    problem = str(error)
                    _log.warning("%s", problem)
                on_image()
        finally:
            self._cache.keep()
        if not kept:
            raise SourceError(f"not one of the images can be read; the last: {problem}")
        return kept, np.stack(rows)

    def close(self) -> None:
        """Free the engines. May be called twice."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()
        self._cache.close()

    def __enter__(self) -> ImageEmbedder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _embed_one(self, path: Path) -> F32:
        try:
            about = path.stat()
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror} (check its permissions)") from error
        key = f"{path.resolve()}\0{about.st_size}\0{about.st_mtime_ns}"
        embedding = self._cache.get(key, self._model.facts.embedding_width)
        if embedding is None:
            image = RgbImage(read_rgb(path))
            size = best_image_size(image.width, image.height, self._model.facts.image_sizes)
            if size not in self._engines:
                self._engines[size] = self._model.image_engine(size)
            tile, _ = letterbox(image, *size)
            bias = np.full(1, BACKGROUND_BIAS, np.float32)
            embedding = self._engines[size].infer(tile[None], self._rows, bias).embedding[0]
            self._cache.put(key, embedding)
        return embedding


class _Cache:
    """A SQLite file of embeddings for each identity. It is never required: trouble with it is a warning."""

    def __init__(self, folder: Path | None, identity: Sequence[str]) -> None:
        self._db: sqlite3.Connection | None = None
        self._path: Path | None = None
        self._kept = time.monotonic()
        if folder is None:
            return
        shrink(folder, _SUFFIX, _MOST_CACHED_BYTES)
        self._path = folder / f"{hashlib.sha256(repr(tuple(identity)).encode()).hexdigest()}{_SUFFIX}"
        with self._forgiving():
            self._db = sqlite3.connect(self._path)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS images (key BLOB PRIMARY KEY, embedding BLOB)")

    def get(self, key: str, width: int) -> F32 | None:
        """The embedding, (width,); None where there is none, or none that makes sense."""
        with self._forgiving():
            if self._db is not None:
                query = "SELECT embedding FROM images WHERE key = ?"
                row = self._db.execute(query, (_digest(key),)).fetchone()
                if row is not None and len(row[0]) == 4 * width:
                    return np.frombuffer(row[0], "<f4").astype(np.float32)
        return None

    def put(self, key: str, embedding: F32) -> None:
        """Keep one, for certain at the next `keep`."""
        with self._forgiving():
            if self._db is not None:
                values = (_digest(key), embedding.astype("<f4").tobytes())
                self._db.execute("INSERT OR REPLACE INTO images VALUES (?, ?)", values)
        if time.monotonic() - self._kept > _KEEP_EVERY_S:
            self.keep()

    def keep(self) -> None:
        """Write what was put."""
        with self._forgiving():
            if self._db is not None:
                self._db.commit()
                self._kept = time.monotonic()

    def close(self) -> None:
        """May be called twice."""
        if self._db is not None:
            self.keep()
        if self._db is not None:
            self._db.close()
            self._db = None

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            _log.warning("%s: embeddings of images are not kept: %s", self._path, error)
            if self._db is not None:
                self._db.close()
            self._db = None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
