"""An NVIDIA GPU made of host memory: CUDA's rules hold, and ONNX Runtime stands in for TensorRT's kernels.

No machine that runs these tests need have a GPU. What the fake insists on is what a GPU insists on: a context
current in the calling thread, work that happens only when its stream is waited for, memory that is limited
and must be given back, and graphs that replay what was recorded at the addresses of then.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

import edge.engines.latency as latency
import edge.engines.tensorrt.graphs as graphs
import edge.engines.tensorrt.proof as proof
from edge.engines.base import IMAGE_INPUTS, IMAGE_OUTPUTS

EMULATOR = Path(__file__).parent / "tensorrt" / "emulate.cpp"
NATIVE = Path(__file__).parents[3] / "edge" / "native"


class CudaError(Exception):
    """As pycuda.driver.Error."""


class CudaMemoryError(CudaError):
    """As pycuda.driver.MemoryError."""


class FakeGpu:
    """The state of one GPU, and the two libraries that reach it.

    free: bytes that may still be allocated; flaws: graph file -> added to every scene score, a wrong fusion;
    delay: graph file -> seconds of a run; captures: whether graphs can be recorded; replay_flaw: as a flaw,
    but of what is replayed only; replays: whether a graph that is launched does anything; emulator: the tile
    kernels compiled for the processor; launches: each one's (kernel, grid).
    """

    def __init__(self) -> None:
        self.free = 1 << 30
        self.flaws: dict[str, float] = {}
        self.delay: dict[str, float] = {}
        self.captures = self.replays = True
        self.replay_flaw = self._flaw_now = 0.0
        self.flags_only = False  # a TensorRT that builds only with builder flags
        self.builds: list[str] = []
        self.ran = self.replayed = 0
        self.emulator: Any = None
        self.launches: list[tuple[str, tuple[int, ...]]] = []
        self.living: set[object] = set()
        self.threads: set[str] = set()
        self._current = threading.local()
        self._streams: dict[int, FakeStream] = {}
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self.driver = fake_driver(self)
        self.api = fake_tensorrt(self)

    def check_context(self) -> None:
        self.threads.add(threading.current_thread().name)
        if not getattr(self._current, "depth", 0):
            raise CudaError("cuFunction failed: invalid device context")

    def enter(self) -> None:
        self._current.depth = getattr(self._current, "depth", 0) + 1

    def leave(self) -> None:
        self.check_context()
        self._current.depth -= 1

    # What graphs.py calls by ctypes, out of libcuda.
    def cuStreamBeginCapture_v2(self, stream: Any, mode: Any) -> int:
        self._streams[stream.value].recording = []
        return 0

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:
        source = self._streams[stream.value]
        work, source.recording = source.recording, None
        if not self.captures:
            return 901
        graph._obj.value = len(self._graphs) + 1
        self._graphs[graph._obj.value] = work or []
        return 0

    def cuGraphInstantiateWithFlags(self, made: Any, graph: Any, flags: Any) -> int:
        made._obj.value = graph.value
        self.living.add(("graph", graph.value))
        return 0

    def cuGraphDestroy(self, graph: Any) -> int:
        return 0

    def cuGraphExecDestroy(self, made: Any) -> int:
        self.check_context()
        self.living.remove(("graph", made.value))
        return 0

    def cuGraphLaunch(self, made: Any, stream: Any) -> int:
        self.replayed += 1
        if self.replays:
            recorded = self._graphs[made.value]
            self._streams[stream.value].work += [self._err, *recorded, self._err_no_more]
        return 0

    def _err(self) -> None:
        self._flaw_now = self.replay_flaw

    def _err_no_more(self) -> None:
        self._flaw_now = 0.0

    def cuGetErrorName(self, status: Any, name: Any) -> int:
        name._obj.value = b"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"
        return 0


class FakeStream:
    def __init__(self, gpu: FakeGpu) -> None:
        gpu.check_context()
        self._gpu = gpu
        self.handle = len(gpu._streams) + 1
        self.work: list[Callable[[], None]] = []
        self.recording: list[Callable[[], None]] | None = None
        gpu._streams[self.handle] = self

    def enqueue(self, work: Callable[[], None]) -> None:
        self._gpu.check_context()
        (self.work if self.recording is None else self.recording).append(work)

    def synchronize(self) -> None:
        self._gpu.check_context()
        work, self.work = self.work, []
        for step in work:
            step()


class FakeEvent:
    """The time at which its stream came by."""

    def record(self, stream: FakeStream) -> None:
        self._stream = stream
        stream.enqueue(lambda: setattr(self, "_time", time.perf_counter()))

    def synchronize(self) -> None:
        self._stream.synchronize()

    def time_till(self, later: FakeEvent) -> float:
        return (later._time - self._time) * 1e3


class FakeMemory:
    """Device memory: an address, and nothing numpy could take for an array."""

    def __init__(self, gpu: FakeGpu, size: int) -> None:
        gpu.check_context()
        if size > gpu.free:
            raise CudaMemoryError("cuMemAlloc failed: out of memory")
        gpu.free -= size
        self._gpu, self._size, self._bytes = gpu, size, (ctypes.c_char * size)()
        gpu.living.add(self)

    def __int__(self) -> int:
        return ctypes.addressof(self._bytes)

    def free(self) -> None:
        self._gpu.check_context()
        self._gpu.living.remove(self)
        self._gpu.free += self._size


class PinnedMemory:
    def __init__(self, gpu: FakeGpu, count: int, dtype: Any) -> None:
        gpu.check_context()
        self._gpu, self._array = gpu, np.zeros(count, dtype)
        gpu.living.add(self)

    @property
    def __array_interface__(self) -> Any:
        return self._array.__array_interface__

    def free(self) -> None:
        self._gpu.living.remove(self)


class FakeModule:
    """A module of kernels, which the emulator runs when the stream comes to them."""

    def __init__(self, gpu: FakeGpu) -> None:
        gpu.check_context()
        if gpu.emulator is None:
            raise CudaError("cuModuleLoad failed: no kernel image is available for execution on the device")
        self._gpu = gpu

    def get_function(self, name: str) -> Any:
        def launch(grid: tuple[int, ...], block: tuple[int, ...], stream: FakeStream, data: bytes) -> None:
            sizes = [(ctypes.c_uint * 3)(*sides) for sides in (grid, block)]
            self._gpu.launches.append((name, grid))
            stream.enqueue(lambda: self._gpu.emulator.emulate(name.encode(), data, *sizes) and None)

        def prepare(formats: list[str]) -> Any:
            (only,) = formats  # as pycuda, which packs the parameters with struct
            assert only.endswith("s")
            return SimpleNamespace(
                prepared_async_call=lambda grid, block, stream, data: launch(
                    grid, block, stream, bytes(data).ljust(int(only[:-1]), b"\0")
                )
            )

        return SimpleNamespace(prepare=prepare)


def fake_driver(gpu: FakeGpu) -> Any:
    """pycuda.driver."""

    def to_device(memory: FakeMemory, array: Any, stream: FakeStream) -> None:
        stream.enqueue(lambda: ctypes.memmove(int(memory), array.ctypes.data, array.nbytes) and None)

    def to_host(array: Any, memory: FakeMemory, stream: FakeStream) -> None:
        stream.enqueue(lambda: ctypes.memmove(array.ctypes.data, int(memory), array.nbytes) and None)

    def within(to: int, source: int, size: int, stream: FakeStream) -> None:
        stream.enqueue(lambda: ctypes.memmove(to, source, size) and None)

    class Device:
        def __init__(self, index: int) -> None:
            assert index == 0

        count = staticmethod(lambda: 1)
        name = staticmethod(lambda: "Orin")
        compute_capability = staticmethod(lambda: (8, 7))
        get_attribute = staticmethod(lambda attribute: {"processors": 8}[attribute])
        retain_primary_context = staticmethod(lambda: SimpleNamespace(push=gpu.enter))

    module = ModuleType("pycuda.driver")
    vars(module).update(
        init=lambda: None,
        Device=Device,
        Context=SimpleNamespace(pop=gpu.leave),
        Stream=lambda: FakeStream(gpu),
        Error=CudaError,
        MemoryError=CudaMemoryError,
        device_attribute=SimpleNamespace(MULTIPROCESSOR_COUNT="processors"),
        get_driver_version=lambda: 12060,
        mem_alloc=lambda size: FakeMemory(gpu, size),
        pagelocked_empty=lambda count, dtype: np.asarray(PinnedMemory(gpu, count, dtype)),
        memcpy_htod_async=to_device,
        memcpy_dtoh_async=to_host,
        memcpy_dtod_async=within,
        memset_d8_async=lambda to, byte, size, stream: stream.enqueue(
            lambda: ctypes.memset(to, byte, size) and None
        ),
        Event=FakeEvent,
        module_from_file=lambda path: FakeModule(gpu),
    )
    return module


def fake_tensorrt(gpu: FakeGpu) -> Any:
    """The module tensorrt, as version 10.3 has it."""
    module = ModuleType("tensorrt")
    vars(module).update(
        __version__="10.3.0",
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
        BuilderFlag=SimpleNamespace(TF32="tf32", FP16="fp16", INT8="int8"),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
        Dims=tuple,
        nptype=lambda dtype: dtype,
        ILogger=type("ILogger", (), {}),
        IProgressMonitor=type("IProgressMonitor", (), {}),
        Builder=lambda logger: FakeBuilder(gpu, logger),
        OnnxParser=FakeParser,
        Runtime=lambda logger: FakeRuntime(gpu, logger),
    )
    return module


class FakeBuilder:
    def __init__(self, gpu: FakeGpu, logger: Any) -> None:
        self._gpu, self._logger = gpu, logger

    def create_network(self, flags: int) -> Any:
        return SimpleNamespace(strong=flags == 2, graph=None)

    def create_builder_config(self) -> Any:
        config = SimpleNamespace(flags={"tf32"}, profile={}, limits={})
        config.clear_flag = config.flags.discard
        config.set_flag = config.flags.add
        config.set_memory_pool_limit = config.limits.__setitem__
        config.add_optimization_profile = lambda profile: config.profile.update(profile.shapes) or 0
        config.create_timing_cache = lambda data: (
            None if data == b"of another GPU" else SimpleNamespace(data=data, serialize=lambda: data + b"+1")
        )
        config.set_timing_cache = lambda cache, ignore: True
        return config

    def create_optimization_profile(self) -> Any:
        shapes: dict[str, Any] = {}
        return SimpleNamespace(
            shapes=shapes, set_shape=lambda name, *ends: shapes.__setitem__(name, [list(e) for e in ends])
        )

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        assert "tf32" not in config.flags
        watcher = config.progress_monitor
        watcher.phase_start("Building engine", None, 4)
        for step in range(4):
            if not watcher.step_complete("Building engine", step):
                return None
        watcher.phase_finish("Building engine")
        if self._gpu.flags_only and network.strong:
            self._logger.log(1, "Error Code 10: Could not find any implementation for node {Conv_7}")
            return None
        if config.limits.get("workspace", 1 << 40) < 64 << 20:
            self._logger.log(1, "Error Code 2: OutOfMemory (Requested size was 99999 bytes.)")
            return None
        self._gpu.builds.append(f"{Path(network.graph).name} {sorted(config.flags)}")
        return json.dumps({"graph": network.graph, "profile": config.profile}).encode()


class FakeParser:
    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self.num_errors = network, 0

    def parse_from_file(self, path: str) -> bool:
        try:
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception:  # noqa: BLE001 - the runtime has no common base
            self.num_errors = 1
            return False
        self._network.graph = path
        for kind, ports in (("input", session.get_inputs()), ("output", session.get_outputs())):
            made = [
                SimpleNamespace(
                    name=port.name, shape=[side if isinstance(side, int) else -1 for side in port.shape]
                )
                for port in ports
            ]
            setattr(self._network, f"num_{kind}s", len(made))
            setattr(self._network, f"get_{kind}", made.__getitem__)
        return True

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(
            node_name=str, node_operator=str, desc=lambda: "Failed to parse the ONNX model."
        )


class FakeRuntime:
    def __init__(self, gpu: FakeGpu, logger: Any) -> None:
        self._gpu, self._logger = gpu, logger

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        self._gpu.check_context()
        try:
            facts = json.loads(plan)
        except ValueError:
            self._logger.log(1, "Error Code 1: Serialization (magic tag does not match)")
            return None
        return FakeEngine(self._gpu, facts["graph"], facts["profile"])


class FakeEngine:
    def __init__(self, gpu: FakeGpu, graph: str, profile: Any) -> None:
        self._gpu, self._graph, self._profile = gpu, graph, profile
        self._session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.num_io_tensors = len(IMAGE_INPUTS) + len(IMAGE_OUTPUTS)
        gpu.living.add(("engine", id(self)))

    def __del__(self) -> None:
        if getattr(self._gpu._current, "depth", 0):  # destroyed elsewhere it stays among the living
            self._gpu.living.discard(("engine", id(self)))

    def get_tensor_name(self, index: int) -> str:
        return (*IMAGE_INPUTS, *IMAGE_OUTPUTS)[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return np.uint8 if name == "image" else np.float32

    def get_tensor_profile_shape(self, name: str, profile: int) -> Any:
        return self._profile[name]

    def create_execution_context(self) -> Any:
        return FakeContext(self._gpu, self._session, self._profile, Path(self._graph).name)


class FakeContext:
    def __init__(self, gpu: FakeGpu, session: Any, profile: Any, graph: str) -> None:
        self._gpu, self._session, self._profile, self._graph = gpu, session, profile, graph
        self._shapes: dict[str, Any] = {}
        self._addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        low, _, high = self._profile[name]
        self._shapes[name] = tuple(shape)
        return all(a <= side <= b for a, side, b in zip(low, shape, high, strict=True))

    def get_tensor_shape(self, name: str) -> Any:
        zeros = {
            port: np.zeros(shape, np.uint8 if port == "image" else np.float32)
            for port, shape in self._shapes.items()
        }
        return list(self._session.run([name], zeros)[0].shape)

    def execute_async_v3(self, handle: int) -> bool:
        shapes = dict(self._shapes)
        self._gpu._streams[handle].enqueue(lambda: self._kernel(shapes))
        return True

    def _kernel(self, shapes: Any) -> None:
        self._gpu.ran += 1
        time.sleep(self._gpu.delay.get(self._graph, 0))
        feed = {}
        for name, shape in shapes.items():
            dtype = np.dtype(np.uint8 if name == "image" else np.float32)
            raw = ctypes.string_at(self._addresses[name], int(np.prod(shape)) * dtype.itemsize)
            feed[name] = np.frombuffer(raw, dtype).reshape(shape)
        for name, array in zip(IMAGE_OUTPUTS, self._session.run(list(IMAGE_OUTPUTS), feed), strict=True):
            flaw = self._gpu.flaws.get(self._graph, 0) + self._gpu._flaw_now
            out = np.ascontiguousarray(array + np.float32(flaw))
            ctypes.memmove(self._addresses[name], out.ctypes.data, out.nbytes)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeGpu]:
    """The fake GPU behind `import pycuda.driver`, `import tensorrt` and libcuda, with a cache of its own."""
    fake = FakeGpu()
    package = ModuleType("pycuda")
    package.driver = fake.driver  # type: ignore[attr-defined]
    for name, module in (("pycuda", package), ("pycuda.driver", fake.driver), ("tensorrt", fake.api)):
        module.__spec__ = SimpleNamespace(name=name)  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(graphs, "_driver", lambda: fake)
    monkeypatch.setattr(proof, "find_kernels", lambda: None)
    monkeypatch.setattr(latency, "WARM_UP_S", 0.0)
    monkeypatch.setattr(latency, "SECONDS", 0.0)
    monkeypatch.setattr(latency, "LEAST_RUNS", 3)
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path / "cache"))
    yield fake
    assert not fake.living, "GPU memory was not given back"


def compiled(target: Path, *options: str) -> Path:
    """The emulator of the tile kernels; skips without a compiler."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler (apt-get install g++)")
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-I", str(NATIVE), *options]
    subprocess.run([compiler, *flags, str(EMULATOR), "-o", str(target)], check=True)
    return target


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tile kernels compiled for the processor, as a library."""
    path = compiled(tmp_path_factory.mktemp("kernels") / "emulate.so", "-shared", "-fPIC")
    return ctypes.CDLL(str(path))


@pytest.fixture(scope="session")
def emulator_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a program that reads cases, under the address and undefined behaviour sanitizers."""
    path = tmp_path_factory.mktemp("kernels") / "emulate"
    return compiled(path, "-DEMULATE_MAIN", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture
def tile_kernels(gpu: FakeGpu, emulator: Any, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    """The fake GPU, whose engines make their tiles themselves."""
    gpu.emulator = emulator
    monkeypatch.setattr(proof, "find_kernels", lambda: Path("preprocess.fatbin"))
    return gpu


@pytest.fixture(scope="session")
def nvcc() -> str:
    """NVIDIA's compiler; skips without."""
    found = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if found is None:
        pytest.skip("needs nvcc (CUDA toolkit)")
    return found
