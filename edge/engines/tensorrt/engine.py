"""The image engine on an NVIDIA GPU: checks, chunks, and the hand-over to the thread that owns the GPU."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32, IMAGE_OUTPUTS, U8, EngineOutput, Pending
from edge.engines.checks import check_image_inputs
from edge.engines.tensorrt.cuda import CudaThread, load_driver
from edge.engines.tensorrt.library import Library
from edge.engines.tensorrt.plan import LoadedPlan
from edge.engines.tensorrt.sampling import can_sample
from edge.frames import RgbImage
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    from edge.frames import Image
    from edge.tiling.windows import Window

#: An output holds until the second start after its own: so many share the memory in turn.
_OUTPUT_SETS = 2


def load_engine(
    library: Library, plan: bytes, precision: str, image_size: tuple[int, int], label: str
) -> TensorRtImageEngine:
    """Load a plan; a FrameEngine where the GPU makes the tiles, too.

    Args:
        library: the TensorRT that built it.
        plan: its bytes.
        precision: of the graph it was built from.
        image_size: (width, height) that it was built for.
        label: what messages call it.

    Raises:
        EngineError, OutOfMemory: the GPU or TensorRT does not take it. MissingExtra: no pycuda.
    """
    driver = load_driver()
    thread = CudaThread(driver)
    try:
        loaded = thread.run(lambda: LoadedPlan(library, driver, plan, label))
    except BaseException:
        thread.close()
        raise
    kind = TensorRtFrameEngine if loaded.samples else TensorRtImageEngine
    return kind(thread, loaded, precision, image_size)


class TensorRtImageEngine:
    """A plan on the GPU. Satisfies ImageEngine; any thread may call it, one at a time."""

    name = "tensorrt"

    def __init__(
        self, thread: CudaThread, plan: LoadedPlan, precision: str, image_size: tuple[int, int]
    ) -> None:
        """Take over a plan and the thread that it was loaded in. See `load_engine`."""
        self.precision = precision
        self.image_size = image_size
        self._thread, self._plan = thread, plan
        self._max_batch = plan.largest["image"][0]
        self._max_prompts, self._row_width = plan.largest["prompts"]
        self._memory: list[dict[int, EngineOutput]] = [{} for _ in range(_OUTPUT_SETS)]
        self._rows = 0  # of the prompts that the memory is for
        self._started = 0
        # Also when it is dropped unclosed, or at exit: CUDA objects must die in their own thread.
        self._finish = weakref.finalize(self, thread.close, plan.close)

    def start(self, image: U8, prompts: F32, bias: F32) -> Pending:
        """See ImageEngine.start. More tiles than the engine takes at once run one after another."""
        self._check(image, prompts, bias)
        return self._begin(None, image, prompts, bias)

    def infer(self, image: U8, prompts: F32, bias: F32) -> EngineOutput:
        """See ImageEngine.infer."""
        return self.start(image, prompts, bias).result().copy()

    def close(self) -> None:
        """See ImageEngine.close."""
        self._finish()

    def _check(self, image: U8, prompts: F32, bias: F32) -> None:
        if not self._finish.alive:
            raise EngineError("this engine is closed")
        check_image_inputs(image, prompts, bias, self.image_size, self._row_width)
        if len(prompts) > self._max_prompts:
            raise EngineError(f"{len(prompts)} prompt rows, but the engine was built for {self._max_prompts}")

    def _begin(
        self, frame: Image | None, tiles: NDArray[np.uint8] | Sequence[Window], prompts: F32, bias: F32
    ) -> Pending:
        output = self._output(len(tiles), len(prompts))
        self._started += 1
        work = partial(_run, self._plan, self._max_batch, frame, tiles, prompts, bias, output)
        number = self._started
        return _Pending(self._thread.submit(work), output, lambda: self._started - number)

    def _output(self, tiles: int, rows: int) -> EngineOutput:
        """Arrays that the engine uses again, for each number of tiles; new ones for other rows."""
        if rows != self._rows:
            self._rows, self._memory = rows, [{} for _ in range(_OUTPUT_SETS)]
        memory = self._memory[self._started % _OUTPUT_SETS]
        if tiles not in memory:
            shapes = self._plan.output_shapes(tiles, rows)
            memory[tiles] = EngineOutput(
                **{name: np.empty(shapes[name], np.float32) for name in IMAGE_OUTPUTS}
            )
        return memory[tiles]


class TensorRtFrameEngine(TensorRtImageEngine):
    """One that makes the tiles, too: they never leave the GPU. Satisfies FrameEngine."""

    def start_frame(self, image: Image, windows: Sequence[Window], prompts: F32, bias: F32) -> Pending:
        """See FrameEngine.start_frame. All windows that the engine takes at once become tiles in one launch.

        Raises EngineError where a window does not lie in the image, or is not for tiles of this engine.
        """
        width, height = self.image_size
        # No tiles yet, but their shape is what there is to check.
        tiles = np.broadcast_to(np.zeros((), np.uint8), (len(windows), height, width, 3))
        self._check(tiles, prompts, bias)
        for window in windows:
            if (window.fit.width, window.fit.height) != self.image_size:
                raise EngineError(f"{window} is for tiles of another size than {width}x{height}")
            if (
                min(window.x, window.y) < 0
                or window.x + window.width > image.width
                or window.y + window.height > image.height
            ):
                raise EngineError(f"{window} does not lie in the {image.width}x{image.height} image")
            if (window.x % 2 or window.y % 2) and not isinstance(image, RgbImage):
                raise EngineError(
                    f"{window} begins at an odd pixel, but chroma samples colour 2 x 2 (begin at even ones)"
                )
        if not can_sample(image, self.image_size):
            from edge.tiling.windows import Tiling

            return self.start(Tiling(tuple(windows)).render(image), prompts, bias)
        return self._begin(image, windows, prompts, bias)


def _run(
    plan: LoadedPlan,
    most: int,
    frame: Image | None,
    tiles: NDArray[np.uint8] | Sequence[Window],
    prompts: F32,
    bias: F32,
    output: EngineOutput,
) -> float:
    """Run tiles, or windows of the frame, at most so many at once; the seconds that it took."""
    began = time.perf_counter()
    if frame is not None:
        plan.upload(frame)
    for start in range(0, len(tiles), most):
        part = slice(start, start + most)
        outputs = {name: getattr(output, name)[part] for name in IMAGE_OUTPUTS}
        plan.run(tiles[part], prompts, bias, outputs)
    return time.perf_counter() - began


class _Pending:
    """Satisfies edge.engines.base.Pending."""

    def __init__(self, work: Future[float], output: EngineOutput, later: Callable[[], int]) -> None:
        """later: how many were started after this one."""
        self._work = work
        self._output = output
        self._later = later
        self.seconds = 0.0

    def result(self) -> EngineOutput:
        """See Pending.result."""
        self.seconds = self._work.result()
        if self._later() >= _OUTPUT_SETS:
            raise EngineError("this output is gone: two later frames were given to the engine")
        return self._output
