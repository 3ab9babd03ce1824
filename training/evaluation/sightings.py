"""The drone's own pipeline over images, with what the engine said of each kept beside what it counted.

So an evaluation can ask what other thresholds would have given, by the drone's own lookup, and run the engine
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32, U8, EngineOutput, ImageEngine, StartsByInferring
from edge.lookup import Place, place_margins
from edge.pipeline import FrameResult, Pipeline
from edge.prompts.build import in_memory_list
from edge.runtime import Runtime
from edge.tiling import Tiles, Tiling, lookup_tiles, tiles_for
from firmware_cfg.prompt_list import PromptList
from training.evaluation.frames import frame_of
from training.evaluation.wrapped_runtime import WrappedRuntime
from training.progress import track
from training.samples import ObjectSample

if TYPE_CHECKING:
    from training.evaluation.subject import Subject


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One image: what the drone found in it, and the engine's output that it was found in.

    places: as the pipeline gave them; counts: the pipeline's counts by prompt id; output: without embeddings;
    tiling: where the image lay in the model's tiles.
    """

    places: tuple[Place, ...]
    counts: dict[str, int]
    output: EngineOutput
    tiling: Tiling


class Observer:
    """A prompt list at work on unrelated images. A context manager."""

    def __init__(
        self,
        subject: Subject,
        prompts: PromptList,
        image_size: tuple[int, int] | None = None,
        tiles: Tiles = "none",
    ) -> None:
        """image_size is (width, height) of the model tile; default: for every image the one that suits it.

        tiles: see `edge.tiling`.
        """
        self._ear = _ListeningRuntime(subject.runtime)
        self._tiles = tiles
        self._pipeline = Pipeline(
            self._ear, in_memory_list(prompts), image_size=image_size, tiles=tiles, independent=True
        )

    def __enter__(self) -> Observer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipeline.close()

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds in use, by prompt id."""
        return dict(self._pipeline.bank.thresholds)

    def observe(self, samples: Sequence[ObjectSample], description: str) -> list[Sighting]:
        """Every image, in order. Raises DataError for a file that is no image, EngineError."""
        return [
            self._sighting(self._pipeline.process(frame_of(sample.path, number)))
            for number, sample in enumerate(track(samples, description))
        ]

    def places(self, sighting: Sighting, threshold: float) -> tuple[Place, ...]:
        """The places that the drone would have found with this threshold for every prompt."""
        bank = self._pipeline.bank
        lowered = replace(bank, object_thresholds=np.full(len(bank.layout.object_ids), threshold))
        calibration, stride = self._ear.calibration, self._ear.facts.stride
        return lookup_tiles(sighting.output, lowered, calibration, sighting.tiling, stride=stride).places

    def exhausted(self, sighting: Sighting) -> bool:
        """Whether even the weakest place that the graph gave of a tile counts: there may be more things."""
        bank = self._pipeline.bank
        for tile in range(len(sighting.tiling.windows)):
            margins = bank.object_correction.apply(place_margins(sighting.output, tile, bank))
            scores = self._ear.calibration.object_score(margins.max(axis=1))
            if (scores >= bank.object_thresholds[margins.argmax(axis=1)]).all():
                return True
        return False

    def _sighting(self, result: FrameResult) -> Sighting:
        (output,) = self._ear.heard
        frame = result.frame
        return Sighting(
            places=tuple(replace(place, embedding=None) for place in result.scores.places),
            counts={name: counts.count for name, counts in result.counts.prompts.items()},
            output=output,
            tiling=tiles_for(frame.width, frame.height, result.image_size, self._tiles),
        )


def centres(places: Sequence[Place]) -> NDArray[np.float64]:
    """Centres (K, 2) of places, in pixels of their image."""
    boxes = np.array([place.box for place in places], np.float64).reshape(-1, 4)
    return (boxes[:, :2] + boxes[:, 2:]) / 2


class _ListeningEngine(StartsByInferring):
    """An engine whose last output stays at hand. Satisfies edge.engines.base.ImageEngine."""

    def __init__(self, engine: ImageEngine, heard: list[EngineOutput]) -> None:
        self._engine = engine
        self._heard = heard
        self.name = engine.name
        self.precision = engine.precision
        self.image_size = engine.image_size

    def infer(self, image: U8, prompts: F32, bias: F32) -> EngineOutput:
        """See ImageEngine.infer."""
        output = self._engine.infer(image, prompts, bias)
        # The embeddings are most of the memory, and no count needs them.
        self._heard[:] = [replace(output, place_embedding=output.place_embedding[:, :, :0].copy())]
        return output

    def close(self) -> None:
        """See ImageEngine.close."""
        self._engine.close()


class _ListeningRuntime(WrappedRuntime):
    """A runtime whose engines are listened to."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.heard: list[EngineOutput] = []

    def image_engine(self, size: tuple[int, int]) -> ImageEngine:
        """See Runtime.image_engine."""
        return _ListeningEngine(super().image_engine(size), self.heard)
