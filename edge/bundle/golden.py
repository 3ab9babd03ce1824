"""Golden vectors: inputs in the bundle, and the outputs that every engine on every device must reproduce."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import GOLDEN_NAME
from edge.engines.base import F32, IMAGE_OUTPUTS, TEXT_OUTPUT, U8, EngineOutput, ImageEngine
from edge.files import UNREADABLE_NPZ, open_npz, write_atomically
from edge.prompts.bank import BACKGROUND_BIAS
from firmware_cfg.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.bundle.load import Bundle
    from edge.prompts.text_encoder import SentenceEncoder

Scalar = TypeVar("Scalar", bound=np.generic)

_OF_PLACES = ("place_box", "place_embedding", "place_logit")
TEXT_EMBEDDING = f"text_{TEXT_OUTPUT}"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest absolute differences from the golden outputs (float32, PyTorch) that pass.

    `place_box` is in tile pixels. `missing_places` is a share: two engines may order places of equal strength
    differently, or find the peak of a plateau one cell further on. `rounded`: the variant's own rounding does
    so too, on a map as flat as that of a whole scene's sentence. Then a place is the same where the logit of
    its strongest prompt says so, and its embedding is compared without the columns of its position, which the
    box stands for.
    """

    scene: float
    embedding: float
    place_box: float
    place_embedding: float
    place_logit: float
    missing_places: float
    text_embedding: float
    rounded: bool = False


# The text graph is the same int8 weights in every variant; what differs is how a runtime widens and sums
# them: OpenVINO and ONNX Runtime were 5.6e-3 apart at most.
TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(1e-3, 1e-3, 0.5, 2e-3, 0.05, 0.01, 1e-2),
    "fp16": Tolerance(5e-3, 5e-3, 2.0, 1e-2, 0.25, 0.05, 1e-2),
    # Measured on the shipped model: scene 0.013, embedding 0.010, 6% of places missing. A ReLU6 or a residual
    # that a fusion drops costs 25% to 50% of the places, or 0.12 and more of the embedding.
    "int8": Tolerance(5e-2, 5e-2, 16.0, 0.3, 0.75, 0.2, 1e-2, rounded=True),
}


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """golden.npz.

    Attributes:
        image: (N, H, W, 3) uint8 tiles.
        prompts: (P, D + E) float32.
        bias: (P,) float32.
        expected: what the graph must say about them.
        texts: T sentences.
        text_embedding: (T, D) float32, their unit embeddings.
    """

    image: U8
    prompts: F32
    bias: F32
    expected: EngineOutput
    texts: tuple[str, ...]
    text_embedding: F32

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) of the tiles."""
        return self.image.shape[2], self.image.shape[1]

    def save(self, path: Path) -> None:
        """Write golden.npz atomically. Raises OSError."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            image=self.image,
            prompts=self.prompts,
            bias=self.bias,
            texts=np.array(json.dumps(self.texts)),
            text_embedding=self.text_embedding,
            **{name: getattr(self.expected, name) for name in IMAGE_OUTPUTS},
        )
        write_atomically(path, buffer.getvalue())


@dataclass(frozen=True, slots=True)
class GoldenCheck:
    """How far one engine is from the golden outputs.

    Attributes:
        engine, precision: what ran; precision is "text" for the text graph.
        differences: output name -> largest absolute difference, for places over those that were found again.
        places: expected places that were looked for; missing: those that the engine did not find.
        problems: what exceeds its tolerance, a line each; empty when all is well.
    """

    engine: str
    precision: str
    differences: Mapping[str, float]
    places: int
    missing: int
    problems: tuple[str, ...]


def load_golden(bundle: Bundle) -> Golden:
    """Read a bundle's golden.npz. Raises BundleError."""
    path = bundle.file(GOLDEN_NAME)
    width, row = bundle.manifest.embedding_width, bundle.manifest.row_width
    try:
        with open_npz(path) as archive:
            image = _array(archive, "image", (None, None, None, 3), np.uint8)
            prompts = _array(archive, "prompts", (None, row), np.float32)
            n, p = len(image), len(prompts)
            place_box = _array(archive, "place_box", (n, None, 4), np.float32)
            m = place_box.shape[1]
            texts = json.loads(str(archive["texts"]))
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise ValueError("texts is not a JSON array of strings")
            expected = EngineOutput(
                scene=_array(archive, "scene", (n, p), np.float32),
                embedding=_array(archive, "embedding", (n, width), np.float32),
                place_box=place_box,
                place_embedding=_array(archive, "place_embedding", (n, m, row), np.float32),
                place_logit=_array(archive, "place_logit", (n, m, p), np.float32),
            )
            return Golden(
                image=image,
                prompts=prompts,
                bias=_array(archive, "bias", (p,), np.float32),
                expected=expected,
                texts=tuple(texts),
                text_embedding=_array(archive, TEXT_EMBEDDING, (len(texts), width), np.float32),
            )
    except UNREADABLE_NPZ as error:
        raise BundleError(f"{path}: unusable golden vectors: {error} (compile the bundle again)") from error


def check_image_engine(
    engine: ImageEngine, golden: Golden, tolerance: Tolerance | None = None
) -> GoldenCheck:
    """Run the golden tiles on an engine of their size and compare.

    A place is found again where the engine has one whose box and logits are near; those so weak that rounding
    decides whether they are among the M strongest are left out. So are the cells without any peak that fill
    up the M of a quiet image, in whatever order a runtime sorts equals. Vectors without any place to look
    for prove nothing, and are a problem, as is an output that is not a number. Raises EngineError.
    """
    limits = tolerance or TOLERANCES[engine.precision]
    found = engine.infer(golden.image, golden.prompts, golden.bias)
    expected = golden.expected
    differences = {
        "scene": _largest(found.scene - expected.scene),
        "embedding": _largest(found.embedding - expected.embedding),
        **dict.fromkeys(_OF_PLACES, 0.0),
    }
    creates = golden.bias > BACKGROUND_BIAS / 2
    places = missing = 0
    for index in range(len(golden.image)):
        strongest = expected.place_logit[index][:, creates].max(axis=1, initial=-np.inf)
        sure = np.flatnonzero(strongest > strongest.min() + 2 * limits.place_logit)
        pairs, lost = _match(expected, found, index, sure, limits)
        places, missing = places + len(sure), missing + lost
        apart = {
            name: getattr(found, name)[index][pairs[:, 1]] - getattr(expected, name)[index][pairs[:, 0]]
            for name in _OF_PLACES
        }
        if limits.rounded:
            apart["place_embedding"] = apart["place_embedding"][:, : expected.embedding.shape[1]]
            strongest_prompt = expected.place_logit[index][pairs[:, 0]].argmax(axis=1)
            apart["place_logit"] = apart["place_logit"][np.arange(len(pairs)), strongest_prompt]
        for name, difference in apart.items():
            differences[name] = max(differences[name], _largest(difference))
    problems = [  # "not <=" so that a difference that is not a number fails too
        f"{name} differs by {difference:.3g}, allowed {getattr(limits, name):g}"
        for name, difference in differences.items()
        if not difference <= getattr(limits, name)
    ]
    # The differences above say nothing of places that were not looked for.
    wrong = [name for name in IMAGE_OUTPUTS if np.isnan(getattr(found, name)).any()]
    problems += [f"{name} has values that are no number" for name in wrong]
    if places == 0:
        problems.append("no place of the golden vectors is strong enough to be looked for")
    if missing > limits.missing_places * places:
        problems.append(f"{missing} of {places} places are missing, allowed {limits.missing_places:.0%}")
    return GoldenCheck(engine.name, engine.precision, differences, places, missing, tuple(problems))


def check_text_encoder(
    name: str, encoder: SentenceEncoder, golden: Golden, tolerance: Tolerance | None = None
) -> GoldenCheck:
    """Encode the golden sentences on engine `name` and compare. Raises TextTooLong, EngineError."""
    limit = (tolerance or TOLERANCES["fp32"]).text_embedding
    difference = _largest(encoder.encode(golden.texts) - golden.text_embedding)
    problem = f"{TEXT_EMBEDDING} differs by {difference:.3g}, allowed {limit:g}"
    problems = () if difference <= limit else (problem,)
    return GoldenCheck(name, "text", {TEXT_EMBEDDING: difference}, 0, 0, problems)


def _match(
    expected: EngineOutput, found: EngineOutput, index: int, sure: NDArray[np.intp], limits: Tolerance
) -> tuple[NDArray[np.intp], int]:
    """((n, 2) pairs of expected and found place, number of expected places that have no partner)."""
    box, logit = expected.place_box[index][sure], expected.place_logit[index][sure]
    apart = np.abs(box[:, None] - found.place_box[index]).max(axis=2) / limits.place_box
    best = logit.argmax(axis=1)
    for column in range(logit.shape[1]):
        step = np.abs(logit[:, None, column] - found.place_logit[index][:, column]) / limits.place_logit
        if limits.rounded:
            step[best != column] = 0.0
        np.maximum(apart, step, out=apart)
    nearest = apart.argmin(axis=1)
    same = apart[np.arange(len(sure)), nearest] <= 1.0
    return np.stack([sure[same], nearest[same]], axis=1), int((~same).sum())


def _largest(difference: F32) -> float:
    return float(np.abs(difference).max()) if difference.size else 0.0


def _array(
    archive: Mapping[str, NDArray[np.generic]], name: str, shape: Sequence[int | None], dtype: type[Scalar]
) -> NDArray[Scalar]:
    array = archive[name]
    fits = array.ndim == len(shape) and all(
        have > 0 if want is None else have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not fits:
        wanted = ", ".join("any" if side is None else str(side) for side in shape)
        raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {np.dtype(dtype)} ({wanted})")
    return array.astype(dtype, copy=False)
