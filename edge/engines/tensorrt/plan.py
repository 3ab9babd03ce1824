"""A plan in GPU memory: its buffers, its stream, and the CUDA graph of the shapes it runs again and again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import IMAGE_INPUTS, IMAGE_OUTPUTS
from edge.engines.tensorrt.cuda import cuda_errors
from edge.engines.tensorrt.errors import OutOfMemory, is_out_of_memory
from edge.engines.tensorrt.graphs import CaptureFailed, CudaGraph
from edge.engines.tensorrt.library import Library, MessageLog
from edge.engines.tensorrt.memory import Port, Shape
from edge.engines.tensorrt.proof import open_sampler
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    import tensorrt

    from edge.frames import Image
    from edge.tiling.windows import Window

#: The outputs that have a number for every prompt, last.
_OF_PROMPTS = ("scene", "place_logit")

_log = logging.getLogger(__name__)


class LoadedPlan:
    """A deserialized engine with one context. Made, used and closed in one CudaThread."""

    def __init__(self, library: Library, driver: Any, plan: bytes, label: str) -> None:
        """Load a plan and take all the memory it will ever need.

        Args:
            library: the TensorRT that built it.
            driver: `cuda.load_driver()`.
            plan: its bytes.
            label: what messages call it.

        Raises:
            EngineError: this TensorRT or GPU does not take it; OutOfMemory: too little GPU memory.
        """
        self._library, self._driver, self._label = library, driver, label
        self._log = MessageLog(library)
        self._closing = ExitStack()
        self._shapes: tuple[Shape, ...] = ()
        self._from_host = True  # whether the tiles come from there
        self._runs = 0  # with these shapes and tiles from there
        self._graph: CudaGraph | None = None
        self._graphs_work = True
        with ExitStack() as undo, cuda_errors(driver, label):
            undo.callback(self.close)
            self._runtime: tensorrt.Runtime = library.api.Runtime(self._log.logger)
            self._engine = self._need(self._runtime.deserialize_cuda_engine(plan), "cannot load it")
            self._context = self._need(self._engine.create_execution_context(), "cannot prepare it")
            self._stream: Any = driver.Stream()
            self.largest = {name: self._largest(name) for name in IMAGE_INPUTS}
            self._ports: dict[str, Port] = {}
            self._allocate()
            self._sampler, why = open_sampler(driver)
            if self._sampler is None:
                _log.info("%s: tiles are made on the processor: %s", label, why)
            else:
                self._closing.callback(self._sampler.free)
            undo.pop_all()

    @property
    def samples(self) -> bool:
        """Whether it makes tiles of frames itself."""
        return self._sampler is not None

    def output_shapes(self, tiles: int, prompts: int) -> dict[str, Shape]:
        """The shapes of the outputs for so many tiles and prompt rows."""
        return {
            name: (tiles, *shape[1:-1], prompts if name in _OF_PROMPTS else shape[-1])
            for name, shape in self._largest_outputs.items()
        }

    def upload(self, image: Image) -> None:
        """Take in a frame for `run` to make tiles of, where it `samples`. Raises EngineError, OutOfMemory."""
        assert self._sampler is not None
        with cuda_errors(self._driver, f"{self._label}: a frame cannot be copied to the GPU"):
            self._sampler.upload(image, self._stream)

    def run(
        self,
        tiles: NDArray[np.uint8] | Sequence[Window],
        prompts: NDArray[np.float32],
        bias: NDArray[np.float32],
        outputs: Mapping[str, NDArray[np.float32]],
    ) -> None:
        """Run a batch no larger than `largest`, and write what comes of it.

        Args:
            tiles: (N, height, width, 3), or N windows of the frame that was uploaded last.
            prompts, bias: see ImageEngine.start.
            outputs: arrays of `output_shapes` by name, to be written.

        Raises EngineError, OutOfMemory.
        """
        with cuda_errors(self._driver, f"{self._label}: tensorrt failed"):
            image_shape = (len(tiles), *self.largest["image"][1:])
            self._prepare((image_shape, prompts.shape, bias.shape), isinstance(tiles, np.ndarray))
            if isinstance(tiles, np.ndarray):
                self._ports["image"].view(image_shape)[...] = tiles
            else:
                self._render(tiles)
            for name, array in (("prompts", prompts), ("bias", bias)):
                self._ports[name].view(array.shape)[...] = array
            self._launch()
            self._stream.synchronize()
            for name, shape in self._outputs.items():
                outputs[name][...] = self._ports[name].view(shape)

    def close(self) -> None:
        """Free everything, in the order that TensorRT wants. May be called twice."""
        self._sampler = None
        self._drop_graph()
        self._closing.close()
        # Contexts before their engine, the engine before its runtime.
        for name in ("_context", "_engine", "_runtime", "_stream"):
            if hasattr(self, name):
                delattr(self, name)

    def _need(self, made: Any, what: str) -> Any:
        if made is not None:
            return made
        errors = self._log.take() or ("it gives no reason",)
        text = next((line for line in errors if is_out_of_memory(line)), errors[0])
        if is_out_of_memory(text):
            raise OutOfMemory(
                f"{self._label}: the GPU has too little free memory: {text} (close what else uses it)"
            )
        raise EngineError(f"{self._label}: {self._library} {what}: {text} (build the engine again)")

    def _largest(self, name: str) -> Shape:
        return tuple(self._engine.get_tensor_profile_shape(name, 0)[2])

    def _allocate(self) -> None:
        """Every port at its largest: nothing is ever allocated in flight."""
        api = self._library.api
        names = {self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)}
        if missing := {*IMAGE_INPUTS, *IMAGE_OUTPUTS} - names:
            raise EngineError(
                f"{self._label}: the engine has no {', '.join(sorted(missing))} (build it again)"
            )
        self._largest_outputs = self._outputs_for(self.largest)
        shapes = {**self.largest, **self._largest_outputs}
        for name, shape in shapes.items():
            dtype = np.dtype(api.nptype(self._engine.get_tensor_dtype(name)))
            self._ports[name] = port = Port(self._driver, shape, dtype)
            self._closing.callback(port.free)
            if not self._context.set_tensor_address(name, port.address):
                raise EngineError(f"{self._label}: {self._library} refuses the memory of {name}")

    def _outputs_for(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Tell the context its input shapes; the shapes of the outputs that follow."""
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                reason = "; ".join(self._log.take()) or "outside of what the engine was built for"
                raise EngineError(f"{self._label}: {name} cannot be {shape}: {reason}")
        outputs = {name: tuple(self._context.get_tensor_shape(name)) for name in IMAGE_OUTPUTS}
        for name, shape in outputs.items():
            if -1 in shape:
                raise EngineError(f"{self._label}: the shape of {name} depends on the image: {shape}")
        return outputs

    def _prepare(self, shapes: tuple[Shape, ...], from_host: bool) -> None:
        """Have the context and the graph fit what runs next.

        One graph only: TensorRT calls it undefined to replay one after its context took other shapes.
        """
        if (shapes, from_host) == (self._shapes, self._from_host):
            return
        self._drop_graph()
        if shapes != self._shapes:
            self._shapes = ()  # unknown until all is well
            self._outputs = self._outputs_for(dict(zip(IMAGE_INPUTS, shapes, strict=True)))
        self._shapes, self._from_host, self._runs = shapes, from_host, 0

    def _render(self, windows: Sequence[Window]) -> None:
        """Tiles of the frame to where TensorRT reads them; outside of the graph, as windows may change."""
        assert self._sampler is not None
        height, width = self.largest["image"][1:3]
        self._sampler.render(windows, (width, height), self._ports["image"].address, self._stream)

    def _launch(self) -> None:
        """Replay the graph of these shapes; TensorRT wants the first run without, the second records it."""
        if self._graph is None and self._graphs_work and self._runs > 0:
            self._record()
        self._runs += 1
        if self._graph is not None:
            self._graph.launch(self._stream.handle)
        else:
            self._enqueue()

    def _record(self) -> None:
        capturable = getattr(self._context, "is_stream_capturable", None)  # TensorRT-RTX knows beforehand
        try:
            if capturable is not None and not capturable(self._stream.handle):
                raise CaptureFailed(f"{self._library} says that it cannot be recorded")
            self._graph = CudaGraph(self._stream.handle, self._enqueue)
        except (EngineError, self._driver.Error) as error:
            self._graphs_work = False
            self._log.take()
            _log.info("%s: runs without a CUDA graph: %s", self._label, error)

    def _enqueue(self) -> None:
        for name in IMAGE_INPUTS if self._from_host else IMAGE_INPUTS[1:]:
            self._ports[name].to_device(self._stream)
        if not self._context.execute_async_v3(self._stream.handle):
            raise EngineError(f"{self._label}: tensorrt failed: {'; '.join(self._log.take()) or 'no reason'}")
        for name, shape in self._outputs.items():
            self._ports[name].view(shape)
            self._ports[name].to_host(self._stream)

    def _drop_graph(self) -> None:
        if self._graph is not None:
            self._graph.close()
            self._graph = None
