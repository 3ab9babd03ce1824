"""Sentences -> unit embeddings, on the device, each computed once and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from tokenizers import Tokenizer

from edge.bundle.manifest import TOKENIZER_NAME
from edge.engines import create_text_engine
from edge.engines.base import F32, TextEngine
from edge.files import cache_folder
from edge.leftovers import shrink
from firmware_cfg.errors import BundleError, EngineError, RemoteclipError

if TYPE_CHECKING:
    from edge.bundle.load import Bundle

_DIGEST_BYTES = 32
_SUFFIX = ".embedding"
MOST_CACHED_BYTES = 32 << 20
"""Of the disk; some 8,000 sentences."""
_TIDY_EVERY = 256
"""Sentences that are kept between two looks at how many there are."""
TELL_EVERY_S = 2.0
"""How long a list's encoding goes on without a word in the log: one of 1,000 sentences takes a while."""
_log = logging.getLogger(__name__)


class TextTooLong(RemoteclipError):
    """Sentences that the text tower cannot read to their end.

    Attributes:
        texts: (sentence, number of its tokens) of each.
        limit: most tokens that the tower reads.
    """

    def __init__(self, texts: Sequence[tuple[str, int]], limit: int) -> None:
        self.texts = tuple(texts)
        self.limit = limit
        text, tokens = self.texts[0]
        super().__init__(too_long_problem(text, tokens, limit))


def too_long_problem(text: str, tokens: int, limit: int) -> str:
    """The sentence of an error about one sentence."""
    return f'text "{text[:40]}..." has {tokens} tokens, the text tower reads {limit}'


class SentenceEncoder(Protocol):
    """What embeds sentences: the device's TextEncoder, or the tower that training holds in memory."""

    def encode(self, texts: Sequence[str]) -> F32:
        """(T, D) float32 of unit length. Raises TextTooLong."""
        ...


class Interrupted(EngineError):
    """Sentences that need not be encoded any more, or not now."""


class TextEncoder:
    """A bundle's text tower. The engine is loaded at the first sentence that the disk cache does not have.

    Not thread safe. `close` frees the engine; the next new sentence loads it again.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine_name: str = "openvino",
        threads: int | None = None,
        cache: Path | None = None,
    ) -> None:
        """Read the tokenizer.

        Args:
            bundle: the verified bundle.
            engine_name: see `create_text_engine`.
            threads: CPU threads; default: the runtime's choice.
            cache: folder of the disk cache, which must exist; default: in the user's cache.

        Raises:
            BundleError: tokenizer.json is not a tokenizer.
        """
        self._bundle = bundle
        self._engine_name = engine_name
        self._threads = threads
        self._cache = cache or cache_folder("text")
        self._untidied = _TIDY_EVERY
        self._engine: TextEngine | None = None
        files = bundle.manifest.files
        # All that an embedding depends on.
        self._identity = (engine_name, files[bundle.manifest.text.file], files[TOKENIZER_NAME])
        path = bundle.file(TOKENIZER_NAME)
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more specific
            raise BundleError(f"{path}: not a tokenizer: {error} (compile the bundle again)") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, texts: Sequence[str], interrupted: Callable[[], bool] = lambda: False) -> F32:
        """Embed sentences; (T, D) float32 of unit length.

        A sentence's embedding does not depend on what it is encoded together with: each runs alone, unpadded.

        Args:
            interrupted: asked before each sentence whether to stop: many of them take minutes.

        Raises:
            Interrupted: it was. What is encoded by then is in the cache.
            TextTooLong: naming every sentence that the tower cannot read to its end.
            EngineError, MissingExtra: the text engine cannot be loaded, failed, or gave what is no embedding.
        """
        texts = list(texts)
        tokens: dict[str, list[int]] = {text: self._tokenizer.encode(text).ids for text in texts}
        limit = self._bundle.manifest.text.max_tokens
        if too_long := [(text, len(ids)) for text, ids in tokens.items() if len(ids) > limit]:
            raise TextTooLong(too_long, limit)
        found: dict[str, F32] = {}
        told = time.monotonic()
        for text, ids in tokens.items():
            if time.monotonic() - told >= TELL_EVERY_S:
                told = time.monotonic()
                _log.info("%d of %d sentences encoded", len(found), len(tokens))
            if interrupted():
                raise Interrupted("given up: another list came, or the flight ended, while it was encoded")
            found[text] = self._embedding(text, ids)
            self._tidy()
        rows = np.empty((len(texts), self._bundle.manifest.embedding_width), np.float32)
        for row, text in enumerate(texts):
            rows[row] = found[text]
        return rows

    def load(self) -> None:
        """Load the engine now, so that the next new sentence does not wait for it.

        Raises EngineError, MissingExtra.
        """
        if self._engine is None:
            self._engine = create_text_engine(self._bundle, self._engine_name, self._threads)
            # A runtime plans its work at the first sentence; that one then takes as long as three.
            ids = np.array([self._tokenizer.encode("a sentence").ids], np.int64)
            if ids.size:
                self._engine.encode(ids, np.ones_like(ids))

    def close(self) -> None:
        """Free the engine's memory. May be called twice."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _embedding(self, text: str, ids: list[int]) -> F32:
        key = hashlib.sha256(json.dumps([*self._identity, text]).encode()).hexdigest()
        path = self._cache / f"{key}{_SUFFIX}" if self._cache else None
        embedding = self._read(path) if path else None
        if embedding is None:
            embedding = self._run(text, ids)
            if path:
                self._write(path, embedding)
        return embedding

    def _run(self, text: str, ids: list[int]) -> F32:
        if self._engine is None:
            self._engine = create_text_engine(self._bundle, self._engine_name, self._threads)
        input_ids = np.array([ids], np.int64)
        if input_ids.size == 0:
            raise EngineError(f'text "{text}" has no tokens')
        embedding = self._engine.encode(input_ids, np.ones_like(input_ids))[0]
        width = self._bundle.manifest.embedding_width
        norm = float(np.linalg.norm(embedding))
        if embedding.shape != (width,) or not abs(norm - 1) < 0.01:
            raise EngineError(
                f"{self._bundle.text_graph}: the embedding of a text has shape {embedding.shape} and length"
                f" {norm:g}, expected ({width},) and 1 (compile the bundle again)"
            )
        unit: F32 = embedding / np.float32(norm)
        return unit

    def _read(self, path: Path) -> F32 | None:
        """The cached embedding; None when there is none, or what is there is damaged."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("%s: cannot be read, the text is encoded again: %s", path, error.strerror)
            return None
        payload, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        width = self._bundle.manifest.embedding_width
        if len(payload) != 4 * width or hashlib.sha256(payload).digest() != digest:
            _log.warning("%s: damaged, the text is encoded again", path)
            return None
        return np.frombuffer(payload, "<f4").astype(np.float32)

    def _tidy(self) -> None:
        if self._cache and self._untidied > _TIDY_EVERY:
            self._untidied = 0
            shrink(self._cache, _SUFFIX, MOST_CACHED_BYTES)

    def _write(self, path: Path, embedding: F32) -> None:
        payload = embedding.astype("<f4").tobytes()
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
        try:
            # Without waiting for the disk: a list is waiting, and what a power cut spoils the digest tells.
            temporary.write_bytes(payload + hashlib.sha256(payload).digest())
            os.replace(temporary, path)
            self._untidied += 1
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            _log.warning("%s: the text's embedding is not kept: %s", path, error.strerror)


@dataclass(frozen=True, slots=True)
class InterruptibleEncoder:
    """A TextEncoder with the `interrupted` that it asks. Satisfies SentenceEncoder."""

    encoder: TextEncoder
    interrupted: Callable[[], bool]

    def encode(self, texts: Sequence[str]) -> F32:
        """See TextEncoder.encode."""
        return self.encoder.encode(texts, self.interrupted)
