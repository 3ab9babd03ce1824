"""The GPU through pycuda: what it is, and the one thread that owns its context."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from edge.engines.tensorrt.errors import OutOfMemory, is_out_of_memory, one_line
from edge.engines.tensorrt.library import is_jetson
from firmware_cfg.errors import EngineError, MissingExtra

Result = TypeVar("Result")

_log = logging.getLogger(__name__)
_DRIVER_FILE = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class Gpu:
    """What an engine is bound to.

    Attributes:
        name: as CUDA says it; every Orin is called "Orin", so the next two tell them apart.
        compute_capability: such as "8.7".
        multiprocessors: how many it has.
        driver: CUDA version of the driver, with the driver's own version where the kernel tells it.
    """

    name: str
    compute_capability: str
    multiprocessors: int
    driver: str


def load_driver() -> Any:
    """pycuda's driver module, ready for use.

    Raises:
        MissingExtra: pycuda is not installed. EngineError: it is broken, or there is no GPU.
    """
    try:
        import pycuda.driver as driver
    except ModuleNotFoundError as error:
        raise MissingExtra("pycuda", extra="jetson" if is_jetson() else "nvidia") from error
    except ImportError as error:
        raise EngineError(
            f"pycuda is installed, but broken: {one_line(error)} (is the NVIDIA driver installed?)"
        ) from error
    try:
        driver.init()
        count = driver.Device.count()
    except driver.Error as error:
        raise EngineError(f"CUDA cannot start: {one_line(error)} (is the NVIDIA driver running?)") from error
    if count < 1:
        raise EngineError("there is no GPU that CUDA may use (see CUDA_VISIBLE_DEVICES)")
    return driver


def read_gpu(driver: Any) -> Gpu:
    """Facts about the first GPU that CUDA may use. `driver` is `load_driver()`."""
    with cuda_errors(driver, "the GPU does not answer"):
        device = driver.Device(0)
        major, minor = device.compute_capability()
        version = driver.get_driver_version()
        return Gpu(
            name=device.name(),
            compute_capability=f"{major}.{minor}",
            multiprocessors=device.get_attribute(driver.device_attribute.MULTIPROCESSOR_COUNT),
            driver=f"{version // 1000}.{version % 1000 // 10}{_kernel_driver()}",
        )


def _kernel_driver() -> str:
    try:
        text = _DRIVER_FILE.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    match = re.search(r"\b(\d+\.\d+(?:\.\d+)*)\b", text)
    return f" ({match[1]})" if match else ""


@contextmanager
def cuda_errors(driver: Any, what: str) -> Iterator[None]:
    """Turn pycuda's errors into EngineError "`what`: ...", exhausted memory into OutOfMemory."""
    try:
        yield
    except driver.Error as error:
        text = one_line(error)
        if isinstance(error, driver.MemoryError) or is_out_of_memory(text):
            raise OutOfMemory(
                f"{what}: the GPU has too little free memory: {text} (close what else uses it)"
            ) from error
        raise EngineError(f"{what}: {text}") from error


class CudaThread:
    """A thread in which the GPU's primary context is current: pycuda's contexts belong to threads.

    The primary context is the one that TensorRT and ONNX Runtime use too, so that engines share its memory.
    A daemon thread, so that an engine that nobody closed does not keep the program from ending.
    """

    def __init__(self, driver: Any) -> None:
        """Start it. Raises EngineError, OutOfMemory where the context cannot be had."""
        self._driver = driver
        self._lock = threading.Lock()  # nothing is asked for behind the None that ends the thread
        self._closed = False
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, name="cuda", daemon=True)
        self._thread.start()
        self._started.result()

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Have `work` called in the thread, after what was asked before; asked by the thread, at once.

        Raises EngineError after `close`.
        """
        future: Future[Result] = Future()
        if threading.current_thread() is self._thread:
            _settle(future, work)
            return future
        with self._lock:
            if self._closed:
                raise EngineError("this engine is closed")
            self._work.put((future, work))
        return future

    def run(self, work: Callable[[], Result]) -> Result:
        """What `work` returns or raises, called as `submit` does. Raises EngineError after `close`."""
        return self.submit(work).result()

    def close(self, last: Callable[[], None] | None = None) -> None:
        """Do `last`, give the context back and end the thread, after what was asked before; once.

        What `last` raises is raised here. The garbage collector may come here in the thread itself, in the
        middle of a run: then nothing is waited for, and a failure is logged.
        """
        done: Future[None] = Future()
        with self._lock:
            first, self._closed = not self._closed, True
            if first:
                if last is not None:
                    self._work.put((done, last))
                self._work.put(None)
        if threading.current_thread() is self._thread:
            done.add_done_callback(_log_failure)
            return
        self._thread.join()
        if first and last is not None:
            done.result()

    def _serve(self) -> None:
        try:
            with cuda_errors(self._driver, "no CUDA context"):
                context = self._driver.Device(0).retain_primary_context()
                context.push()
        except EngineError as error:
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        try:
            while (item := self._work.get()) is not None:
                _settle(*item)
                del item  # it holds arrays until the next frame otherwise
        finally:
            self._driver.Context.pop()


def _settle(future: Future[Result], work: Callable[[], Result]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - it is raised where the work was asked for
        future.set_exception(error)
    else:
        future.set_result(result)


def _log_failure(done: Future[None]) -> None:
    if (error := done.exception()) is not None:
        _log.error("a GPU engine that nobody closed was not freed: %s", error)
