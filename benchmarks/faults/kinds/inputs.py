"""What people and programs send or save: prompt lists, requests, bundles."""

from __future__ import annotations

import json
import shutil
import time
from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.faults.client import Client
from benchmarks.faults.fault import fault
from benchmarks.faults.script import PROMPTS
from benchmarks.faults.world import DEVICE, World
from firmware_cfg.bundles import default_bundle_path
from firmware_cfg.topics import Topics

ROOT = f"remoteclip/1/{DEVICE}"
TREE = "  - {id: tree, text: a tree seen from above}\nbackground"
LONGER = PROMPTS.replace("background", TREE)
"""Another good list; the rules that alert are the same."""
BAD = {
    "no YAML": b"prompts: [\n",
    "an unknown key": PROMPTS.replace("threshold", "treshold").encode(),
    "invalid UTF-8": b"prompts:\n  - {id: car, text: \xff\xfe\x00 a car}\n",
    "NUL bytes": b"\0" * 1000,
    "a YAML bomb": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (n + 1, n + 1, b",".join([b"*%c" % n] * 9)) for n in range(97, 107)),
    "deep nesting": b"prompts: " + b"[" * 30_000,
    "a huge list": b"prompts: [" + b"{id: car, text: a car},\n" * 18_000 + b"]\n",
}


@fault("corrupt prompt lists saved in flight", said=(r"prompts\.yaml:\d+",))
def _bad_lists_saved(world: World) -> None:
    for number, data in enumerate(BAD.values()):
        world.until_steps(5 + 5 * number)
        world.prompts.write_bytes(data)
        time.sleep(0.8)  # a list that is replaced sooner may have been half written
    world.prompts.write_text(PROMPTS)


@fault("corrupt prompt list on disk, and kill -9", said=(r"prompts\.yaml:\d+",))
def _bad_list_at_start(world: World) -> None:
    world.until_steps(15)
    world.prompts.write_bytes(BAD["an unknown key"])
    time.sleep(0.5)
    world.daemon.kill()
    world.mended()
    world.until_steps(30)
    world.prompts.write_text(PROMPTS)


@fault("prompt list saved 6 times, alerts active")
def _lists_saved(world: World) -> None:
    for number in range(6):
        world.until_steps(8 * (number + 1))
        world.prompts.write_text(LONGER if number % 2 == 0 else PROMPTS)
    swaps = [heard for heard in world.room.snapshot() if heard.topic == f"{ROOT}/prompts/state"]
    if len(swaps) < 5:
        world.notes.append(f"only {len(swaps)} lists came into force: this fault tried nothing")


@fault("prompts/set: invalid UTF-8, bombs, giants up to 500 kB")
def _bad_lists_sent(world: World) -> None:
    for number, data in enumerate(BAD.values()):
        world.until_steps(5 + 5 * number)
        world.room.publish(f"{ROOT}/prompts/set", data)
    wanted = len(BAD)

    def refused() -> list[dict[str, Any]]:
        acks = [each.body() for each in world.room.snapshot() if each.topic == f"{ROOT}/prompts/ack"]
        return [ack for ack in acks if not ack["applied"]]

    world.until(lambda: len(refused()) >= wanted, f"{wanted} refusals on prompts/ack")


@fault("prompts/set: payloads of 10 MB", changes=("max_packet_size 20000000",))
def _giants(world: World) -> None:
    for number in range(4):
        world.until_steps(10 * (number + 1))
        world.room.publish(f"{ROOT}/prompts/set", bytes(10_000_000))
    time.sleep(1)


@fault("topics injected through ids and requests")
def _injected(world: World) -> None:
    spy = Client(world.broker.port, "spy")
    spy.start("#")
    world.until_steps(5)
    evil = ["../../eagle/status", "a/b", "+", "#", "x\0y", "$SYS", "a" * 70_000, "eagle\n"]
    response = Properties(PacketTypes.PUBLISH)
    response.ResponseTopic, response.CorrelationData = "remoteclip/1/eagle/status", b"1"
    for name in evil:
        quoted = json.dumps(name)
        world.room.publish(f"{ROOT}/prompts/set", PROMPTS.replace("id: car", f"id: {quoted}").encode())
        asked = {"schema": 1, "boot_id": name, "ranges": [[0, 1 << 53]]}
        world.room.publish(f"{ROOT}/events/replay", json.dumps(asked).encode(), properties=response)
        world.room.publish(f"{ROOT}/evidence/get", json.dumps({"schema": 1, "sha256": name}).encode())
        forged = {"schema": 1, "device": DEVICE, "alert_id": name}
        world.room.publish(f"{ROOT}/alerts/forged", json.dumps(forged).encode(), retain=True)
    world.room.publish(f"{ROOT}/prompts/set", b"prompts: [", properties=response)
    world.until_steps(40)
    world.room.publish(f"{ROOT}/alerts/forged", b"", retain=True)
    topics = {heard.topic for heard in spy.snapshot()}
    spy.stop()
    foreign = [topic for topic in topics if (found := Topics.parse(topic)) is None or found.device != DEVICE]
    if foreign:
        world.notes.append(f"published outside its own topics: {sorted(foreign)[:3]}")


@fault("corrupt bundle, and kill -9", cold=True, said=(r"image\.int8\.onnx",))
def _bad_bundle(world: World) -> None:
    bundle = world.folder / "bundle"
    shutil.copytree(default_bundle_path(), bundle)
    world.configure(bundle=str(bundle))
    world.begin()
    world.until_steps(15)
    model = bundle / "image.int8.onnx"
    good = model.read_bytes()
    model.write_bytes(good[:-1000] + bytes(1000))
    world.daemon.kill()
    world.until_said(r"image\.int8\.onnx")
    model.write_bytes(good)
    world.mended()
