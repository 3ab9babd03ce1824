"""Facts about this machine for `remoteclip check --system`: what runs here, what does not, and the mend."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.broker import find_mosquitto
from edge.native import LETTERBOX, UNAVAILABLE
from firmware_cfg.errors import EngineError, MissingExtra

#: Below this, alerts that wait for a broker may not fit.
ENOUGH_DISK = 500 * 2**20

OLDEST_PYTHON = (3, 10)

#: Import name of each engine and what to install for it.
ENGINES = {"openvino": "openvino", "onnxruntime": "remoteclip-edge[onnxruntime]"}

#: One of them is there where a kernel drives an NVIDIA GPU: Jetson's own, or a card.
GPU_TRACES = (Path("/dev/nvhost-gpu"), Path("/dev/nvidia0"), Path("/etc/nv_tegra_release"))

#: CPU features that decide the speed of float and int8 graphs, in the order shown; x86, then ARM.
CPU_FEATURES = (
    *("sse4_2", "avx2", "fma", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve"),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the report.

    level    ok | note (works, but something better is possible) | problem (the daemon cannot run so)
    mend     what to do about a note or problem; empty for ok
    """

    name: str
    value: str
    level: Literal["ok", "note", "problem"] = "ok"
    mend: str = ""


def system_facts(state_dir: Path | None = None) -> tuple[Fact, ...]:
    """Everything worth knowing before a flight. `state_dir` is the device file's; default: where we stand."""
    return (
        package_fact(),
        python_fact(),
        cpu_fact(),
        memory_fact(),
        native_fact(),
        *engine_facts(),
        tensorrt_fact(),
        gpu_tiles_fact(),
        broker_fact(),
        disk_fact(state_dir or Path.cwd()),
    )


def package_fact() -> Fact:
    """Version of this program."""
    try:
        return Fact("remoteclip-edge", importlib.metadata.version("remoteclip-edge"))
    except importlib.metadata.PackageNotFoundError:
        return Fact("remoteclip-edge", "not installed, runs from its source folder", "note", "pip install .")


def python_fact(version: tuple[int, int, int] = sys.version_info[:3]) -> Fact:
    """The Python that runs."""
    value = f"{'.'.join(map(str, version))} on {platform.system()} {platform.machine()}"
    if version[:2] < OLDEST_PYTHON:
        return Fact("python", value, "problem", "install Python 3.10 or newer")
    return Fact("python", value)


def cpu_fact(cpuinfo: Path = Path("/proc/cpuinfo")) -> Fact:
    """Cores this process may use, and the features that matter for speed."""
    model, features = read_cpuinfo(cpuinfo)
    value = f"{usable_cores()} cores, {model}; {' '.join(features) or 'features unknown'}"
    return Fact("cpu", value)


def usable_cores() -> int:
    """Cores that this process may run on: fewer than the machine has under taskset or in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_cpuinfo(path: Path) -> tuple[str, tuple[str, ...]]:
    """Model name and known features out of /proc/cpuinfo; the platform's own name where there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine(), ()
    model = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    present = set(flags.group(1).split()) if flags else set()
    name = model.group(1).strip() if model else platform.machine()
    return name, tuple(feature for feature in CPU_FEATURES if feature in present)


def memory_fact(meminfo: Path = Path("/proc/meminfo")) -> Fact:
    """Memory that is free for use."""
    try:
        text = meminfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return Fact("memory", "unknown")
    found = {key: int(value) for key, value in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    if "MemTotal" not in found or "MemAvailable" not in found:
        return Fact("memory", "unknown")
    return Fact(
        "memory", f"{found['MemAvailable'] / 2**20:.1f} of {found['MemTotal'] / 2**20:.1f} GiB available"
    )


def native_fact() -> Fact:
    """Whether the compiled preprocessing runs."""
    if LETTERBOX is not None:
        return Fact("native kernel", str(LETTERBOX.kernel_name()).removeprefix("rows_"))
    why = UNAVAILABLE or "not loaded"
    mend = "frames go through OpenCV, slower; apt-get install g++ cmake and install again"
    return Fact("native kernel", why, "note", mend)


def engine_facts() -> tuple[Fact, ...]:
    """Each engine with its version, imported for real. Without a single one the daemon cannot run."""
    facts = [engine_fact(name, install) for name, install in ENGINES.items()]
    if all(fact.level != "ok" for fact in facts):
        facts.append(Fact("engines", "none works", "problem", "pip install openvino"))
    return tuple(facts)


def engine_fact(name: str, install: str) -> Fact:
    """One engine."""
    label = f"engine {name}"
    if importlib.util.find_spec(name) is None:
        return Fact(label, "not installed", "note", f"pip install '{install}'")
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        return Fact(
            label,
            f"installed, but broken: {one_line(error)}",
            "note",
            f"reinstall it: pip install '{install}'",
        )
    return Fact(label, str(getattr(module, "__version__", "unknown version")))


def tensorrt_fact() -> Fact:
    """The engine tensorrt: with a GPU, whether all that it needs works together; imported for real."""
    label = "engine tensorrt"
    if not any(trace.exists() for trace in GPU_TRACES):
        return Fact(label, "no NVIDIA GPU here")
    from edge.engines.tensorrt.choose import environment

    try:
        here = environment()
    except (EngineError, MissingExtra) as error:
        return Fact(label, one_line(error), "note", "docs/jetson.md says how to install it")
    where = f"{here.gpu} sm{here.compute_capability.replace('.', '')}, driver {here.driver}"
    return Fact(label, f"{here.library} {here.library_version} on {where}")


def gpu_tiles_fact() -> Fact:
    """Whether a GPU makes the model's tiles of a frame's planes itself; with a GPU, tried for real."""
    label = "tiles on the GPU"
    from edge.engines.tensorrt.sampling import find_kernels

    if not any(trace.exists() for trace in GPU_TRACES):
        return Fact(label, f"kernels {'built' if find_kernels() else 'not built'}, no NVIDIA GPU here")
    from edge.engines.tensorrt.cuda import CudaThread, load_driver
    from edge.engines.tensorrt.proof import open_sampler

    mend = "the processor makes the tiles, slower; docs/jetson.md says how to build the kernels"
    try:
        driver = load_driver()
        with contextlib.closing(CudaThread(driver)) as thread:
            sampler, why = thread.run(lambda: open_sampler(driver))
            if sampler is not None:
                thread.run(sampler.free)
    except (EngineError, MissingExtra) as error:
        return Fact(label, one_line(error), "note", mend)
    return Fact(label, why, "note", mend) if why else Fact(label, "yes, its kernels equal the reference")


def broker_fact() -> Fact:
    """The MQTT broker that `remoteclip demo` would start here; `remoteclip run` has its own."""
    mosquitto = find_mosquitto()
    if mosquitto is not None:
        return Fact("broker for the demo", f"mosquitto at {mosquitto}")
    if importlib.util.find_spec("amqtt") is not None:
        return Fact("broker for the demo", f"amqtt {importlib.metadata.version('amqtt')}")
    mend = "apt-get install mosquitto, or pip install 'remoteclip-edge[demo]'"
    return Fact("broker for the demo", "none", "note", mend)


def disk_fact(folder: Path) -> Fact:
    """Free space where alerts wait for the broker, and whether we may write there."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    value = f"{free / 2**30:.1f} GiB free at {folder}"
    if not os.access(existing, os.W_OK):
        return Fact(
            "disk", f"{value}, not writable", "problem", f"give this user write permission to {existing}"
        )
    if free < ENOUGH_DISK:
        return Fact("disk", value, "note", f"free at least {ENOUGH_DISK // 2**20} MiB")
    return Fact("disk", value)


def one_line(error: Exception) -> str:
    """The first line of an error's text, or its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
