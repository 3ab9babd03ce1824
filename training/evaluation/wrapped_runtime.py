"""A model that runs, with something about it replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.bundle.calibration import Calibration
    from edge.engines.base import ImageEngine
    from edge.prompts.text_encoder import SentenceEncoder
    from edge.runtime import ModelFacts, Runtime


class WrappedRuntime:
    """Base of wrappers: all of it is the wrapped runtime's. Satisfies edge.runtime.Runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @property
    def facts(self) -> ModelFacts:
        """See Runtime.facts."""
        return self._runtime.facts

    @property
    def calibration(self) -> Calibration:
        """See Runtime.calibration."""
        return self._runtime.calibration

    @property
    def sentences(self) -> SentenceEncoder:
        """See Runtime.sentences."""
        return self._runtime.sentences

    def image_engine(self, size: tuple[int, int]) -> ImageEngine:
        """See Runtime.image_engine."""
        return self._runtime.image_engine(size)

    def release_sentences(self) -> None:
        """See Runtime.release_sentences."""
        self._runtime.release_sentences()
