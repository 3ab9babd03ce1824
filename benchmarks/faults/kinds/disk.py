"""The disk under the outbox."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.faults.fault import fault
from benchmarks.faults.world import World


def _root_only() -> str | None:
    return None if os.geteuid() == 0 else "needs root, to mount a small file system"


FULL = ("make room on the disk", "written again")


@fault("disk full under the outbox", cold=True, needs=_root_only, said=FULL)
def _full(world: World) -> None:
    world.small_disk("8m")
    world.begin()
    world.until_steps(12)
    filler = world.state / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    world.until_said("trying again, ")
    filler.unlink()
    world.mended()
    world.until_said("can be written again")


@fault("outbox may not grow (file size limit)", said=("written again",))
def _limited(world: World) -> None:
    world.until_steps(12)
    soft_and_hard = resource.prlimit(world.daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(world.daemon.pid, resource.RLIMIT_FSIZE, (4096, soft_and_hard[1]))
    world.until_said("trying again, ")
    resource.prlimit(world.daemon.pid, resource.RLIMIT_FSIZE, soft_and_hard)
    world.mended()
    world.until_said("can be written again")


def _set_fixed(path: Path, fixed: bool) -> bool:
    """Let the kernel refuse every write to a file, also by who has it open. False where that cannot be."""
    tool = shutil.which("chattr", path="/usr/bin:/bin:/usr/sbin:/sbin")
    flag = "+i" if fixed else "-i"
    return tool is not None and subprocess.run([tool, flag, path], capture_output=True).returncode == 0


def _cannot_fix() -> str | None:
    with tempfile.NamedTemporaryFile(prefix="remoteclip-faults-") as file:
        if not _set_fixed(Path(file.name), True):
            return "needs root and a file system with chattr +i"
        try:
            file.write(b"1")
            file.flush()
        except PermissionError:
            return None
        finally:
            _set_fixed(Path(file.name), False)
    return "the temporary folder's file system lets open files be written under chattr +i"


@fault("read-only outbox in flight", needs=_cannot_fix, said=("written again",))
def _read_only(world: World) -> None:
    world.until_steps(12)
    files = [path for path in world.state.glob("outbox.db*") if _set_fixed(path, True)]
    try:
        world.until_said("trying again, ")
        time.sleep(2)
    finally:
        for path in files:
            _set_fixed(path, False)
    world.mended()
    world.until_said("can be written again")


UNWRITABLE = "make state_dir a folder that can be written"


@fault("read-only disk at a start", cold=True, needs=_root_only, said=(UNWRITABLE,))
def _read_only_start(world: World) -> None:
    world.small_disk("8m")
    world.begin()
    world.until_steps(15)
    world.daemon.down()
    subprocess.run(["mount", "-o", "remount,ro", str(world.state)], check=True)
    world.daemon.up()
    world.until_said(UNWRITABLE)
    subprocess.run(["mount", "-o", "remount,rw", str(world.state)], check=True)
    world.mended()
