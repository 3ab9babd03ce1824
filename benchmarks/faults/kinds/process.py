"""The daemon itself: killed, stopped, hung."""

from __future__ import annotations

import random
import signal
import sys
import time

from benchmarks.faults.fault import Row, aftermath, book, fault, truth_of
from benchmarks.faults.script import Script
from benchmarks.faults.world import Stuck, World

FLIGHT_S = 1.5
"""A life is cut at a random moment between the start of its process and this long after it flies."""
KILLS_A_FLIGHT = 25
KILL_SCRIPT = Script(frames=500)


@fault("none (control)")
def _none(world: World) -> None:
    world.until_steps(2)


@fault("SIGTERM and restart, 3 times", breaks=True)
def _terminated(world: World) -> None:
    for number in range(1, 4):
        world.until_steps(15 * number)
        world.daemon.hold()
        world.daemon.kill(signal.SIGTERM)
        world.until(lambda: not world.daemon.running, "the daemon stops")
        # It has ended with 0, after which systemd, too, starts it only when asked to.
        world.mended()
        world.daemon.up()


@fault("kill -9 while it stops", breaks=True)
def _killed_while_stopping(world: World) -> None:
    chance = random.Random(3)
    for number in range(1, 7):
        world.until_steps(8 * number)
        world.daemon.hold()
        world.daemon.kill(signal.SIGTERM)
        time.sleep(chance.uniform(0, 0.3))
        world.daemon.kill()
        world.until(lambda: not world.daemon.running, "the daemon is gone")
        world.mended()
        world.daemon.up()


@fault("kill -9 five times within a start", breaks=False)
def _killed_in_starts(world: World) -> None:
    world.until_steps(10)
    for share in range(5):
        world.daemon.kill()
        world.until(lambda: not world.daemon.running, "the daemon is gone")
        world.until(lambda: world.daemon.running, "the daemon is started again")
        time.sleep(0.25 * share)
    world.mended()


@fault("hangs (SIGSTOP): its watchdog ends it")
def _hangs(world: World) -> None:
    world.until_steps(10)
    world.until(lambda: world.daemon.watched, "READY=1 at the supervisor")
    world.daemon.kill(signal.SIGSTOP)
    world.mended()
    world.until(lambda: world.daemon.watchdog_kills > 0, "the watchdog acts")


def fly_kills(kills: int) -> Row:
    """Cut `kills` lives at random moments, from the start of the process on; flights of a few kills each."""
    row = Row(f"kill -9 at {kills} random points", tries=0)
    expected = truth_of(KILL_SCRIPT)
    chance = random.Random(11)
    recoveries: list[float] = []
    while row.tries < kills:
        with World(KILL_SCRIPT) as world:
            try:
                world.begin()
                world.until_steps(1)
                row.tries += _kill_some(world, chance, min(KILLS_A_FLIGHT, kills - row.tries), len(expected))
                world.land(len(expected))
                row.problems += aftermath(world)
            except Stuck as stuck:
                row.problems.append(f"stuck after {row.tries} kills: {stuck}")
            before = len(row.problems)
            book(row, world, expected, breaks=False)
            recoveries += world.recoveries
            if not row.passed:
                if len(row.problems) > before:
                    row.problems.append(f"log kept at {world.keep_log(row.fault)}")
                break
        so_far = f"    {row.tries} of {kills} kills, {row.received} of {row.expected} alerts"
        print(so_far, file=sys.stderr, flush=True)
    if recoveries:
        row.recovery_s, row.slowest_s = sorted(recoveries)[len(recoveries) // 2], max(recoveries)
    return row


def _kill_some(world: World, chance: random.Random, wanted: int, enough: int) -> int:
    for number in range(wanted):
        age = chance.uniform(0, world.daemon.start_s + FLIGHT_S)
        while world.daemon.age_s < age:
            if world.room.steps() >= enough:  # the flight is over before its time
                return number
            time.sleep(0.002)
        restarts = world.daemon.restarts
        world.daemon.kill()
        world.mended()
        world.until(lambda before=restarts: world.daemon.restarts > before, "the daemon is started again")
    return wanted
