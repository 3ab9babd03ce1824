"""The disk under the outbox."""

from __future__ import annotations

import contextlib
import resource

from benchmarks.faults.fault import fault
from benchmarks.faults.world import World, is_root


def _root_only() -> str | None:
    return None if is_root() else "needs root, to mount a small file system"


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
