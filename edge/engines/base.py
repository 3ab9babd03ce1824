"""What an engine is: the graph's inputs and outputs, and the Protocols that every runtime answers to."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edge.frames import Image
    from edge.tiling.windows import Window

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]

IMAGE_INPUTS = ("image", "prompts", "bias")
IMAGE_OUTPUTS = ("scene", "embedding", "place_box", "place_embedding", "place_logit")
TEXT_INPUTS = ("input_ids", "attention_mask")
TEXT_OUTPUT = "embedding"


@dataclass(frozen=True, slots=True, eq=False)
class EngineOutput:
    """What the graph says about N images and P prompt rows.

    Of `infer` the arrays are the caller's own; of `start` they may be memory that the engine uses again.

    Attributes:
        scene: (N, P) float32, cosine of each whole image with each row.
        embedding: (N, D) float32, unit length, the image's own.
        place_box: (N, M, 4) float32, x1 y1 x2 y2 in pixels of the model tile.
        place_embedding: (N, M, D + E) float32, the cell's unit embedding, then its position features.
        place_logit: (N, M, P) float32, logits with the caller's `bias` included.
    """

    scene: F32
    embedding: F32
    place_box: F32
    place_embedding: F32
    place_logit: F32

    def copy(self) -> EngineOutput:
        """The same in memory of its own."""
        return EngineOutput(*(getattr(self, name).copy() for name in IMAGE_OUTPUTS))


class Pending(Protocol):
    """Tiles that an engine is at work on."""

    @property
    def seconds(self) -> float:
        """How long the engine took, wall time, without waiting for its turn; known once `result` returned."""
        ...

    def result(self) -> EngineOutput:
        """Wait for it. May be called again.

        Raises EngineError: the runtime failed, or two later starts have used the memory again.
        """
        ...


class ImageEngine(Protocol):
    """Runs the image graph at one image size. Not thread safe: one thread at a time."""

    @property
    def name(self) -> str:
        """The runtime: one of ENGINE_NAMES or GPU_ENGINE_NAMES."""
        ...

    @property
    def precision(self) -> str:
        """The variant that runs: "fp32", "fp16" or "int8"; never "auto"."""
        ...

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels of the tiles it takes."""
        ...

    def start(self, image: U8, prompts: F32, bias: F32) -> Pending:
        """Begin to run N tiles against P rows; the caller goes on meanwhile.

        At most two may be under way. The arguments must stay as they are until the result is there. Its
        arrays may be the engine's own: they hold until the second start after this one.

        Args:
            image: (N, height, width, 3) uint8 RGB, N >= 1.
            prompts: (P, D + E) float32, P >= 1.
            bias: (P,) float32, added to each row's dense logits.

        Raises:
            EngineError: shapes or dtypes do not fit, the engine is closed, or the runtime failed.
        """
        ...

    def infer(self, image: U8, prompts: F32, bias: F32) -> EngineOutput:
        """`start`, and wait; the output is the caller's own."""
        ...

    def close(self) -> None:
        """Free the runtime's memory, after what is under way. May be called twice."""
        ...


@runtime_checkable
class FrameEngine(ImageEngine, Protocol):
    """An engine that makes its tiles itself, of a frame's planes: with TensorRT they never leave the GPU."""

    def start_frame(self, image: Image, windows: Sequence[Window], prompts: F32, bias: F32) -> Pending:
        """As `start` with the tiles of these windows, within one grey level of them.

        The planes must stay as they are until the result is there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """A result that is there already. Satisfies Pending."""

    output: EngineOutput
    seconds: float

    def result(self) -> EngineOutput:
        """See Pending.result."""
        return self.output


class StartsByInferring(ABC):
    """`start` for engines that cannot work beside their caller."""

    @abstractmethod
    def infer(self, image: U8, prompts: F32, bias: F32) -> EngineOutput:
        """See ImageEngine.infer."""

    def start(self, image: U8, prompts: F32, bias: F32) -> Pending:
        """See ImageEngine.start: it is done when this returns."""
        began = time.perf_counter()
        output = self.infer(image, prompts, bias)
        return Done(output, time.perf_counter() - began)


class TextEngine(Protocol):
    """Runs the text graph. Not thread safe: one thread at a time."""

    @property
    def name(self) -> str:
        """The runtime: one of ENGINE_NAMES."""
        ...

    def encode(self, input_ids: I64, attention_mask: I64) -> F32:
        """Embed B token sequences.

        Args:
            input_ids: (B, L) int64 token numbers.
            attention_mask: (B, L) int64, 1 where a token counts and 0 where it is padding.

        Returns:
            (B, D) float32 of unit length.

        Raises:
            EngineError: shapes or dtypes do not fit, the engine is closed, or the runtime failed.
        """
        ...

    def close(self) -> None:
        """Free the runtime's memory. May be called twice."""
        ...
