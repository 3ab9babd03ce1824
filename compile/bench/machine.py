"""What was measured on: machine, system, and the versions of what competes."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from edge.system import Fact, cpu_fact, memory_fact, native_fact, package_fact
from firmware_cfg.errors import UsageError

PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "av",
    "openvino",
    "onnxruntime",
    "torch",
    "torchvision",
    "open_clip_torch",
    "transformers",
    "pillow",
    "tensorrt",
    "pycuda",
)
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def machine_facts() -> dict[str, str]:
    """Facts by name, in the order of a report."""

    def told(fact: Fact) -> str:
        return fact.value

    return {
        "cpu": told(cpu_fact()),
        "memory": told(memory_fact()),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "governor": governor(),
        "load before": load(),
        "native kernel": told(native_fact()),
        "python": platform.python_version(),
        "remoteclip-edge": told(package_fact()),
    }


def versions() -> dict[str, str]:
    """Of those of PACKAGES that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def governor(file: Path = _GOVERNOR) -> str:
    """What decides the processor's frequency."""
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return "unknown (the system does not tell, as in most virtual machines)"


def load() -> str:
    """Processes that wanted to run, on average over the last minute: near 0 on a quiet machine."""
    try:
        return f"{os.getloadavg()[0]:.1f}"
    except OSError:
        return "unknown"


def limit_cores(count: int) -> None:
    """Leave this process, and those that it starts, so many of its cores. Raises UsageError."""
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("--threads: this system cannot keep a process to some of its cores")
    mine = sorted(os.sched_getaffinity(0))
    if count > len(mine):
        raise UsageError(f"--threads {count}: this process has {len(mine)} cores")
    os.sched_setaffinity(0, mine[:count])
