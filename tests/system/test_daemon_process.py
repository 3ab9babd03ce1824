"""`remoteclip run` as a process of its own with the shipped model, and a real broker with a subscriber.

What the model sees does not matter here: with a threshold of 0 every place counts. What it should see is
measured by `make accuracy`; when rules raise and clear is tested in tests/edge/test_daemon.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system.daemon_process import FPS, ROOT, START_S, Box, DaemonProcess, Messages, bodies, wait_for


def has_event(kind: str) -> Callable[[Messages], bool]:
    return lambda messages: any(event["msg_type"] == kind for event in bodies(messages, "events"))


def has_status(state: str) -> Callable[[Messages], bool]:
    return lambda messages: any(status["state"] == state for status in bodies(messages, "status"))


def watched(broker_url: str, *wanted: str) -> dict[str, dict[str, Any]]:
    """`remoteclip watch --json` until it has told of these channels, then Ctrl-C: a line of each channel."""
    command = [sys.executable, "-m", "edge.cli", "watch", "--broker", broker_url, "--json"]
    command += ["--seconds", str(START_S)]
    channels: dict[str, dict[str, Any]] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        for line in map(json.loads, watch.stdout):
            known = channels.keys() >= set(wanted)
            channels[line["channel"]] = line
            if channels.keys() >= set(wanted) and not known:
                watch.send_signal(signal.SIGINT)
    assert watch.returncode == 0
    return channels


def test_a_subscriber_sees_a_whole_flight(daemon: DaemonProcess, mosquitto: Any, subscribe: Any) -> None:
    mosquitto.start()
    box: Box = subscribe(mosquitto.settings)
    daemon.configure(mosquitto.url, seconds=6, realtime=True)
    daemon.start()
    messages = wait_for(box, has_status("stopped"))
    assert daemon.end() == 0

    first_topic, first_payload, _ = messages[0]
    assert (first_topic, json.loads(first_payload)["state"]) == (f"{ROOT}/status", "online")
    online, stopped = bodies(messages, "status")
    assert stopped["session_id"] == online["session_id"]
    assert stopped["reason"] == "end of source"

    counts = bodies(messages, "counts/anything")
    assert len(counts) > 1
    assert counts[-1]["count"] >= 1
    assert counts[-1]["frame"] == 6 * FPS - 1
    assert bodies(messages, "prompts/state")[0]["prompts"][0]["id"] == "anything"
    assert bodies(messages, "health")[-1]["frames"] == 6 * FPS

    events = bodies(messages, "events")
    assert [events[0]["msg_type"], events[-1]["msg_type"]] == ["raise", "clear"]
    assert {event["alert_id"] for event in events} == {events[0]["alert_id"]}
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    alert = f"{ROOT}/alerts/{events[0]['alert_id']}"
    retained = [payload for topic, payload, _ in messages if topic == alert]
    assert json.loads(retained[0])["event_id"] == events[0]["event_id"]
    assert retained[-1] == b""

    latecomer: Box = subscribe(mosquitto.settings)
    kept = wait_for(latecomer, has_status("stopped"))
    assert all(was_retained for _, _, was_retained in kept)
    assert not [topic for topic, _, _ in latecomer.messages if topic.startswith(f"{ROOT}/alerts/")]

    channels = watched(mosquitto.url, "status", "counts")
    assert channels["status"]["message"]["state"] == "stopped"
    assert channels["counts"]["item"] == "anything"


def test_a_killed_daemon_is_offline_and_its_alert_goes_on_with_the_next_start(
    daemon: DaemonProcess, mosquitto: Any, subscribe: Any
) -> None:
    mosquitto.start()
    box: Box = subscribe(mosquitto.settings)
    daemon.configure(mosquitto.url, seconds=120, realtime=True)
    daemon.start()
    wait_for(box, has_event("raise"))
    daemon.send(signal.SIGKILL)
    daemon.end()
    messages = wait_for(box, has_status("offline"))
    online, offline = bodies(messages, "status")
    assert offline["session_id"] == online["session_id"]

    daemon.start()
    counted = len(bodies(messages, "counts/anything"))
    wait_for(box, lambda seen: len(bodies(seen, "counts/anything")) > counted + 1)
    daemon.send(signal.SIGTERM)
    assert daemon.end() == 0
    messages = wait_for(box, has_event("clear"))
    # Killed before the PUBACK was booked, it sends an event again: subscribers drop doubles by event_id.
    events = list({event["event_id"]: event for event in bodies(messages, "events")}.values())
    assert len({event["alert_id"] for event in events}) == 1
    steps = [event["msg_type"] for event in events if event["msg_type"] != "update"]
    assert (steps, events[-1]["reason"]) == (["raise", "clear"], "stopped")
    wait_for(box, lambda seen: (f"{ROOT}/alerts/{events[0]['alert_id']}", b"", False) in seen)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(
    daemon: DaemonProcess, mosquitto: Any, subscribe: Any, number: signal.Signals
) -> None:
    mosquitto.start()
    box: Box = subscribe(mosquitto.settings)
    daemon.configure(mosquitto.url, seconds=120, realtime=True)
    daemon.start()
    wait_for(box, has_event("raise"))
    daemon.send(number)
    assert daemon.end() == 0
    messages = wait_for(box, has_status("stopped"))
    assert bodies(messages, "status")[-1]["reason"] == number.name
    last = bodies(messages, "events")[-1]
    assert (last["msg_type"], last["reason"]) == ("clear", "stopped")
    assert "Traceback" not in daemon.log


def test_without_a_broker_it_flies_on_and_the_alerts_arrive_later(
    daemon: DaemonProcess, mosquitto: Any, subscribe: Any
) -> None:
    daemon.configure(mosquitto.url, seconds=4, realtime=False)
    daemon.start()
    assert daemon.end() == 0
    assert daemon.log.count("connection refused") == 1
    assert "kept for the next start" in daemon.log

    mosquitto.start()
    box: Box = subscribe(mosquitto.settings)
    daemon.start()
    messages = wait_for(box, has_status("stopped"))
    assert daemon.end() == 0
    events = bodies(messages, "events")
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    alerts = [event["alert_id"] for event in events if event["msg_type"] == "raise"]
    assert len(alerts) == len(set(alerts)) == 2
    assert events[0]["boot_id"] != events[-1]["boot_id"]


def test_a_wrong_password_is_said_and_the_flight_goes_on(daemon: DaemonProcess, mosquitto: Any) -> None:
    mosquitto.require_password("bird", "right")
    mosquitto.start()
    (daemon.folder / "password").write_text("wrong-secret\n")
    login = ", username: bird, password_file: password"
    daemon.configure(mosquitto.url, seconds=4, realtime=False, mqtt=login)
    daemon.start()
    assert daemon.end() == 0
    assert "the broker refused the password or the user name 'bird'" in daemon.log
    assert "wrong-secret" not in daemon.log
    assert f"{4 * FPS} frames" in daemon.log


def test_running_imports_neither_torch_nor_onnx(
    daemon: DaemonProcess, mosquitto: Any, repository: Path
) -> None:
    daemon.configure(mosquitto.url, seconds=1, realtime=False)
    script = (
        "import sys\n"
        "from edge.cli import app\n"
        "try: app(['run', sys.argv[1]])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    command = [sys.executable, "-c", script, str(daemon.device_file)]
    run = subprocess.run(
        command, cwd=repository, env=os.environ, capture_output=True, text=True, timeout=START_S, check=False
    )
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.split())
    assert {"openvino", "av", "paho"} <= loaded
    assert not loaded & {"torch", "onnx", "onnxruntime", "training", "compile", "open_clip", "timm"}


def test_a_broker_that_forgot_everything_is_told_the_prompt_list_again(
    daemon: DaemonProcess, mosquitto: Any, subscribe: Any
) -> None:
    mosquitto.extra.append("persistence false")
    mosquitto.start()
    box: Box = subscribe(mosquitto.settings)
    daemon.configure(mosquitto.url, seconds=120, realtime=True)
    daemon.start()
    wait_for(box, has_event("raise"))
    mosquitto.kill()
    mosquitto.start()
    late: Box = subscribe(mosquitto.settings)
    messages = wait_for(late, lambda seen: bool(bodies(seen, "prompts/state")))
    assert bodies(messages, "prompts/state")[0]["prompts"][0]["id"] == "anything"
    daemon.send(signal.SIGTERM)
    assert daemon.end() == 0
