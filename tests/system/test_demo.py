"""`remoteclip demo` as `make demo` runs it: real imagery, a real broker, the shipped model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from edge.broker import find_mosquitto
from firmware_cfg.bundles import default_bundle_path

pytestmark = [
    pytest.mark.skipif(
        not (default_bundle_path() / "manifest.json").is_file(),
        reason="this checkout has no model bundle in firmware_cfg/bundles/default",
    ),
    pytest.mark.skipif(
        find_mosquitto() is None and find_spec("amqtt") is None,
        reason="neither mosquitto nor amqtt is installed",
    ),
]
ORTHOPHOTO = pytest.mark.skipif(
    find_spec("deepforest") is None, reason="no orthophoto: pip install --no-deps deepforest==2.1.0"
)


def demo_command(folder: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "edge.cli", "demo", "--runs", str(folder), *map(str, arguments)]


def last_json(stdout: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    return result


@ORTHOPHOTO
def test_the_flight_raises_alerts_that_a_subscriber_receives(repository: Path, tmp_path: Path) -> None:
    command = demo_command(tmp_path / "runs", "--headless", "--seconds", 20, "--json")
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert result["frames"] == 201
    assert result["fps"] > 0
    assert result["alerts_received"] >= 1
    assert result["count"] > 0
    assert result["truth"] > 0
    assert result["per_frame"]["truth"] > 0
    assert "RAISE" in done.stderr
    with av.open(result["video"]) as video:
        assert sum(1 for _ in video.decode(video=0)) == 201
    sheet = cv2.imread(result["contact_sheet"])
    assert sheet is not None
    assert sheet.std() > 0


def test_any_folder_can_be_the_source_and_the_result_is_for_people(repository: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        pixels = np.full((90, 160, 3), 60 * number, np.uint8)
        assert cv2.imwrite(str(images / f"{number}.png"), pixels)
    (images / "broken.jpg").write_bytes(b"")
    prompts = tmp_path / "list.yaml"
    prompts.write_text("prompts: [{id: car, text: a car seen from above, alerts: [{when: count < 100}]}]\n")
    command = demo_command(tmp_path / "runs", "--source", images, "--prompts", prompts)
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert "RAISE  warning  car: count " in done.stdout
    assert "1 alerts raised, 1 cleared" in done.stdout
    assert "skipped: 1" in done.stdout


@ORTHOPHOTO
def test_on_a_terminal_it_shows_the_control_rooms_table(repository: Path, tmp_path: Path) -> None:
    outer, inner = os.openpty()
    command = demo_command(tmp_path / "runs", "--seconds", 2)
    demo = subprocess.Popen(
        command, cwd=repository, stdin=inner, stdout=inner, stderr=inner, env={**os.environ, "TERM": "xterm"}
    )
    os.close(inner)
    shown = b""
    alarm = threading.Timer(300, demo.kill)  # reading has no timeout of its own
    alarm.start()
    try:
        while True:
            try:
                piece = os.read(outer, 65536)
            except OSError:  # how Linux says that the other side has closed
                break
            if not piece:
                break
            shown += piece
        assert demo.wait(120) == 0
    finally:
        alarm.cancel()
        demo.kill()
        demo.wait()
        os.close(outer)
    screen = shown.decode(errors="replace")
    for words in ("Devices", "tree", "trees:", "truly flown over", "contact_sheet.png"):
        assert words in screen


@ORTHOPHOTO
def test_ctrl_c_ends_it_with_its_summary(repository: Path, tmp_path: Path) -> None:
    command = demo_command(tmp_path / "runs", "--headless", "--json", "--source", "demo://?fps=1000&speed=8")
    demo = subprocess.Popen(
        command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob("runs/*/.annotated.mp4.part")):
            assert demo.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        demo.send_signal(signal.SIGINT)
        stdout, stderr = demo.communicate(timeout=120)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 0, stderr
    result = last_json(stdout)
    assert 0 < result["frames"] < 10_000
    assert Path(result["video"]).is_file()
    assert not list(tmp_path.glob("runs/*/.*.part"))
