"""Two daemons where there should be one."""

from __future__ import annotations

import time

from benchmarks.faults.fault import fault
from benchmarks.faults.supervisor import Supervisor
from benchmarks.faults.world import World


def _twin(world: World, state: str) -> Supervisor:
    device = world.folder / "twin.yaml"
    device.write_text(world.device_file.read_text().replace(str(world.state), state))
    return Supervisor(device, world.folder / "twin.log", first_frame=lambda: 0)


@fault("two daemons with one device id, for 6 s", said=("is the device id used twice",))
def _twice(world: World) -> None:
    world.until_steps(10)
    twin = _twin(world, str(world.folder / "twin"))
    own = {event["boot_id"] for event in world.room.events()}
    twin.start()
    time.sleep(6)
    twin.stop()
    world.mended()
    world.leave_out = {event["boot_id"] for event in world.room.events()} - own
    if not world.leave_out:
        world.notes.append("the second daemon was never heard: this fault tried nothing")
    world.until(lambda: world.room.heard_state("online", 2), "the first one is online again")


@fault("a second daemon with the same state folder")
def _same_state(world: World) -> None:
    world.until_steps(10)
    twin = _twin(world, str(world.state))
    twin.hold()
    twin.start()
    world.until(lambda: bool(twin.exit_codes), "the second daemon gives up")
    twin.stop()
    said = (world.folder / "twin.log").read_text()
    if twin.exit_codes[0] != 1 or "is another remoteclip running with this state_dir?" not in said:
        world.notes.append(f"exit code {twin.exit_codes[0]} and: {said.strip().splitlines()[-1:]}")
