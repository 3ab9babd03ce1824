"""One frame from pixels to counts: letterbox, engine, lookup, tracker, counter."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from edge.bundle import Bundle
from edge.counting import Counter, FrameCounts
from edge.engines.base import ImageEngine
from edge.letterbox import best_image_size, letterbox
from edge.lookup import FrameScores, lookup
from edge.prompt_bank import PromptBank, PromptStore
from edge.prompts import build_prompt_bank
from edge.runtime import BundleRuntime, Runtime
from edge.tracking import TrackedPlace, Tracker, TrackerSettings
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    from edge.frames import Frame
    from firmware_cfg.prompt_list import LoadedPromptList

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Wall time that one frame spent in each stage, in seconds."""

    letterbox: float
    engine: float
    lookup: float
    tracking: float


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """All that the pipeline found in one frame.

    Attributes:
        frame: the frame itself.
        scores: scenes and places.
        tracks: the places with their track ids, in the order of `scores.places`.
        counts: per-prompt counts, uniques, zones and crossings.
        bank: the prompt bank that this frame was looked up with.
        engine, precision: what ran, such as "openvino" and "fp32"; never "auto".
        image_size: (width, height) of the model tile.
        seconds: where the time went.
        independent: the frame is an unrelated image: its unique counts are its own, no running total.
    """

    frame: Frame
    scores: FrameScores
    tracks: tuple[TrackedPlace, ...]
    counts: FrameCounts
    bank: PromptBank
    engine: str
    precision: str
    image_size: tuple[int, int]
    seconds: StageSeconds
    independent: bool


class Pipeline:
    """The daemon's and every evaluation's way from a frame to its counts.

    `process` belongs to one thread; `set_prompts` may be called from any. A context manager, or `close` it.
    """

    def __init__(
        self,
        model: Bundle | Runtime,
        prompt_list: LoadedPromptList,
        *,
        engine_name: str = "openvino",
        precision: str = "auto",
        image_size: tuple[int, int] | None = None,
        threads: int | None = None,
        independent: bool = False,
        text_cache: Path | None = None,
        workspace_mib: int | None = None,
    ) -> None:
        """Encode the prompt list; image engines are loaded when the size of the frames is known.

        Args:
            model: the verified bundle, or another model that runs, such as a checkpoint in an evaluation.
            prompt_list: what to look for.
            engine_name, precision, threads, workspace_mib: of a bundle, see `create_image_engine`.
            image_size: (width, height) of the model tile; default: what the prompt list says, else for every
                size of frame the model's size that wastes little of the tile and of the frame.
            independent: the frames are unrelated images: nothing is tracked from one to the next, every place
                is a thing of its own, and unique counts begin anew with each image.
            text_cache: of a bundle, see TextEncoder.

        Raises:
            UsageError, ConfigErrors: the list does not fit the bundle (see `build_prompt_bank`).
            BundleError, EngineError, MissingExtra: the text tower cannot be loaded.
        """
        if isinstance(model, Bundle):
            model = BundleRuntime(model, engine_name, precision, threads, text_cache, workspace_mib)
        self._runtime: Runtime = model
        self._image_size = image_size
        self._independent = independent
        self._encoding = threading.Lock()
        self._engines: dict[tuple[int, int], ImageEngine] = {}
        self._closed = False
        self._store = PromptStore(self._build(prompt_list))
        self._tracker = Tracker(TrackerSettings(confirm_hits=1) if independent else None)
        self._counted_bank = self._store.current
        self._counter = Counter(self._counted_bank.prompt_list)

    @property
    def bank(self) -> PromptBank:
        """The prompt bank that the next frame will be looked up with."""
        return self._store.current

    def set_prompts(self, prompt_list: LoadedPromptList) -> PromptBank:
        """Put another list in use from the next frame on; returns its bank. Unique counts begin anew.

        Raises:
            UsageError, ConfigErrors, EngineError, MissingExtra: as above; the old list stays in use.
        """
        bank = self._build(prompt_list)
        self._store.swap(bank)
        return bank

    def process(self, frame: Frame) -> FrameResult:
        """Find, track and count in one frame. Raises EngineError, MissingExtra."""
        bank = self._store.current
        if bank is not self._counted_bank:
            self._counted_bank, self._counter = bank, Counter(bank.prompt_list)
        width, height = size = self._size_for(frame, bank)
        engine = self._engine(size)
        began = time.perf_counter()
        tile, fit = letterbox(frame.image, width, height)
        boxed = time.perf_counter()
        output = engine.infer(tile[None], bank.rows, bank.bias)
        inferred = time.perf_counter()
        runtime = self._runtime
        scores = lookup(output, 0, bank, runtime.calibration, fit, stride=runtime.facts.stride)
        looked_up = time.perf_counter()
        if self._independent:
            self._tracker.reset()
            self._counter.reset()
        tracks = self._tracker.update(scores.places, frame.time_s)
        counts = self._counter.update(tracks, scores, frame.width, frame.height, frame.time_s)
        counted = time.perf_counter()
        seconds = StageSeconds(boxed - began, inferred - boxed, looked_up - inferred, counted - looked_up)
        return FrameResult(
            frame=frame,
            scores=scores,
            tracks=tracks,
            counts=counts,
            bank=bank,
            engine=engine.name,
            precision=engine.precision,
            image_size=size,
            seconds=seconds,
            independent=self._independent,
        )

    def close(self) -> None:
        """Free every engine. May be called twice."""
        self._closed = True
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _build(self, prompt_list: LoadedPromptList) -> PromptBank:
        with self._encoding:
            try:
                runtime = self._runtime
                return build_prompt_bank(prompt_list, runtime.sentences, runtime.facts, runtime.calibration)
            finally:
                # Lists change rarely and a drone's memory is small: the text tower does not stay loaded.
                runtime.release_sentences()

    def _size_for(self, frame: Frame, bank: PromptBank) -> tuple[int, int]:
        wanted = self._image_size or bank.prompt_list.image_size
        if wanted is not None:
            return wanted
        return best_image_size(frame.width, frame.height, self._runtime.facts.image_sizes)

    def _engine(self, size: tuple[int, int]) -> ImageEngine:
        if self._closed:
            raise EngineError("this pipeline is closed")
        if size not in self._engines:
            engine = self._runtime.image_engine(size)
            _log.info("%s %s at %dx%d", engine.name, engine.precision, *size)
            self._engines[size] = engine
        return self._engines[size]
