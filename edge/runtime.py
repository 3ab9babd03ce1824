"""What a pipeline asks of a model, and a bundle that answers it.

The drone flies bundles. An evaluation may hand the same pipeline a checkpoint that it holds in memory, so
that both are measured by the same letterbox, lookup and counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edge.engines import create_image_engine
from edge.engines.base import ImageEngine
from edge.prompts.text_encoder import SentenceEncoder, TextEncoder

if TYPE_CHECKING:
    from edge.bundle.calibration import Calibration
    from edge.bundle.load import Bundle
    from edge.bundle.manifest import Manifest


class ModelFacts(Protocol):
    """The numbers that the lookup needs to know of a model; a bundle's manifest states them."""

    @property
    def image_sizes(self) -> Sequence[tuple[int, int]]:
        """(width, height) of the tiles it was measured at; the first is the default."""
        ...

    @property
    def stride(self) -> int:
        """Pixels of the tile per cell of the dense grid."""
        ...

    @property
    def embedding_width(self) -> int:
        """D."""
        ...

    @property
    def row_width(self) -> int:
        """D + E, the width of a prompt row."""
        ...

    @property
    def logit_scale(self) -> float:
        """Factor on the cosine of a dense logit."""
        ...

    @property
    def logit_bias(self) -> float:
        """Added to every dense logit inside the graph."""
        ...


class Runtime(Protocol):
    """A model that runs: its facts and calibration, its text tower, and an image engine for any tile size."""

    @property
    def facts(self) -> ModelFacts:
        """What the lookup needs to know."""
        ...

    @property
    def calibration(self) -> Calibration:
        """What turns its raw numbers into scores."""
        ...

    @property
    def sentences(self) -> SentenceEncoder:
        """Its text tower."""
        ...

    def image_engine(self, size: tuple[int, int]) -> ImageEngine:
        """Load the image tower for tiles of (width, height). Raises EngineError, MissingExtra."""
        ...

    def release_sentences(self) -> None:
        """Free the text tower's memory; the next new sentence loads it again."""
        ...


class BundleRuntime:
    """A bundle on one of the drone's engines. Satisfies Runtime."""

    def __init__(
        self,
        bundle: Bundle,
        engine_name: str = "openvino",
        precision: str = "auto",
        threads: int | None = None,
        text_cache: Path | None = None,
        workspace_mib: int | None = None,
    ) -> None:
        """Arguments as `create_image_engine` and TextEncoder; nothing is loaded but the tokenizer.

        Raises BundleError where that cannot be read.
        """
        self._bundle = bundle
        self._engine_name = engine_name
        self._precision = precision
        self._threads = threads
        self._workspace_mib = workspace_mib
        self._encoder = TextEncoder(bundle, engine_name, threads, text_cache)

    @property
    def facts(self) -> Manifest:
        """The bundle's manifest."""
        return self._bundle.manifest

    @property
    def calibration(self) -> Calibration:
        """The bundle's own."""
        return self._bundle.calibration

    @property
    def sentences(self) -> TextEncoder:
        """The bundle's text tower."""
        return self._encoder

    def image_engine(self, size: tuple[int, int]) -> ImageEngine:
        """See Runtime.image_engine."""
        return create_image_engine(
            self._bundle, self._engine_name, self._precision, size, self._threads, self._workspace_mib
        )

    def release_sentences(self) -> None:
        """See Runtime.release_sentences."""
        self._encoder.close()
