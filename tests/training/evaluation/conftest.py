"""A model that finds the rectangles that the tests draw, so that what it should count is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.bundle.calibration import Calibration
from edge.engines.base import EngineOutput, StartsByInferring
from training import splits
from training.evaluation.subject import Subject

CLASSES = ("ship", "plane", "car")
PLACES = 300
NOTHING = -1e4
GREY = (90, 90, 90)  # of the ground; what is not grey is a thing, or the padding's 114

Box = tuple[int, int, int, int]
Thing = tuple[str, Box, int]
"""Class, box and strength 1 to 100: how sure the model is of it."""


@dataclass(frozen=True)
class BlobFacts:
    image_sizes: tuple[tuple[int, int], ...] = ((256, 256), (320, 256))
    stride: int = 8
    embedding_width: int = len(CLASSES) + 1
    row_width: int = len(CLASSES) + 1
    logit_scale: float = 1.0
    logit_bias: float = 0.0


class BlobSentences:
    """A sentence is about the class that it names; one that names none is like no class."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        about = [next((i for i, name in enumerate(CLASSES) if name in t), len(CLASSES)) for t in texts]
        return np.eye(len(CLASSES) + 1, dtype=np.float32)[about]


class BlobEngine(StartsByInferring):
    """Every blob that is not grey is a place: red tells its class, green how sure the model is of it."""

    name, precision = "blobs", "fp32"

    def __init__(self, image_size: tuple[int, int], smallest: int) -> None:
        self.image_size = image_size
        self._smallest = smallest

    def infer(self, image: np.ndarray, prompts: np.ndarray, bias: np.ndarray) -> EngineOutput:
        each = [self._infer(tile, prompts, bias) for tile in image]
        names = ("scene", "embedding", "place_box", "place_embedding", "place_logit")
        return EngineOutput(**{name: np.concatenate([getattr(one, name) for one in each]) for name in names})

    def _infer(self, tile: np.ndarray, prompts: np.ndarray, bias: np.ndarray) -> EngineOutput:
        things = (tile[..., 2] > 180).astype(np.uint8)
        _, _, stats, centroids = cv2.connectedComponentsWithStats(things)
        boxes = np.zeros((1, PLACES, 4), np.float32)
        logits = np.full((1, PLACES, len(prompts)), NOTHING, np.float32)
        found = []
        for (x, y, width, height, _), centre in zip(stats[1:], centroids[1:], strict=True):
            if min(width, height) >= self._smallest:
                red, green, _ = tile[int(centre[1]), int(centre[0])]
                found.append((float(green) / 10 - 10, round(red / 80), (x, y, x + width, y + height)))
        if (tile[0] == 114).all():  # what lies in the padding is nothing, however sure the model is
            found.append((15.0, 0, (0, 0, 8, 8)))
        for place, (logit, kind, box) in enumerate(sorted(found, reverse=True)[:PLACES]):
            boxes[0, place] = box
            logits[0, place] = np.where(prompts[:, kind] == 1, logit, NOTHING) + bias
        embedding = np.zeros((1, prompts.shape[1]), np.float32)
        return EngineOutput(
            scene=np.zeros((1, len(prompts)), np.float32),
            embedding=embedding,
            place_box=boxes,
            place_embedding=np.zeros((1, PLACES, prompts.shape[1]), np.float32),
            place_logit=logits,
        )

    def close(self) -> None:
        pass


@dataclass
class BlobRuntime:
    """Satisfies edge.runtime.Runtime. `smallest`: blobs with a shorter side in the tile are not seen."""

    platt: tuple[float, float] = (1.0, 0.0)
    smallest: int = 3
    facts: BlobFacts = field(default_factory=BlobFacts)
    sentences: BlobSentences = field(default_factory=BlobSentences)
    sizes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def calibration(self) -> Calibration:
        width = self.facts.embedding_width
        return Calibration(
            np.zeros((1, width), np.float32),
            np.zeros((1, width), np.float32),
            platt_object=self.platt,
            platt_scene=(1.0, 0.0),
            false_alarm_rate_object=0.01,
            false_alarm_rate_scene=0.01,
        )

    def image_engine(self, size: tuple[int, int]) -> BlobEngine:
        self.sizes.append(size)
        return BlobEngine(size, self.smallest)

    def release_sentences(self) -> None:
        pass


@pytest.fixture
def blob_subject() -> Callable[..., Subject]:
    """Makes a subject; `kind` as of a Subject, the rest as of BlobRuntime."""

    def make(kind: str = "bundle", **settings: object) -> Subject:
        runtime = BlobRuntime(**settings)
        return Subject("blobs", kind, f"{runtime.platt}{kind}", Path("blobs"), runtime)

    return make


@dataclass(frozen=True)
class Drawn:
    """An image to draw: what is annotated, what else is to be seen, and regions that are left open."""

    things: tuple[Thing, ...] = ()
    unmarked: tuple[Thing, ...] = ()
    ignored: tuple[Box, ...] = ()
    size: tuple[int, int] = (320, 256)


@pytest.fixture
def blob_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Draws a COCO set: blob_set(name, train=[...], val=[...], test=[...]); `val` has a file of its own."""
    monkeypatch.setattr(splits, "FOLDER", tmp_path / "no_lists")

    def make(name: str, **parts: Sequence[Drawn]) -> Path:
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        for split, drawn in parts.items():
            images, annotations = [], []
            for number, one in enumerate(drawn):
                file = f"{split}_{number}.png"
                width, height = one.size
                _draw(folder / "images" / file, one)
                images.append({"id": number, "file_name": file, "width": width, "height": height})
                marked = [(CLASSES.index(kind), box) for kind, box, _ in one.things]
                for category, (x1, y1, x2, y2) in [*marked, *((99, box) for box in one.ignored)]:
                    box = [x1, y1, x2 - x1, y2 - y1]
                    annotations.append({"image_id": number, "category_id": category, "bbox": box})
            categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES)]
            document = {
                "images": images,
                "annotations": [{"id": i, **annotation} for i, annotation in enumerate(annotations)],
                "categories": [*categories, {"id": 99, "name": "DontCare"}],
            }
            (folder / f"instances_{split}.json").write_text(json.dumps(document))
        return folder

    return make


@pytest.fixture
def drawn() -> type[Drawn]:
    return Drawn


def _draw(path: Path, one: Drawn) -> None:
    image = np.full((one.size[1], one.size[0], 3), GREY, np.uint8)
    for kind, (x1, y1, x2, y2), strength in (*one.things, *one.unmarked):
        image[y1:y2, x1:x2] = (255, 100 + strength, CLASSES.index(kind) * 80)  # as OpenCV stores: B, G, R
    assert cv2.imwrite(str(path), image)
