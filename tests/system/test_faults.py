"""A quick part of `make faults`: its harness and its oracle, on a short flight.

The whole table, with two hundred random kills, clock steps and full disks, is `python -m benchmarks.faults`.
"""

from __future__ import annotations

import random
import signal
import time
from typing import Any

import pytest

from benchmarks.faults.fault import Act, Fault, fly, truth_of
from benchmarks.faults.judge import Step, judge
from benchmarks.faults.script import ZONES, Script
from benchmarks.faults.world import World
from edge.broker import find_mosquitto
from firmware_cfg.bundles import default_bundle_path

SHORT = Script(frames=60)
TRUTH = [Step(0, "a", "raise"), Step(4, "a", "clear"), Step(8, "b", "raise"), Step(12, "b", "clear")]

needs_real_parts = pytest.mark.skipif(
    find_mosquitto() is None or not (default_bundle_path() / "manifest.json").is_file(),
    reason="needs mosquitto (apt install mosquitto) and the shipped model bundle",
)


def event(number: int, step: Step, alert: str, *, reason: str = "", boot: str = "boot") -> dict[str, Any]:
    """An event body as far as the judge looks at it."""
    return {
        "event_id": f"event-{number}",
        "alert_id": alert,
        "msg_type": step.kind,
        "frame": step.frame,
        "boot_id": boot,
        "seq": number,
        "reason": reason or f"count in {step.zone} >= 1",
        "sent_at": "now",
        "historical": False,
    }


def told() -> list[dict[str, Any]]:
    """The events of TRUTH, each once."""
    return [event(number, step, f"alert-{step.zone}") for number, step in enumerate(TRUTH)]


def test_the_judge_lets_a_whole_flight_pass_and_drops_copies() -> None:
    events = told()
    verdict = judge(TRUTH, [*events, events[1], events[3] | {"historical": True}], breaks=False)
    assert (verdict.received, verdict.lost, verdict.doubled, verdict.copies) == (4, 0, 0, 2)
    assert verdict.problems == []


def test_the_judge_finds_what_is_lost_doubled_and_changed() -> None:
    lost = judge(TRUTH, told()[:3], breaks=False)
    assert (lost.lost, lost.problems) == (1, ["lost: clear b@12"])
    again = judge(TRUTH, [*told(), event(9, TRUTH[3], "alert-b")], breaks=False)
    assert (again.lost, again.doubled) == (0, 1)
    assert "alert alert-b goes raise clear clear" in again.problems
    other = told()[0] | {"frame": 1}
    assert "event event-0 came with two contents" in judge(TRUTH, [*told(), other], breaks=False).problems


def test_the_judge_takes_out_what_was_broken_off_and_raised_again() -> None:
    first, *rest = told()
    end = event(10, Step(1, "a", "clear"), "alert-a", reason="restart")
    anew = event(11, Step(1, "a", "raise"), "alert-c")
    true_end = event(12, TRUTH[1], "alert-c")
    events = [first, end, anew, true_end, *rest[1:]]
    verdict = judge(TRUTH, events, breaks=True)
    assert (verdict.lost, verdict.doubled, verdict.resumed_pairs) == (0, 0, 1)
    assert judge(TRUTH, events, breaks=False).doubled == 2
    # Broken off at the very frame of the clear: the late clear stands for it.
    late = event(10, Step(0, "a", "clear"), "alert-a", reason="restart")
    verdict = judge(TRUTH, [first, late, *rest[1:]], breaks=True)
    assert (verdict.lost, verdict.doubled, verdict.resumed_pairs) == (0, 0, 0)


@needs_real_parts
def test_an_uninterrupted_run_tells_what_the_script_paints() -> None:
    painted = []
    for number in range(1, SHORT.frames):
        before, now = SHORT.zones(number - 1), SHORT.zones(number)
        painted += [Step(number, zone, "raise") for zone in ZONES if zone in now and zone not in before]
        painted += [Step(number, zone, "clear") for zone in ZONES if zone in before and zone not in now]
    painted += [Step(0, zone, "raise") for zone in SHORT.zones(0)]
    assert len(painted) > 20
    assert sorted(truth_of(SHORT)) == sorted(painted)


def kills_and_cuts(world: World) -> None:
    """The daemon killed at random moments, the broker killed, the link cut: all in one flight."""
    assert world.proxy is not None
    chance = random.Random(1)
    for number in range(3):
        world.until_steps(3 + 5 * number)
        time.sleep(chance.uniform(0, 0.3))
        world.daemon.kill()
        world.until(lambda: not world.daemon.running, "the daemon is gone")
    world.until_steps(16)
    world.proxy.down = False
    time.sleep(0.3)
    world.broker.kill()
    world.proxy.down = True
    world.broker.start()
    world.until_steps(20)
    world.proxy.cut_midst(500)


def frozen(world: World) -> None:
    """A daemon that hangs."""
    world.until_steps(8)
    world.until(lambda: world.daemon.watched, "READY=1 at the supervisor")
    world.daemon.kill(signal.SIGSTOP)
    world.until(lambda: world.daemon.watchdog_kills == 1, "the watchdog acts")


def corrupt_outbox(world: World) -> None:
    """A file that is no database any more."""
    world.until_steps(10)
    world.daemon.down()
    for name in ("outbox.db", "outbox.db-wal"):
        (world.state / name).write_bytes(random.Random(2).randbytes(20_000))
    world.daemon.up()


@needs_real_parts
@pytest.mark.parametrize(
    ("act", "breaks", "said"),
    [
        (kills_and_cuts, False, ("an earlier run goes on",)),
        (frozen, False, ()),
        (corrupt_outbox, True, ("moved aside",)),
    ],
)
def test_nothing_is_lost_and_nothing_told_twice(act: Act, breaks: bool, said: tuple[str, ...]) -> None:
    kind = Fault(act.__name__, act, breaks=breaks, said=said, script=SHORT, options={"proxied": True})
    row = fly(kind)
    assert row.problems == []
    assert (row.received, row.lost, row.doubled) == (row.expected, 0, 0)
    assert row.restarts > 0
