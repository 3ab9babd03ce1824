"""Who may come in: passwords, certificates and their ends."""

from __future__ import annotations

import time

from benchmarks.faults.authority import EXPIRED
from benchmarks.faults.client import Client
from benchmarks.faults.fault import fault
from benchmarks.faults.world import DEVICE, SECRET, World


@fault("refused credentials, then a mended password file", login="passwords", said=("refused the password",))
def _refused(world: World) -> None:
    world.until_steps(15)
    world.broker.set_password(DEVICE, "a new secret")
    world.broker.stop()
    world.broker.start()
    world.until_said("refused the password")
    time.sleep(2)
    world.password.write_text("a new secret\n")
    world.mended()
    world.until(lambda: world.room.heard_state("online", 2), "the drone is online again")
    if SECRET in world.log or "a new secret" in world.log:
        world.notes.append("a password is in the log")


@fault("the broker's certificate expires, then is renewed", login="certificates", said=("expired",))
def _broker_expired(world: World) -> None:
    world.until_steps(15)
    world.authority.for_broker(world.broker.certificates, lasts=EXPIRED)
    world.broker.stop()
    world.broker.start()
    world.until_said("expired")
    time.sleep(2)
    world.authority.for_broker(world.broker.certificates)
    world.broker.stop()
    world.broker.start()
    world.mended()


@fault("the drone's certificate expires, then is renewed", login="certificates", said=("expired at",))
def _own_expired(world: World) -> None:
    world.until_steps(15)
    world.authority.for_client(DEVICE, world.certificate, lasts=EXPIRED)
    world.broker.stop()
    world.broker.start()
    world.until_said("expired at")
    time.sleep(3)
    world.authority.for_client(DEVICE, world.certificate)
    world.mended()
    world.until(lambda: world.room.heard_state("online", 2), "the drone is online with the new certificate")


@fault("certificates change in flight, 2 times", login="certificates")
def _rotated(world: World) -> None:
    for number in (1, 2):
        world.until_steps(15 * number)
        world.authority.for_client(DEVICE, world.certificate)
        world.mended()
        world.until(
            lambda wanted=number: world.room.heard_state("online", wanted + 1), "a connection with it"
        )
    if world.room.heard_state("offline"):
        world.notes.append("the last will went out although nothing was lost")


@fault("clients without rights listen and command", login="passwords")
def _without_rights(world: World) -> None:
    guests = [
        Client(world.broker.port, user, prepare=world.let_in(user)) for user in ("viewer", "other-drone")
    ]
    world.broker.reload()
    time.sleep(0.3)
    world.until_steps(5)
    for guest in guests:
        guest.start(f"remoteclip/1/{DEVICE}/#")
        world.until(guest.online.is_set, "a guest is let in")
        for topic in ("prompts/set", "prompts/desired", "events/replay", "evidence/get", "events", "status"):
            guest.publish(f"remoteclip/1/{DEVICE}/{topic}", b"forged", retain=topic == "status")
    world.until_steps(40)
    viewer, other = guests
    if not any(heard.topic.endswith("/events") for heard in viewer.snapshot()):
        world.notes.append("the viewer, who may read, hears nothing")
    if other.snapshot():
        world.notes.append(f"another drone reads {other.snapshot()[0].topic}")
    if any(heard.payload == b"forged" for heard in world.room.snapshot()):
        world.notes.append("what a client without rights sent came through")
    for guest in guests:
        guest.stop()
