"""ONNX graph -> TensorRT plan: parsing, strong typing, profiles, timing cache, progress."""

from __future__ import annotations

import logging
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.engines.base import IMAGE_INPUTS, IMAGE_OUTPUTS
from edge.engines.checks import check_ports
from edge.engines.tensorrt.errors import (
    BuildFailed,
    GraphRefused,
    OutOfMemory,
    ParserProblem,
    is_out_of_memory,
    one_line,
)
from edge.engines.tensorrt.library import Library, MessageLog
from edge.engines.tensorrt.options import BuildOptions, profile_shapes
from edge.engines.tensorrt.progress import BuildTracker, OnProgress, monitor
from edge.files import write_atomically
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    import tensorrt

__all__ = ["BuildOptions", "BuiltPlan", "build_plan"]

_log = logging.getLogger(__name__)
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class BuiltPlan:
    """A serialized engine.

    Attributes:
        data: its bytes.
        typing: "strong", or "flags" where an old TensorRT needed builder flags.
        seconds: what the build took.
    """

    data: bytes
    typing: str
    seconds: float


def build_plan(
    library: Library,
    graph: Path,
    precision: str,
    options: BuildOptions,
    *,
    timing_cache: Path | None = None,
    on_progress: OnProgress | None = None,
) -> BuiltPlan:
    """Build an engine of one image graph. Ctrl-C stops it at TensorRT's next step.

    Args:
        library: what builds it.
        graph: the ONNX file; external data is looked for beside it.
        precision: "fp32", "fp16" or "int8", of the graph. It decides nothing unless builder flags are needed.
        options: sizes and limits.
        timing_cache: file that keeps measured kernels from one build to the next; made when missing.
        on_progress: told how far the build is; what it raises ends the build and is raised here.

    Raises:
        GraphRefused: the parser does not take the graph; BuildFailed: no engine came of it;
        OutOfMemory: too little GPU memory; EngineError: the graph or the targets do not fit the options.
    """
    began = time.monotonic()
    tracker = BuildTracker(on_progress)

    def build(typing: str) -> bytes:
        try:
            return _Build(library, graph, precision, options, typing).run(timing_cache, tracker)
        except BaseException as error:
            _let_go(error)
            raise

    def attempt(typing: str) -> bytes:
        return _interruptible(lambda: build(typing), tracker)

    try:
        return BuiltPlan(attempt("strong"), "strong", time.monotonic() - began)
    except (GraphRefused, BuildFailed) as refused:
        if not _has_precision_flags(library):
            raise
        _log.warning("%s (strongly typed; trying builder flags)", refused)
        try:
            return BuiltPlan(attempt("flags"), "flags", time.monotonic() - began)
        except (GraphRefused, BuildFailed):
            raise refused from None  # how it should be built is what the user can mend


def _has_precision_flags(library: Library) -> bool:
    return hasattr(library.api.BuilderFlag, "FP16")


def _interruptible(build: Any, tracker: BuildTracker) -> bytes:
    """Run a build in a thread of its own: TensorRT holds its thread for minutes, and Ctrl-C must end it."""
    with ThreadPoolExecutor(1, thread_name_prefix="tensorrt-build") as pool:
        future: Future[bytes] = pool.submit(build)
        try:
            while True:
                try:
                    return future.result(timeout=0.2)
                except NotYet:
                    if future.done():  # the build itself ran into a timeout of its own
                        raise
        finally:
            if not future.done():  # interrupted while it was waited for
                tracker.cancel()


def _let_go(error: BaseException) -> None:
    """Free TensorRT's objects that a failed build's frames still hold.

    Left to the garbage collector they could be freed while TensorRT tells something to our logger: it then
    has a lock that a builder's end wants, too, and waits for itself.
    """
    told: BaseException | None = error
    while told is not None:
        traceback.clear_frames(told.__traceback__)
        told = told.__cause__ or told.__context__


class _Build:
    """One build. TensorRT's objects need the logger and the builder for as long as they live."""

    def __init__(
        self, library: Library, graph: Path, precision: str, options: BuildOptions, typing: str
    ) -> None:
        self._library, self._graph, self._precision = library, graph, precision
        self._options, self._typing = options, typing
        self._log = MessageLog(library)
        self._builder: tensorrt.Builder = self._start()

    def _start(self) -> tensorrt.Builder:
        try:
            builder: tensorrt.Builder = self._library.api.Builder(self._log.logger)
            return builder
        except TypeError as error:  # how the bindings say that the library gave no object, with no GPU say
            raise self._failure(f"cannot start: {one_line(error)}: ") from error

    def run(self, timing_cache: Path | None, tracker: BuildTracker) -> bytes:
        """The plan's bytes."""
        network = self._parse()
        check_ports(self._graph, "input", _names(network, "input"), IMAGE_INPUTS)
        check_ports(self._graph, "output", _names(network, "output"), IMAGE_OUTPUTS)
        config = self._configure(network)
        cache = self._attach(config, timing_cache)
        config.progress_monitor = watcher = monitor(self._library.api, tracker)
        plan: Any = self._builder.build_serialized_network(network, config)  # None, says its stub nowhere
        del watcher  # it had to live until here
        if plan is None:
            if tracker.failure is not None:
                raise tracker.failure
            raise self._failure("cannot build it: ")
        if cache is not None and timing_cache is not None:
            _keep(cache, timing_cache)
        return bytes(plan)

    def _parse(self) -> tensorrt.INetworkDefinition:
        api = self._library.api
        flags = 0
        strong = getattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        if self._typing == "strong" and strong is not None:
            flags = 1 << int(strong)
        network: tensorrt.INetworkDefinition = self._builder.create_network(flags)
        parser: tensorrt.OnnxParser = api.OnnxParser(network, self._log.logger)
        if not parser.parse_from_file(str(self._graph)):
            errors = [parser.get_error(index) for index in range(parser.num_errors)]
            problems = [
                ParserProblem(error.node_name(), error.node_operator(), one_line(error.desc()))
                for error in errors
            ] or [ParserProblem("", "", line) for line in self._log.take() or ("it gives no reason",)]
            raise GraphRefused(str(self._graph), str(self._library), problems)
        return network

    def _configure(self, network: tensorrt.INetworkDefinition) -> tensorrt.IBuilderConfig:
        api, options = self._library.api, self._options
        config: tensorrt.IBuilderConfig = self._builder.create_builder_config()
        # Precision lives in the graph: what it computes in float32 must not become TF32 without a word.
        config.clear_flag(api.BuilderFlag.TF32)
        if self._typing == "flags" and self._precision != "fp32":
            config.set_flag(api.BuilderFlag.FP16)
            if self._precision == "int8":
                config.set_flag(api.BuilderFlag.INT8)
        if options.workspace_mib is not None:
            config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, options.workspace_mib * _MIB)
        self._set_targets(config)
        profile = self._builder.create_optimization_profile()
        for index in range(network.num_inputs):
            port = network.get_input(index)
            sides: Any = port.shape  # Dims, a sequence in all but its stub
            shapes = profile_shapes(port.name, tuple(sides), options)
            if shapes is None:
                width, height = options.image_size
                raise EngineError(
                    f"{self._graph}: {port.name} is {tuple(sides)}, which no tile of {width}x{height} fits"
                )
            smallest, tuned, largest = map(self._library.api.Dims, shapes)
            profile.set_shape(port.name, smallest, tuned, largest)
        if config.add_optimization_profile(profile) < 0:
            raise self._failure("refuses the optimization profile: ")
        return config

    def _set_targets(self, config: Any) -> None:
        targets = self._options.targets
        if not targets:
            return
        if not hasattr(config, "set_compute_capability"):
            raise EngineError(
                f"{self._library} builds only for the GPU it runs on (--aot needs tensorrt_rtx)"
            )
        known = {name.lower(): value for name, value in self._capabilities().items()}
        unknown = [target for target in targets if target.lower() not in known]
        if unknown:
            raise EngineError(f"unknown target {', '.join(unknown)} (choose from {', '.join(known)})")
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            config.set_compute_capability(known[target.lower()], index)

    def _capabilities(self) -> dict[str, Any]:
        members = self._library.api.ComputeCapability.__members__
        return {name: value for name, value in members.items() if name.startswith("SM")}

    def _attach(self, config: tensorrt.IBuilderConfig, path: Path | None) -> tensorrt.ITimingCache | None:
        if path is None or self._library.is_rtx:
            return None
        kept = b""
        try:
            kept = path.read_bytes()
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("%s: timing cache not read: %s", path, error.strerror)
        for data in (kept, b""):  # one of another device or version is refused: begin anew
            cache: tensorrt.ITimingCache | None = config.create_timing_cache(data)
            if cache is not None and config.set_timing_cache(cache, False):
                return cache
        return None

    def _failure(self, what: str) -> EngineError:
        errors = self._log.take() or ("it gives no reason",)
        # The first error is the cause; what follows are the callers that gave up.
        text = next((line for line in errors if is_out_of_memory(line)), errors[0])
        if is_out_of_memory(text):
            mend = "close what else uses the GPU, or set engine.workspace_mib in the device file lower"
            return OutOfMemory(f"{self._graph}: the GPU has too little memory to build it: {text} ({mend})")
        return BuildFailed(f"{self._graph}: {self._library} {what}{text}")


def _names(network: tensorrt.INetworkDefinition, kind: str) -> set[str]:
    if kind == "input":
        return {network.get_input(index).name for index in range(network.num_inputs)}
    return {network.get_output(index).name for index in range(network.num_outputs)}


def _keep(cache: tensorrt.ITimingCache, path: Path) -> None:
    try:
        write_atomically(path, bytes(cache.serialize()))
    except OSError as error:
        _log.warning("%s: timing cache not kept: %s", path, error.strerror)
