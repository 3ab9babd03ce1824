"""One model looking at images: what the drone would see, by its own letterbox, engines and lookup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge.bundle.calibration import Calibration
from edge.engines.base import F32, ImageEngine
from edge.frames import RgbImage
from edge.letterbox import best_image_size, letterbox
from edge.lookup import lookup, place_margins
from edge.prompts.build import LOWEST_DEFAULT, build_prompt_bank, in_memory_list
from edge.runtime import Runtime
from firmware_cfg.prompt_list import PromptList
from training.evaluation.sightings import Sighting

_CLAIMED = -1e3  # a row that does not peak at a place has a logit far below this there, and no other one has


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What one model said of one image.

    Attributes:
        embedding: (D,) of the whole image.
        sighting: what the drone would count, for `training.evaluation.operating.counted`.
        centre: (K, 2) of the places that some prompt peaks at, in pixels of the image.
        cell_side: of a cell of its grid, in pixels of the image.
        cell: (K, D) their embeddings.
        owner: (K,) the prompt that each belongs to, by its margin over the others.
        score: (K,) its calibrated score.
    """

    embedding: F32
    sighting: Sighting
    centre: F32
    cell_side: float
    cell: F32
    owner: NDArray[np.intp]
    score: F32


class Looker:
    """A model with a prompt list at work. A context manager."""

    def __init__(self, runtime: Runtime, calibration: Calibration, prompts: PromptList) -> None:
        """calibration: of the bundle, for it and for its reference alike, so that both count by one scale.

        Raises UsageError, ConfigErrors, EngineError as `build_prompt_bank` does.
        """
        self.runtime = runtime
        self._calibration = calibration
        self._bank = build_prompt_bank(in_memory_list(prompts), runtime.sentences, runtime.facts, calibration)
        self._engines: dict[tuple[int, int], ImageEngine] = {}

    def __enter__(self) -> Looker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for engine in self._engines.values():
            engine.close()

    def look(self, image: RgbImage) -> Look:
        """Run one image in the tile that suits it best. Raises EngineError, MissingExtra."""
        size = best_image_size(image.width, image.height, self.runtime.facts.image_sizes)
        if size not in self._engines:
            self._engines[size] = self.runtime.image_engine(size)
        tile, fit = letterbox(image, *size)
        bank, facts = self._bank, self.runtime.facts
        output = self._engines[size].infer(tile[None], bank.graph_rows, bank.graph_bias)
        found = lookup(output, 0, bank, self._calibration, fit, stride=facts.stride)
        tally = Counter(place.prompt for place in found.places)
        counts = {name: tally[name] for name in bank.layout.object_ids}
        margins = place_margins(output, 0, bank)
        claimed = fit.holds(output.place_box[0]) & (margins.max(axis=1) > _CLAIMED)
        boxes, margins = fit.to_frame(output.place_box[0][claimed]), margins[claimed]
        return Look(
            embedding=output.embedding[0],
            sighting=Sighting(found.places, counts, output, fit),
            centre=np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32),
            cell_side=facts.stride / fit.scale,
            cell=output.place_embedding[0][claimed, : facts.embedding_width],
            owner=margins.argmax(axis=1),
            score=self._calibration.object_score(margins.max(axis=1)),
        )

    def text_embeddings(self, texts: Sequence[str]) -> F32:
        """Unit embeddings (T, D). Raises TextTooLong for what the text tower cannot read."""
        rows = np.stack([self.runtime.sentences.encode([text])[0] for text in texts])
        self.runtime.release_sentences()
        return rows


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Places of a reference that matter, and where a variant has them.

    Attributes:
        looked_for: number of places of the reference that a default threshold could let through.
        cosine: (n,) between the embeddings of those found again.
        owner: (n, 2) prompt of each by the reference and by the variant.
    """

    looked_for: int
    cosine: F32
    owner: NDArray[np.intp]


def pair_places(reference: Look, variant: Look) -> Pairs:
    """The reference's places, each beside the variant's nearest one that is no further than a cell."""
    sure = np.flatnonzero(reference.score >= LOWEST_DEFAULT)
    if not len(sure) or not len(variant.centre):
        return Pairs(len(sure), np.empty(0, np.float32), np.empty((0, 2), np.intp))
    apart = np.linalg.norm(reference.centre[sure][:, None] - variant.centre, axis=2)
    nearest = apart.argmin(axis=1)
    again = apart[np.arange(len(sure)), nearest] <= max(reference.cell_side, variant.cell_side)
    first, second = sure[again], nearest[again]
    a, b = reference.cell[first], variant.cell[second]
    cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    owner = np.stack([reference.owner[first], variant.owner[second]], axis=1)
    return Pairs(len(sure), cosine.astype(np.float32), owner)
