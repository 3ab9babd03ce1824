"""A plan in GPU memory: its buffers, its stream, and the CUDA graph of the shapes it runs again and again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
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
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    import tensorrt

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
        self._runs = 0  # with these shapes
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
            undo.pop_all()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for one set of inputs, none larger than `largest`, as arrays of their own.

        Raises EngineError, OutOfMemory.
        """
        with cuda_errors(self._driver, f"{self._label}: tensorrt failed"):
            shapes = tuple(inputs[name].shape for name in IMAGE_INPUTS)
            if shapes != self._shapes:
                self._set_shapes(shapes)
            for name in IMAGE_INPUTS:
                self._ports[name].view(inputs[name].shape)[...] = inputs[name]
            self._launch()
            self._stream.synchronize()
            return {name: self._ports[name].view(shape).copy() for name, shape in self._outputs.items()}

    def close(self) -> None:
        """Free everything, in the order that TensorRT wants. May be called twice."""
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
        shapes = {**self.largest, **self._outputs_for(self.largest)}
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

    def _set_shapes(self, shapes: tuple[Shape, ...]) -> None:
        self._drop_graph()
        self._shapes = ()  # unknown until all is well
        self._outputs = self._outputs_for(dict(zip(IMAGE_INPUTS, shapes, strict=True)))
        self._shapes, self._runs = shapes, 0

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
        for name in IMAGE_INPUTS:
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
