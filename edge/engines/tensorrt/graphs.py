"""CUDA graphs: a frame's copies and kernels recorded once and launched as one. pycuda has no API for them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache

from firmware_cfg.errors import EngineError

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other engines' threads may go on allocating


class CaptureFailed(EngineError):
    """What was enqueued cannot be recorded; it can still run as it is."""


class CudaGraph:
    """A recorded stream. Belongs to the thread and context in which it was recorded."""

    def __init__(self, stream: int, enqueue: Callable[[], None]) -> None:
        """Record what `enqueue` puts on the stream with the handle `stream`; nothing runs yet.

        Raises CaptureFailed, and whatever `enqueue` raises.
        """
        self._exec = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        _check("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), ctypes.c_int(_THREAD_LOCAL))
        try:
            enqueue()
        except BaseException:
            # The stream must leave capture mode whatever happened; the first error is the one to tell.
            _driver().cuStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph))
            _destroy(graph)
            raise
        _check("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        try:
            _check("cuGraphInstantiateWithFlags", ctypes.byref(self._exec), graph, ctypes.c_ulonglong(0))
        finally:
            _destroy(graph)

    def launch(self, stream: int) -> None:
        """Run it on the stream with this handle; returns before it is done. Raises CaptureFailed."""
        _check("cuGraphLaunch", self._exec, ctypes.c_void_p(stream))

    def close(self) -> None:
        """Free it. May be called twice."""
        if self._exec:
            _driver().cuGraphExecDestroy(self._exec)
            self._exec = ctypes.c_void_p()


@lru_cache(maxsize=1)
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


def _check(function: str, *arguments: object) -> None:
    status = getattr(_driver(), function)(*arguments)
    if status:
        name = ctypes.c_char_p()
        _driver().cuGetErrorName(ctypes.c_int(status), ctypes.byref(name))
        raise CaptureFailed(f"{function}: {(name.value or b'CUDA error').decode()} ({status})")


def _destroy(graph: ctypes.c_void_p) -> None:
    if graph:
        _driver().cuGraphDestroy(graph)
