"""From a folder of field images to the control room: what two models do not agree on is marked `possible`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.system.daemon_process import DaemonProcess, bodies, wait_for
from tests.system.test_daemon_process import has_status

PICTURES = Path(__file__).parents[2] / "compile" / "gate" / "probe" / "images"
LIST = """\
version: 1
image_size: [256, 256]
prompts:
  - id: tree      # anything green
    text: a tree seen from above
    threshold: 0.1
    alerts: [{when: count >= 1, severity: warning}]
  - {id: house, text: a house seen from above, threshold: 0.1}
  - {id: vehicle, text: a vehicle seen from above, threshold: 0.1}
"""


class ByColour:
    """In place of geoembed, which takes a third of a second a place: alike is what has one colour."""

    name, width = "by-colour", 3

    def encode(self, images: list[np.ndarray]) -> np.ndarray:
        colour = np.stack([image.reshape(-1, 3).mean(axis=0) for image in images]).astype(np.float32) - 100
        return np.asarray(colour / np.linalg.norm(colour, axis=1, keepdims=True))


def test_the_drone_marks_what_the_command_advised_to_look_at(
    daemon: DaemonProcess, mosquitto: Any, subscribe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="the command needs the extra train")
    from training.blindpairs import encoders
    from training.cli_eval_blindpairs import app

    monkeypatch.setattr(encoders, "open_encoder", lambda name: ByColour())
    terrain = daemon.folder / "terrain"
    terrain.mkdir()
    for name in ("apron", "houses", "parking", "ships"):
        for picture in PICTURES.glob(f"{name}_*.jpg"):
            shutil.copyfile(picture, terrain / picture.name)
    mosquitto.start()
    box = subscribe(mosquitto.settings)
    daemon.write_files(mosquitto.url, "{uri: terrain}")
    prompts = daemon.folder / "prompts.yaml"
    prompts.write_text(LIST)

    words = ["default", "--prompts", str(prompts), "--images", str(terrain), "--json"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    advised = json.loads(shown.stdout.splitlines()[-1])["prompts"]["tree"]["review_below"]
    assert 0.1 < advised < 1
    assert f"+    review_below: {advised}" in shown.stderr
    assert "not written (--write)" in shown.stderr
    assert prompts.read_text() == LIST
    written = CliRunner().invoke(app, [*words, "--write"])
    assert written.exit_code == 0, written.output
    line = "    threshold: 0.1\n"
    assert prompts.read_text() == LIST.replace(line, f"{line}    review_below: {advised}\n")

    daemon.start()
    messages = wait_for(box, has_status("stopped"))
    assert daemon.end() == 0, daemon.log
    told = [event for event in bodies(messages, "events") if event["msg_type"] != "clear"]
    assert {event["certainty"] == "possible" for event in told} == {True, False}
    assert all((event["certainty"] == "possible") == (event["score"] < advised) for event in told)
