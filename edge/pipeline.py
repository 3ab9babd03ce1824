"""One frame from pixels to counts: tiles, engine, lookup, and what is followed from frame to frame.

`process` does one frame after another. A loop that has frames to spare begins the next one before it finishes
the first: lookup, tracks and counts, and the camera's motion, are then done while the engine works.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeAlias

from edge.bundle.load import Bundle
from edge.engines.pool import EnginePool
from edge.follow import Follower
from edge.frame_result import FrameResult, StageSeconds
from edge.in_flight import Chooser, InFlight, Tiler
from edge.letterbox import best_image_size
from edge.prompts.bank import PromptBank, PromptStore
from edge.prompts.builder import Asked, BankBuilder, never
from edge.runtime import BundleRuntime, Runtime
from edge.tiling import Tiles, lookup_tiles, tiles_for

if TYPE_CHECKING:
    from edge.frames import Frame
    from edge.geo.locate import Locator
    from firmware_cfg.messages.prompts import PromptSource
    from firmware_cfg.prompt_list import LoadedPromptList


__all__ = ["FrameResult", "InFlight", "Pipeline", "StageSeconds", "TilesWhere"]

TilesWhere: TypeAlias = Literal["everywhere", "interest"]


class Pipeline:
    """The daemon's and every evaluation's way from a frame to its counts.

    Frames belong to one thread; `set_prompts` may be called from any. A context manager, or `close` it.
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
        tiles_where: TilesWhere = "everywhere",
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
            tiles_where: in all of them, or where something is of interest, see edge.tiling.interest.
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
        self._tiler = Tiler()
        self._flying: deque[InFlight] = deque()
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
        chooses = tiles_where == "interest" and tiles != "none" and not independent
        self._chooser = Chooser(self._follower) if chooses else None

    @property
    def most_in_flight(self) -> int:
        """One with the engine, and one whose output is being worked on.

        Only one where what a frame shows decides where the next one is looked at.
        """
        return 2 if self._chooser is None else 1

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
            size = self._size_for(self._frame_size, bank) if self._frame_size else self._stated_size(bank)
            if size is not None:
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
        return self.finish(self.begin(frame))

    def begin(self, frame: Frame) -> InFlight:
        """Give a frame to the engine, for the list in use now. At most `most_in_flight` may be unfinished.

        Raises EngineError, MissingExtra; the frame is then not in flight.
        """
        if len(self._flying) == self.most_in_flight:
            raise RuntimeError(f"{self.most_in_flight} frames are in flight: finish the first of them")
        bank = self._store.current
        self._frame_size = (frame.width, frame.height)
        size = self._size_for(self._frame_size, bank)
        engine = self._engines.get(size)
        tiling = everywhere = tiles_for(frame.width, frame.height, size, self._tiles)
        look = None
        with self._in_step():
            if self._chooser is not None and len(everywhere.windows) > 1:
                tiling, look = self._chooser.choose(frame, everywhere)
            looked_at = None if tiling is everywhere else tiling.spans
            pending, preprocess_s = self._tiler.start(engine, frame.image, tiling, bank)
        flying = InFlight(frame, bank, engine, tiling, size, looked_at, pending, preprocess_s, look=look)
        self._flying.append(flying)
        return flying

    def wait(self, flying: InFlight) -> None:
        """Find out how the camera moved, then wait for the engine. The frame before has to be finished.

        Raises EngineError.
        """
        self._check_turn(flying)
        if flying.look is None:
            flying.look = self._follower.look(flying.frame)
        began = time.perf_counter()
        flying.pending.result()
        flying.wait_s += time.perf_counter() - began

    def finish(self, flying: InFlight) -> FrameResult:
        """What was found in a frame; frames are finished in the order in which they began.

        Raises EngineError; the frame is finished all the same.
        """
        self._check_turn(flying)
        with self._in_step():
            try:
                self.wait(flying)
            finally:
                self._flying.popleft()
            return self._found(flying)

    def _found(self, flying: InFlight) -> FrameResult:
        frame, bank, facts = flying.frame, flying.bank, self._runtime.facts
        began = time.perf_counter()
        output = flying.pending.result()
        scores = lookup_tiles(output, bank, self._runtime.calibration, flying.tiling, stride=facts.stride)
        looked_up = time.perf_counter()
        if bank is not self._counted_bank:
            self._counted_bank = bank
            self._follower.adopt(bank.prompt_list)
            # Sizes that lists asked for come and go; those that the bundle names are few.
            in_use = {flying.image_size, *(other.image_size for other in self._flying)}
            self._engines.keep({*in_use, *facts.image_sizes})
        followed = self._follower.take(frame, scores, flying.look, flying.looked_at)
        if self._chooser is not None:
            self._chooser.found(followed, scores)
        return FrameResult(
            frame=frame,
            scores=scores,
            tracks=followed.tracks,
            ground=followed.ground,
            counts=followed.counts,
            bank=bank,
            engine=flying.engine.name,
            precision=flying.engine.precision,
            image_size=flying.image_size,
            seconds=flying.seconds(looked_up - began, followed),
            independent=self._independent,
        )

    @contextmanager
    def _in_step(self) -> Iterator[None]:
        """Where a frame fails, nothing is said of it to what chose its windows: that begins anew."""
        try:
            yield
        except BaseException:
            if self._chooser is not None:
                self._chooser.forget()
            raise

    def forget(self) -> None:
        """Give up what is in flight: it will not be finished."""
        self._flying.clear()
        if self._chooser is not None:
            self._chooser.forget()

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

    def _check_turn(self, flying: InFlight) -> None:
        if not self._flying or self._flying[0] is not flying:
            raise RuntimeError(
                "it is another frame's turn: frames are finished in the order they began, once"
            )

    def _size_for(self, frame_size: tuple[int, int], bank: PromptBank) -> tuple[int, int]:
        """The model's image size for frames of a size."""
        return self._stated_size(bank) or best_image_size(*frame_size, self._runtime.facts.image_sizes)

    def _stated_size(self, bank: PromptBank) -> tuple[int, int] | None:
        return self._image_size or bank.prompt_list.image_size
