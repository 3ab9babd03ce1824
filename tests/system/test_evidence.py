"""A flight as those who look after it see it: its pictures over MQTT, its metrics, its health file."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client.parser import text_string_to_metric_families

from edge.broker import free_port
from edge.evidence.requests import EvidenceRequests
from edge.evidence.store import EvidenceStore
from edge.frames import RgbImage
from edge.health.file import judge
from edge.mqtt.link import MqttLink
from edge.outbox.outbox import Outbox
from edge.requests.desk import RequestDesk
from firmware_cfg.bundles import default_bundle_path
from firmware_cfg.topics import Topics
from tests.system.waiting import WAIT

TOPICS = Topics("osprey-1")
PROMPTS = """
prompts:
  - id: anything
    text: a car seen from above
    threshold: 0.0
    alerts: [{when: count >= 1, severity: warning}]
"""


class Desk:
    """Somebody in the control room who asks until an answer comes."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def ask(self, sha256: str, answered: Callable[[], bool]) -> None:
        """The drone subscribes some time after its birth: the first questions may find nobody."""
        payload = json.dumps({"sha256": sha256}).encode()
        deadline = time.monotonic() + WAIT
        while not answered():
            assert time.monotonic() < deadline, "no answer"
            self._client.publish(TOPICS.evidence_get, payload, 1).wait_for_publish(WAIT)
            time.sleep(0.05)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def desk(mosquitto: Any) -> Iterator[Desk]:
    mosquitto.start()
    desk = Desk(mosquitto.port)
    yield desk
    desk.close()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_picture_is_asked_for_by_its_hash_and_comes(
    mosquitto: Any, subscribe: Any, desk: Desk, tmp_path: Path, version: Any
) -> None:
    inbox = subscribe(mosquitto.settings, f"{TOPICS.root}/evidence/+")
    store = EvidenceStore(tmp_path / "evidence", max_bytes_each=64 << 10, keep_bytes=1 << 20)
    kept = store.keep(RgbImage(np.full((300, 400, 3), 90, np.uint8)), [(10, 10, 60, 60)])
    assert kept is not None
    with Outbox(tmp_path / "outbox.db") as outbox:
        requests = EvidenceRequests(store, outbox, TOPICS.device)
        link = MqttLink(
            replace(mosquitto.settings, first_version=version),
            outbox,
            device=TOPICS.device,
            status=lambda state: state,
            on_request=(waiting := RequestDesk(TOPICS.device, {"evidence/get": requests.handle})).take,
        )
        with waiting, link:
            for name in (kept, "0" * 64):
                topic = TOPICS.evidence(name)
                desk.ask(name, lambda topic=topic: any(m[0] == topic for m in inbox.messages))
    answers = dict(message[:2] for message in inbox.messages if message[0] != TOPICS.evidence_get)
    assert answers == {TOPICS.evidence(kept): store.get(kept), TOPICS.evidence("0" * 64): b""}


@pytest.fixture
def flight(tmp_path: Path, repository: Path, mosquitto: Any) -> Iterator[Callable[..., Any]]:
    """`flight(metrics_port)` starts `remoteclip run` on a video of a minute, in real time."""
    if not (default_bundle_path() / "manifest.json").is_file():
        pytest.skip("this checkout has no model bundle in firmware_cfg/bundles/default")
    started: list[subprocess.Popen[bytes]] = []

    def start(metrics_port: int) -> subprocess.Popen[bytes]:
        write_video(tmp_path / "flight.mp4", 600)
        (tmp_path / "prompts.yaml").write_text(PROMPTS)
        (tmp_path / "device.yaml").write_text(
            f"device: {TOPICS.device}\n"
            "source: {uri: flight.mp4, realtime: true}\n"
            "prompts: prompts.yaml\n"
            f"mqtt: {{url: '{mosquitto.url}'}}\n"
            "state_dir: state\n"
            "evidence: {max_kib: 16}\n"
            f"metrics: {{port: {metrics_port}}}\n"
        )
        with (tmp_path / "log").open("wb") as log:
            command = [sys.executable, "-m", "edge.cli", "run", str(tmp_path / "device.yaml")]
            environment = {**os.environ, "PYTHONPATH": str(repository)}
            started.append(subprocess.Popen(command, cwd=repository, env=environment, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def write_video(path: Path, frames: int) -> None:
    """A grey ground with a bright square that wanders, at ten frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        for number in range(frames):
            pixels = np.full((192, 320, 3), 90, np.uint8)
            left = 20 + number % 200
            pixels[80:110, left : left + 40] = (230, 40, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def scrape(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT) as answer:
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_flight_shows_its_pictures_metrics_and_health(
    mosquitto: Any, subscribe: Any, desk: Desk, flight: Callable[..., Any], tmp_path: Path
) -> None:
    inbox = subscribe(mosquitto.settings, f"{TOPICS.root}/#")
    port, state_dir = free_port(), tmp_path / "state"
    process = flight(port)

    def raised(messages: Any) -> list[dict[str, Any]]:
        events = [json.loads(payload) for topic, payload, _ in messages if topic == TOPICS.events]
        return [event for event in events if event["msg_type"] == "raise"]

    (event,) = raised(inbox.wait_for(raised))[:1]
    name = event["evidence_sha256"]
    desk.ask(name, lambda: any(m[0] == TOPICS.evidence(name) for m in inbox.messages))
    data = next(payload for topic, payload, _ in inbox.messages if topic == TOPICS.evidence(name))
    assert hashlib.sha256(data).hexdigest() == name
    assert len(data) <= 16 * 1024
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None

    found = scrape(port)
    assert found["remoteclip_frames_total", frozenset()] > 0
    assert found["remoteclip_link_state", frozenset({("state", "online")})] == 1
    assert found["remoteclip_evidence_pictures", frozenset()] >= 1
    severe = frozenset({("step", "raise"), ("severity", "warning")})
    assert found["remoteclip_alert_events_total", severe] >= 1
    for result in ("applied", "refused"):
        assert found["remoteclip_prompt_lists_total", frozenset({("result", result)})] == 0

    flying = judge(state_dir, WAIT).record
    assert flying is not None
    assert flying.state == "running"
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT) == 0
    verdict = judge(state_dir, WAIT)
    assert not verdict.ok
    assert verdict.line.endswith("ago: SIGTERM")
    assert verdict.record is not None
    assert verdict.record.health is not None
    assert verdict.record.health.frames > 0


def test_a_port_that_is_taken_is_said_before_anything_is_sent(
    mosquitto: Any, subscribe: Any, flight: Callable[..., Any], tmp_path: Path
) -> None:
    mosquitto.start()
    inbox = subscribe(mosquitto.settings, f"{TOPICS.root}/#")
    process = flight(mosquitto.port)
    assert process.wait(WAIT) == 1
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert f"metrics: 127.0.0.1 port {mosquitto.port}: address already in use" in last
    assert inbox.messages == []
