"""The TensorRT that is installed: `tensorrt` (JetPack, PyPI) or `tensorrt_rtx`, one API for both.

What changed between the supported versions, and where this package minds it:
    10.3   JetPack 6.2. Strong typing is there but young: build.py falls back to builder flags.
    10.16  JetPack 7.2.
    11.x   Every network is strongly typed; BuilderFlag.FP16 and INT8, calibrators and
           ICudaEngine.device_memory_size are gone. Nothing here uses them unguarded.
    RTX    Builds without a GPU, for the compute capabilities that are named; timing caches do nothing.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import logging
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.engines.tensorrt.errors import one_line
from firmware_cfg.errors import EngineError, MissingExtra

TENSORRT = "tensorrt"
RTX = "tensorrt_rtx"
#: Of each library: the oldest version that is supported, and the first that is not.
SUPPORTED = {TENSORRT: ((10, 3), (12, 0)), RTX: ((1, 0), (2, 0))}

_MODULES = {TENSORRT: ("tensorrt",), RTX: ("tensorrt_rtx", "tensorrt_rtx_bindings")}
_ERROR, _WARNING = 1, 2  # severities; 0 is an internal error, above 2 is chatter
_JETSON = Path("/etc/nv_tegra_release")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """A loaded TensorRT.

    Attributes:
        name: "tensorrt" or "tensorrt_rtx".
        version: such as "10.3.0".
        api: its module.
    """

    name: str
    version: str
    api: Any

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT-RTX, which builds without a GPU."""
        return self.name == RTX

    def __str__(self) -> str:
        return f"{'TensorRT-RTX' if self.is_rtx else 'TensorRT'} {self.version}"


def is_jetson() -> bool:
    """Whether this machine runs Jetson Linux, whose TensorRT comes with JetPack and not from pip."""
    return _JETSON.exists()


def load_library(name: str | None = None) -> Library:
    """Import TensorRT.

    Args:
        name: "tensorrt" or "tensorrt_rtx"; default: the first of them that is installed.

    Raises:
        MissingExtra: it is not installed.
        EngineError: it is broken, or of a version that is not supported.
    """
    for candidate in (TENSORRT, RTX) if name is None else (name,):
        module = _import(candidate)
        if module is not None:
            version = str(module.__version__)
            _check_version(candidate, version)
            return Library(candidate, version, module)
    if name == RTX:
        raise MissingExtra("tensorrt_rtx", extra="rtx")
    if is_jetson():
        raise EngineError(
            "tensorrt is not visible here (JetPack brings it: apt-get install nvidia-jetpack, and make the"
            " environment with python3 -m venv --system-site-packages)"
        )
    raise MissingExtra("tensorrt", extra="nvidia")


def _import(name: str) -> Any | None:
    if name == RTX:
        _preload_cuda_runtime()
    for module_name in _MODULES[name]:
        if importlib.util.find_spec(module_name) is None:
            continue
        try:
            module = importlib.import_module(module_name)
        except (ImportError, OSError) as error:
            raise EngineError(
                f"{name} is installed, but broken: {one_line(error)} (install it again)"
            ) from error
        if hasattr(module, "Builder"):  # a folder of type stubs is a package too, an empty one
            return module
    return None


def _preload_cuda_runtime() -> None:
    """Load the CUDA runtime out of its wheel: no loader path leads there, and TensorRT-RTX asks for it."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for path in sorted(Path(folder).glob("*/lib/libcudart.so.1[0-9]")):
            try:
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
            except OSError as error:
                _log.debug("%s: %s", path, error)


def _check_version(name: str, version: str) -> None:
    match = re.match(r"(\d+)\.(\d+)", version)
    oldest, beyond = SUPPORTED[name]
    found = (int(match[1]), int(match[2])) if match else (0, 0)
    if not oldest <= found < beyond:
        raise EngineError(
            f"{name} {version} is not supported: it must be {oldest[0]}.{oldest[1]} or newer, and older than"
            f" {beyond[0]}.{beyond[1]} (JetPack 6.2 and 7.2 bring one that fits)"
        )


class _Collector:
    """The logger's own half; the other half is the library's ILogger."""

    def __init__(self) -> None:
        super().__init__()  # the bindings insist on their constructor
        self.errors: deque[str] = deque(maxlen=50)

    def log(self, severity: Any, message: str) -> None:
        """Called by TensorRT, from any of its threads."""
        level = int(severity)
        if level > _WARNING:
            return
        line = one_line(message)
        if level <= _ERROR:
            self.errors.append(line)
        _log.debug("%s", line)


class MessageLog:
    """Hands TensorRT's messages to `logging` and keeps its errors: a failed call returns only None."""

    def __init__(self, library: Library) -> None:
        #: What the library's classes take as their logger.
        self.logger: Any = type("Collector", (_Collector, library.api.ILogger), {})()

    def take(self) -> tuple[str, ...]:
        """The errors since the last call, oldest first."""
        errors: deque[str] = self.logger.errors
        taken = tuple(errors)
        errors.clear()
        return taken
