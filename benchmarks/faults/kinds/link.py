"""The network between daemon and broker."""

from __future__ import annotations

import random
import time

from benchmarks.faults.fault import fault
from benchmarks.faults.world import World


@fault("TCP cut at 15 random moments", proxied=True)
def _cut(world: World) -> None:
    assert world.proxy is not None
    chance = random.Random(7)
    for number in range(15):
        world.until_steps(3 * number)
        time.sleep(chance.uniform(0, 0.2))
        world.proxy.cut()
        world.mended()


@fault("TCP cut in the midst of a packet, 6 times", proxied=True)
def _half_packets(world: World) -> None:
    assert world.proxy is not None
    chance = random.Random(8)
    for number in range(1, 7):
        world.until_steps(8 * number)
        world.proxy.cut_midst(chance.randint(10, 3000))
        world.until(lambda wanted=number: world.proxy.cuts >= wanted, f"packet {number} is cut")
        world.mended()


@fault("a slow link: 12 kB/s and 200 ms", proxied=True)
def _slow(world: World) -> None:
    assert world.proxy is not None
    world.proxy.rate, world.proxy.delay_s = 12_000, 0.2
    world.until_steps(20)


@fault("the link is silent for 15 s", proxied=True)
def _silent(world: World) -> None:
    assert world.proxy is not None
    world.until_steps(20)
    with world.proxy.hole():
        time.sleep(15)
    world.mended()


@fault("acknowledgements are lost for 3 s, then the link", proxied=True)
def _deaf(world: World) -> None:
    assert world.proxy is not None
    world.until_steps(15)
    world.proxy.down = False
    time.sleep(3)
    world.proxy.cut()
    world.proxy.down = True
    world.mended()


@fault("the link is away for 6 s, 2 times", proxied=True)
def _away(world: World) -> None:
    assert world.proxy is not None
    for number in (10, 30):
        world.until_steps(number)
        with world.proxy.away():
            time.sleep(6)
        world.mended()
