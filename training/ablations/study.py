"""The ablations: one base, and variants that each differ from it in one thing, on the same features."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.files import write_atomically
from firmware_cfg.errors import UsageError
from training.ablations.cached import HeadOptions, Words, captioned, embed, train_scene_head
from training.ablations.features import PooledTrunk, views_of
from training.ablations.images import AblationImages, Counted
from training.ablations.words import LastLayer, Rows, WordBank
from training.evaluation.intervals import bootstrap_mean
from training.models.lite import LiteImageTower
from training.models.text import TextTower, project
from training.samples import CaptionSample

RESULTS_FILE = "results.json"


@dataclass(frozen=True, slots=True)
class Variant:
    """What one run is trained on and how.

    origins: whose sentences; size: side of the images in pixels; text: `frozen` fits the scene head alone,
    `projection` also the text projection, `last_layer` also the last layer of the sentence encoder; against:
    the variant that it differs from in one thing.
    """

    name: str
    origins: tuple[str, ...] = ("people", "boxes", "masks")
    size: int = 224
    text: Literal["frozen", "projection", "last_layer"] = "projection"
    against: str = "base"


BASE = Variant("base")
ALONE = replace(BASE, name="captions alone", origins=("people",))
VARIANTS = (
    BASE,
    replace(BASE, name="without B2C", origins=("people", "masks")),
    replace(BASE, name="without M2B", origins=("people", "boxes")),
    ALONE,
    replace(ALONE, name="captions alone, 160 px", size=160, against=ALONE.name),
    replace(ALONE, name="captions alone, 288 px", size=288, against=ALONE.name),
    replace(BASE, name="text frozen", text="frozen"),
    replace(BASE, name="last text layer tuned", text="last_layer"),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over validation items, by the value of each (a mean over a variant's runs)."""

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    def interval(self) -> tuple[float, float]:
        """95% interval of the mean over items."""
        return bootstrap_mean(self.values)

    def minus(self, other: Figure) -> Figure:
        """How much better each item fares than in another variant: the same items, compared in pairs."""
        return Figure(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))


@dataclass(frozen=True, slots=True)
class Result:
    """What a variant reached on validation images.

    recall: mean of six recalls, by image; boxes, masks: whether the right number of ten was chosen, by pair
    of an image and a class; seconds: of training a run, on this machine.
    """

    variant: Variant
    recall: Figure
    boxes: Figure
    masks: Figure
    seconds: float


class Study:
    """Features and sentences of all images, and the variants' runs; what is finished is kept in `out`.

    tower and text: eval mode; every run starts from their heads and leaves them as they are. runs: of every
    variant, each with a seed of its own; the table tells their mean.
    """

    def __init__(
        self,
        images: AblationImages,
        tower: LiteImageTower,
        text: TextTower,
        out: Path,
        options: HeadOptions,
        runs: int = 3,
    ) -> None:
        self.images, self.tower, self.text, self.out, self.options = images, tower, text, out, options
        self.runs = runs
        self._trunks: dict[int, PooledTrunk] = {}
        asked = [s for items in images.counted.values() for item in items for s in item.sentences]
        said = [
            t for samples in (*images.train.values(), images.retrieval) for s in samples for t in s.captions
        ]
        words = list(dict.fromkeys([*said, *asked]))
        self.bank = WordBank(text.minilm, words, out / "features" / "words.npy")
        self.plain = LastLayer(text.minilm, self.bank)

    def centre(self) -> None:
        """Put what is said of training images around the text space's origin, as pre-training does."""
        said = [t for samples in self.images.train.values() for s in samples for t in s.captions]
        self.text.centre(self.plain.of(list(dict.fromkeys(said))))

    def run_all(self, variants: Sequence[Variant]) -> list[Result]:
        """The variants' results; those that `out` holds already, of the same options, are not run again."""
        file = self.out / RESULTS_FILE
        stated = {"options": asdict(self.options), "runs": self.runs, "trunk": self.trunk(BASE.size).weights}
        kept: dict[str, Any] = {}
        if file.is_file():
            document = json.loads(file.read_text("utf-8"))
            if {name: document.get(name) for name in stated} != stated:
                raise UsageError(f"{file}: results of other options (choose another folder)")
            kept = document["results"]
        results = []
        for variant in variants:
            found = kept.get(variant.name)
            result = read_result(variant, found) if found else self.run(variant)
            kept[variant.name] = asdict(result)
            write_atomically(file, json.dumps({**stated, "results": kept}, indent=2).encode())
            results.append(result)
        return results

    def run(self, variant: Variant) -> Result:
        """Train a variant and ask it about the validation images."""
        samples = [s for origin in variant.origins for s in self.images.train[origin]]
        features = np.concatenate([self._of(variant.size, o, self.images.train[o]) for o in variant.origins])
        data = captioned(features[None], [s.captions for s in samples])
        at = self.bank.rows(data.sentences)
        tune = {"frozen": (), "projection": ("projection",), "last_layer": ("projection", "words")}[
            variant.text
        ]
        found: list[tuple[NDArray[np.float32], ...]] = []
        began = time.monotonic()
        for seed in range(self.runs):
            layer = LastLayer(self.text.minilm, self.bank)
            words: Words = Rows(layer, at) if "words" in tune else self._fixed(at)
            options = replace(self.options, seed=self.options.seed + seed)
            heads = train_scene_head(self.tower.scene, self.text.projection, data, words, options, tune)
            found.append(self._ask(variant.size, *heads, layer))
        seconds = (time.monotonic() - began) / self.runs
        recall, boxes, masks = (
            Figure(tuple(np.mean(values, axis=0).round(5).tolist())) for values in zip(*found, strict=True)
        )
        return Result(variant, recall, boxes, masks, round(seconds, 1))

    def _ask(
        self, size: int, head: nn.Linear, projection: nn.Linear, layer: LastLayer
    ) -> tuple[NDArray[np.float32], ...]:
        return (
            self._retrieval(size, head, projection, layer),
            self._counted("boxes", size, head, projection, layer),
            self._counted("masks", size, head, projection, layer),
        )

    def trunk(self, size: int) -> PooledTrunk:
        """The frozen trunk at an image size."""
        if size not in self._trunks:
            self._trunks[size] = PooledTrunk(self.tower, size, "bf16")
        return self._trunks[size]

    def _fixed(self, at: Tensor) -> Words:
        rows = self.plain.of_rows(at).clone()  # autograd must not meet a tensor made in inference mode
        return lambda numbers: rows[numbers]

    def _of(
        self, size: int, part: str, items: Sequence[CaptionSample] | Sequence[Counted]
    ) -> NDArray[np.float16]:
        file = self.out / "features" / f"{part}-{size}.npy"
        views = views_of(self.trunk(size), [item.path for item in items], 1, 0, file)
        return cast(NDArray[np.float16], views[0])

    @torch.inference_mode()
    def _retrieval(
        self, size: int, head: nn.Linear, projection: nn.Linear, layer: LastLayer
    ) -> NDArray[np.float32]:
        samples = self.images.retrieval
        image = embed(head, self._of(size, "retrieval", samples))
        text = project(projection, layer.of([t for s in samples for t in s.captions]))
        owner = torch.arange(len(samples)).repeat_interleave(torch.tensor([len(s.captions) for s in samples]))
        return recall_by_image(image @ text.T, owner).numpy()

    @torch.inference_mode()
    def _counted(
        self, origin: str, size: int, head: nn.Linear, projection: nn.Linear, layer: LastLayer
    ) -> NDArray[np.float32]:
        asked = self.images.counted[origin]
        image = embed(head, self._of(size, f"counted-{origin}", asked))
        text = project(projection, layer.of([t for item in asked for t in item.sentences]))
        logits = torch.einsum("nd,nkd->nk", image, text.reshape(len(asked), -1, text.shape[1]))
        right = logits.argmax(1) == torch.tensor([item.truth for item in asked])
        return right.float().numpy()


def recall_by_image(similarity: Tensor, owner: Tensor) -> Tensor:
    """Each image's part in the mean of six recalls, (I,): they average to it where all have as many texts."""
    ranked = owner[similarity.argsort(dim=1, descending=True)[:, :10]]
    there = ranked == torch.arange(len(similarity))[:, None]
    back = similarity.T.argsort(dim=1, descending=True)[:, :10] == owner[:, None]
    parts = []
    for k in (1, 5, 10):
        parts.append(there[:, :k].any(1).float())
        found = back[:, :k].any(1).float()
        parts.append(torch.stack([found[owner == i].mean() for i in range(len(similarity))]))
    return torch.stack(parts).mean(0)


def read_result(variant: Variant, kept: dict[str, Any]) -> Result:
    """A result as it was written."""
    recall, boxes, masks = (Figure(tuple(kept[name]["values"])) for name in ("recall", "boxes", "masks"))
    return Result(variant, recall, boxes, masks, kept["seconds"])
