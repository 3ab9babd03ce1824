"""The clock steps, as it does when GPS or NTP is found in flight."""

from __future__ import annotations

import glob
import random
import time

from benchmarks.faults.fault import fault
from benchmarks.faults.world import World

_PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


def _library() -> str | None:
    found = [path for place in _PLACES for path in sorted(glob.glob(place))]
    return found[0] if found else None


def _no_library() -> str | None:
    return None if _library() else "needs libfaketime (apt install faketime)"


def _begin(world: World) -> None:
    """Start a daemon whose clock `_step` sets. Only the clock of the day: the monotonic one is never set."""
    _step(world, 0)
    world.daemon.environment |= {
        "LD_PRELOAD": _library() or "",
        "FAKETIME_TIMESTAMP_FILE": str(world.folder / "faketime"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    world.begin()


def _step(world: World, seconds: float) -> None:
    """The daemon's clock is off by `seconds` from now on."""
    file = world.folder / "faketime"
    file.with_suffix(".new").write_text(f"{seconds:+.1f}\n")
    file.with_suffix(".new").replace(file)


def _fresh_means_fresh(world: World) -> None:
    late = [event["frame"] for event in world.room.events() if event["historical"]]
    if late:
        world.notes.append(f"{len(late)} fresh events are marked historical, the first of frame {late[0]}")


def _is_stepped(world: World, seconds: float) -> None:
    """The step must have reached the daemon, or this fault would try nothing."""
    stamps = world.room.events()[-1]["sent_at"][:10]
    expected = time.strftime("%Y-%m-%d", time.gmtime(time.time() + seconds))
    if stamps != expected:
        world.notes.append(f"the daemon's day is {stamps}, not {expected}: the clock was not set")


DAY = 86_400.0


@fault("clock set forward by 400 days", cold=True, needs=_no_library)
def _forward(world: World) -> None:
    _begin(world)
    world.until_steps(20)
    _step(world, 400 * DAY)
    world.mended()
    world.until_steps(50)
    _is_stepped(world, 400 * DAY)
    _fresh_means_fresh(world)


@fault("clock set back by 400 days", cold=True, needs=_no_library)
def _back(world: World) -> None:
    _begin(world)
    world.until_steps(20)
    _step(world, -400 * DAY)
    world.mended()
    world.until_steps(50)
    _is_stepped(world, -400 * DAY)
    _fresh_means_fresh(world)


@fault("clock jumps 20 times, kill -9 between", cold=True, needs=_no_library)
def _wild(world: World) -> None:
    chance = random.Random(9)
    _begin(world)
    for number in range(20):
        world.until_steps(3 * number)
        _step(world, chance.uniform(-3, 3) * 365 * DAY)
        if number % 5 == 4:
            world.daemon.kill()
            world.mended()


@fault("clock set back while the broker is away", cold=True, needs=_no_library)
def _back_offline(world: World) -> None:
    _begin(world)
    world.until_steps(15)
    world.broker.stop()
    time.sleep(1)
    _step(world, -30 * DAY)
    time.sleep(4)
    world.broker.start()
    world.mended()
    world.until_steps(60)
    if not any(event["historical"] for event in world.room.events()):
        world.notes.append("nothing of the backlog is marked historical")
