"""The broker: killed, restarted, frozen, absent, and a control room that is away."""

from __future__ import annotations

import random
import time

from benchmarks.faults.fault import fault
from benchmarks.faults.world import World


@fault("broker killed (SIGKILL) before the PUBACK", proxied=True)
def _killed_before_puback(world: World) -> None:
    assert world.proxy is not None
    for number in range(1, 4):
        world.until_steps(12 * number)
        world.proxy.down = False  # what the broker acknowledges does not arrive
        time.sleep(0.5)
        world.broker.kill()
        world.proxy.cut()
        world.proxy.down = True
        world.broker.start()
        world.mended()


@fault("broker killed (SIGKILL) and restarted, 5 times")
def _killed(world: World) -> None:
    chance = random.Random(5)
    for number in range(1, 6):
        world.until_steps(10 * number)
        world.broker.kill()
        time.sleep(chance.uniform(0, 0.5))
        world.broker.start()
        world.mended()


@fault("broker restarted in order, 3 times")
def _restarted(world: World) -> None:
    for number in range(1, 4):
        world.until_steps(12 * number)
        world.broker.stop()
        world.broker.start()
        world.mended()


@fault("broker frozen for 4 s")
def _frozen(world: World) -> None:
    world.until_steps(20)
    world.broker.freeze()
    time.sleep(4)
    world.broker.thaw()
    world.mended()


@fault("no broker for the first 5 s", cold=True, said=("connection refused",))
def _absent(world: World) -> None:
    world.daemon.start()
    world.until_said("connection refused")
    time.sleep(5)
    world.broker.start()
    world.mended()
    world.room.start()


@fault("kill -9 while the broker is away, 4 times")
def _killed_offline(world: World) -> None:
    world.until_steps(10)
    world.broker.stop()
    for _ in range(4):
        time.sleep(2.0)
        world.daemon.kill()
    time.sleep(1.0)
    world.broker.start()
    world.mended()


@fault("control room drops off every half second")
def _flapping_room(world: World) -> None:
    for _ in range(12):
        time.sleep(0.5)
        world.room.drop()


@fault("control room away for longer than the broker's queue", changes=("max_queued_messages 10",))
def _long_away(world: World) -> None:
    world.until_steps(10)
    world.room.stop()
    time.sleep(4)
    world.room.come_back()
    world.mended()
    world.until_steps(60)
    if not world.room.replays_asked:
        world.notes.append("nothing was missing: this fault tried nothing")
