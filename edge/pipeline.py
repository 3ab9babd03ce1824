"""One frame from pixels to counts: tiles, engine, lookup, and what is followed from frame to frame."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, overload

from edge.bundle.load import Bundle
from edge.counting import FrameCounts
from edge.engines.pool import EnginePool
from edge.follow import Follower
from edge.letterbox import best_image_size
from edge.lookup import FrameScores
from edge.prompts.bank import PromptBank, PromptStore
from edge.prompts.builder import Asked, BankBuilder, never
from edge.runtime import BundleRuntime, Runtime
from edge.tiling import Tiles, lookup_tiles, tiles_for
from edge.tracking import TrackedPlace

if TYPE_CHECKING:
    from edge.frames import Frame
    from edge.geo.ground import GroundPoints
    from edge.geo.locate import Locator
    from firmware_cfg.messages.prompts import PromptSource
    from firmware_cfg.prompt_list import LoadedPromptList


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Wall time that one frame spent in each stage, in seconds."""

    letterbox: float
    engine: float
    lookup: float
    motion: float
    tracking: float


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """All that the pipeline found in one frame.

    Attributes:
        frame: the frame itself.
        scores: scenes and places.
        tracks: the places with their track ids: those of `scores.places` in their order, then the faint ones
            that go on with a track.
        ground: where the tracks stand, in their order; None without a camera or a pose.
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
    ground: GroundPoints | None
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
        tiles: Tiles = "none",
        locator: Locator | None = None,
        threads: int | None = None,
        independent: bool = False,
        text_cache: Path | None = None,
        workspace_mib: int | None = None,
        prompts_source: PromptSource = "file",
        keep_text_tower: bool = False,
    ) -> None:
        """Encode the prompt list; image engines are loaded when the size of the frames is known.

        Args:
            model: the verified bundle, or another model that runs, such as a checkpoint in an evaluation.
            prompt_list: what to look for.
            engine_name, precision, threads, workspace_mib: of a bundle, see `create_image_engine`.
            image_size: (width, height) of the model tile; default: what the prompt list says, else for every
                size of frame the model's size that wastes little of the tile and of the frame.
            tiles: windows of a large frame to look at beside the whole of it.
            locator: the camera, to tell where on the ground things are in frames that have a pose.
            independent: the frames are unrelated images: nothing is tracked from one to the next, every place
                is a thing of its own, and unique counts begin anew with each image.
            text_cache: of a bundle, see TextEncoder.
            prompts_source: where the list came from.
            keep_text_tower: between lists, too: another list is in use a tower's loading sooner.

        Raises:
            ConfigErrors: the list does not fit the bundle (see `build_prompt_bank`).
            BundleError, EngineError, MissingExtra: the text tower cannot be loaded.
        """
        if isinstance(model, Bundle):
            model = BundleRuntime(model, engine_name, precision, threads, text_cache, workspace_mib)
        self._runtime: Runtime = model
        self._image_size = image_size
        self._tiles = tiles
        self._independent = independent
        self._banks = BankBuilder(model, keep_text_tower=keep_text_tower)
        self._engines = EnginePool(model)
        self._frame_size: tuple[int, int] | None = None
        with self._banks.turn():
            self._store = PromptStore(self._banks.build(prompt_list, prompts_source))
        self._counted_bank = self._store.current
        self._follower = Follower(
            self._counted_bank.prompt_list,
            independent=independent,
            locator=locator,
            embedding_width=model.facts.embedding_width,
        )

    @property
    def bank(self) -> PromptBank:
        """The prompt bank that the next frame will be looked up with."""
        return self._store.current

    def set_prompts(
        self,
        prompt_list: LoadedPromptList,
        *,
        source: PromptSource = "file",
        data: bytes | None = None,
        interrupted: Asked = never,
    ) -> PromptBank:
        """Put another list in use from the next frame on; returns its bank. Unique counts begin anew.

        All that takes time happens here, in the caller's thread: no frame waits for a sentence, nor for the
        engine of an image size that only the new list asks for.

        Args:
            source, data: where the list came from and its bytes, see `build_prompt_bank`.
            interrupted: asked between sentences, in this thread, whether to give up; `close` interrupts, too.

        Raises:
            Interrupted: it was, and the old list stays in use.
            ConfigErrors, EngineError, MissingExtra: as above; the old list stays in use.
        """
        with self._banks.turn():
            bank = self._banks.build(prompt_list, source, data, interrupted)
            if size := self._size_for(self._frame_size, bank):
                self._engines.load(size)
            self._store.swap(bank)
        return bank

    def load_text_tower(self) -> None:
        """Load it now, where it is to be kept, so that the first change of the list does not wait for it.

        Raises EngineError, MissingExtra.
        """
        self._banks.load_text_tower()

    def is_ready_for(self, frame: Frame) -> bool:
        """Whether the engine for frames of this size is there; else `process` loads it, or even builds it."""
        return self._engines.has(self._size_for((frame.width, frame.height), self._store.current))

    def process(self, frame: Frame) -> FrameResult:
        """Find, track and count in one frame. Raises EngineError, MissingExtra."""
        bank = self._store.current
        self._frame_size = (frame.width, frame.height)
        size = self._size_for(self._frame_size, bank)
        if bank is not self._counted_bank:
            self._counted_bank = bank
            self._follower.adopt(bank.prompt_list)
            # Sizes that lists asked for come and go; those that the bundle names are few.
            self._engines.keep({size, *self._runtime.facts.image_sizes})
        engine = self._engines.get(size)
        began = time.perf_counter()
        tiling = tiles_for(frame.width, frame.height, size, self._tiles)
        tiles = tiling.render(frame.image)
        boxed = time.perf_counter()
        output = engine.infer(tiles, bank.rows, bank.bias)
        inferred = time.perf_counter()
        runtime = self._runtime
        scores = lookup_tiles(output, bank, runtime.calibration, tiling, stride=runtime.facts.stride)
        looked_up = time.perf_counter()
        followed = self._follower.take(frame, scores)
        seconds = StageSeconds(
            letterbox=boxed - began,
            engine=inferred - boxed,
            lookup=looked_up - inferred,
            motion=followed.motion_s,
            tracking=followed.tracking_s,
        )
        return FrameResult(
            frame=frame,
            scores=scores,
            tracks=followed.tracks,
            ground=followed.ground,
            counts=followed.counts,
            bank=bank,
            engine=engine.name,
            precision=engine.precision,
            image_size=size,
            seconds=seconds,
            independent=self._independent,
        )

    def close(self) -> None:
        """Free every engine. May be called twice."""
        self._engines.close()
        self._banks.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @overload
    def _size_for(self, frame_size: tuple[int, int], bank: PromptBank) -> tuple[int, int]: ...

    @overload
    def _size_for(self, frame_size: None, bank: PromptBank) -> tuple[int, int] | None: ...

    def _size_for(self, frame_size: tuple[int, int] | None, bank: PromptBank) -> tuple[int, int] | None:
        """The model's image size; None where it depends on a frame and none has been seen."""
        wanted = self._image_size or bank.prompt_list.image_size
        if wanted is not None or frame_size is None:
            return wanted
        return best_image_size(*frame_size, self._runtime.facts.image_sizes)
