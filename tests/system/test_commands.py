"""The command as a user types it: one clear line for what is wrong, and exit codes to rely on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge.broker import free_port
from edge.cli import app
from firmware_cfg.bundles import default_bundle_path
from tests.edge.sources.rtsp_camera import RtspCamera, skip_without_server

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def remoteclip(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`remoteclip(*arguments)`, run in tmp_path."""
    monkeypatch.setenv("PYTHONPATH", str(repository))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    return run


@pytest.fixture
def shipped_bundle() -> Path:
    path = default_bundle_path()
    if not (path / "manifest.json").is_file():
        pytest.skip("this checkout has no model bundle in firmware_cfg/bundles/default")
    return path


GOOD_LIST = "prompts: [{id: car, text: a car seen from above}]\n"
DEVICE = (
    "device: bird\nsource: {uri: %s}\nprompts: list.yaml\nstate_dir: %s\nmqtt: {url: 'mqtt://127.0.0.1:9'}\n"
)


def one_line(stderr: str) -> str:
    (line,) = stderr.splitlines()
    return line


def test_check_places_every_problem_of_a_list(remoteclip: Command, tmp_path: Path) -> None:
    bad = {
        "key.yaml": ("prompts:\n  - {id: car, txt: a car}\n", "key.yaml:2:15: "),
        "range.yaml": ("prompts:\n  - {id: car, text: a car, threshold: 3.5}\n", "range.yaml:2:39: "),
        "empty.yaml": ("prompts:\n  - {id: car, text: ''}\n", "empty.yaml:2:21: "),
        "syntax.yaml": ("prompts: [\n", "syntax.yaml:2:1: "),
    }
    for name, (text, _) in bad.items():
        (tmp_path / name).write_text(text)
    done = remoteclip("check", *bad)
    assert (done.returncode, done.stderr) == (1, "")
    for _, place in bad.values():
        assert any(line.startswith(place) for line in done.stdout.splitlines()), (place, done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ("count", "demo", "--prompts", "list.yaml"),
        ("demo", "--headless", "--prompts", "list.yaml"),
        ("run", "device.yaml"),
    ],
)
def test_a_bad_prompt_list_is_placed_before_anything_starts(
    remoteclip: Command, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "list.yaml").write_text("prompts:\n  - {id: car, text: a car, threshold: 3.5}\n")
    (tmp_path / "device.yaml").write_text(DEVICE % ("demo", "state"))
    done = remoteclip(*arguments)
    assert done.returncode == 1
    assert "list.yaml:2:39: threshold must be between 0 and 1, got 3.5" in one_line(done.stderr)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("device: bird\n", "device.yaml:1:1: "),
        ("device: bird\nsource: {uri: demo}\nmqtt: {password: secret}\n", "device.yaml:3:8: "),
        (DEVICE % ("nothing.mp4", "state"), "nothing.mp4"),
        (DEVICE % ("empty.mp4", "state"), "empty.mp4: the file is empty"),
        (DEVICE % ("noise.mp4", "state"), "noise.mp4: "),
        (DEVICE % ("folder", "state"), "folder: "),
        (DEVICE % ("demo", "/proc/here"), "/proc/here"),
    ],
)
def test_a_device_that_cannot_start_says_why_in_one_line(
    remoteclip: Command, shipped_bundle: Path, tmp_path: Path, device: str, message: str
) -> None:
    (tmp_path / "device.yaml").write_text(device)
    (tmp_path / "list.yaml").write_text(GOOD_LIST)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(5000))
    (tmp_path / "folder").mkdir()
    done = remoteclip("run", "device.yaml")
    assert done.returncode == 1
    assert message in one_line(done.stderr)
    assert "secret" not in done.stderr


def test_a_missing_file_and_wrong_use_differ_in_their_exit_codes(remoteclip: Command) -> None:
    missing = remoteclip("run", "nowhere.yaml")
    assert (missing.returncode, "nowhere.yaml: " in one_line(missing.stderr)) == (1, True)
    assert remoteclip("run").returncode == 2
    size = remoteclip("count", "demo", "--prompts", "x.yaml", "--image-size", "big")
    assert (size.returncode, one_line(size.stderr)) == (
        2,
        "--image-size must be WIDTHxHEIGHT such as 640x384, got 'big'",
    )
    assert remoteclip("check").returncode == 2
    assert remoteclip("watch", "--password-env", "SECRET").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--broker", "http://user:secret@example"), "--broker: the broker's URL must "),
        (("--broker", "localhost:8883"), "--broker: the broker's URL must be mqtt://HOST:PORT"),
        (("--username", "v", "--password-file", "secret"), "--password-file must name a file that exists"),
        (("--username", "v", "--password-env", "secret"), "--password-env must name an environment variable"),
        (("--ca", "nowhere.crt"), "--ca nowhere.crt: there is no such file"),
    ],
)
def test_watch_is_used_wrongly_where_waiting_cannot_help(arguments: tuple[str, ...], message: str) -> None:
    """The seconds end it, with another code, where it is taken for a broker that is away."""
    result = CliRunner().invoke(app, ["watch", "--seconds", "1", *arguments])
    assert (result.exit_code, "secret" in result.stderr) == (2, False)
    assert message in one_line(result.stderr)


def test_check_reports_every_file_and_in_json_too(
    remoteclip: Command, repository: Path, tmp_path: Path
) -> None:
    good = repository / "firmware_cfg" / "prompts" / "traffic.yaml"
    (tmp_path / "bad.yaml").write_text("prompts:\n  - {id: car, text: a car, treshold: 0.3}\n")
    plain = remoteclip("check", good, "bad.yaml")
    assert plain.returncode == 1
    assert plain.stdout.splitlines()[0] == f"{good}: ok"
    assert plain.stdout.splitlines()[1].startswith("bad.yaml:2:28: ")
    report = json.loads(remoteclip("check", good, "bad.yaml", "--json").stdout)
    assert report["checked"] == 2
    ((problem),) = report["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("bad.yaml", 2, 28)
    assert "threshold" in problem["mend"]
    assert remoteclip("check", good).returncode == 0


def test_check_asks_a_camera_only_where_told_to(remoteclip: Command, tmp_path: Path) -> None:
    url = f"rtsp://127.0.0.1:{free_port()}/cam"
    (tmp_path / "camera.yaml").write_text(DEVICE % (url, "state"))
    (tmp_path / "demo.yaml").write_text(DEVICE % ("demo", "state"))
    (tmp_path / "list.yaml").write_text(GOOD_LIST)
    assert remoteclip("check", "camera.yaml").stdout == "camera.yaml: ok\n"
    asked = remoteclip("check", "--camera", "list.yaml", "demo.yaml", "camera.yaml")
    assert (asked.returncode, asked.stderr) == (1, "")
    *good, bad = asked.stdout.splitlines()
    assert good == ["list.yaml: ok", "demo.yaml: ok"]
    assert bad.startswith(f"camera.yaml: its camera does not answer: {url}: nothing listens")
    ((problem),) = json.loads(remoteclip("check", "--camera", "--json", "camera.yaml").stdout)["problems"]
    assert problem["problem"] in bad
    assert remoteclip("check", "--camera", "--system").returncode == 2


def test_check_has_nothing_against_a_camera_that_answers(remoteclip: Command, tmp_path: Path) -> None:
    skip_without_server()
    camera = RtspCamera().start()
    try:
        (tmp_path / "device.yaml").write_text(DEVICE % (camera.url(), "state"))
        (tmp_path / "list.yaml").write_text(GOOD_LIST)
        asked = remoteclip("check", "--camera", "device.yaml")
        assert (asked.returncode, asked.stdout) == (0, "device.yaml: ok\n"), asked.stderr
    finally:
        camera.kill()


def test_check_system_tells_about_this_machine(remoteclip: Command) -> None:
    done = remoteclip("check", "--system", "--json")
    facts = {fact["name"]: fact for fact in json.loads(done.stdout)["facts"]}
    assert facts["engine openvino"]["level"] == "ok"
    assert done.returncode == (1 if any(fact["level"] == "problem" for fact in facts.values()) else 0)


def test_count_prints_one_object_a_frame(remoteclip: Command, shipped_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (2, 10, 1):
        cv2.imwrite(str(folder / f"image{number}.png"), np.full((96, 160, 3), 20 * number, np.uint8))
    (folder / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "list.yaml").write_text(
        "prompts:\n"
        "  - {id: car, text: a car seen from above, threshold: 0.0}\n"
        "  - {id: beach, kind: scene, text: a beach}\n"
    )
    done = remoteclip("count", "images", "--prompts", "list.yaml", "--json")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["source"] for record in records] == ["image1.png", "image2.png", "image10.png"]
    for record in records:
        assert set(record) == {"frame", "source", "time_s", "counts", "unique", "scene", "places"}
        assert set(record["counts"]) == {"car"}
        assert 0 <= record["scene"]["beach"] <= 1
        assert record["counts"]["car"] == len(record["places"]) > 0
        for place in record["places"]:
            left, top, right, bottom = place["box"]
            assert 0 <= left <= right <= 160
            assert 0 <= top <= bottom <= 96
    assert "broken.png" in done.stderr
    table = remoteclip("count", "images", "--prompts", "list.yaml")
    assert "3 frames; skipped: 1" in table.stdout


def test_bundle_verify_proves_the_shipped_one_and_finds_a_changed_byte(
    remoteclip: Command, shipped_bundle: Path, tmp_path: Path
) -> None:
    good = remoteclip("bundle", "verify", "--json")
    assert good.returncode == 0, good.stderr
    report = json.loads(good.stdout)
    assert (report["ok"], report["pinned"]) == (True, True)
    assert "unsigned" in report["signature"]
    assert report["golden"]

    copy = shutil.copytree(shipped_bundle, tmp_path / "bundle")
    graph = copy / "image.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    bad = remoteclip("bundle", "verify", copy)
    assert bad.returncode == 1
    assert one_line(bad.stderr).startswith(f"{graph}: SHA-256 is ")
    (tmp_path / "list.yaml").write_text(GOOD_LIST)
    counted = remoteclip("count", "demo", "--prompts", "list.yaml", "--bundle", copy)
    assert (counted.returncode, counted.stdout) == (1, "")


def test_no_permission_to_write_results_is_one_line(
    remoteclip: Command, shipped_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.yaml").write_text(GOOD_LIST)
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((64, 64, 3), np.uint8))
    arguments = ("demo", "--headless", "--source", "image.png", "--prompts", "list.yaml", "--runs")
    done = remoteclip(*arguments, "/proc/runs")
    assert done.returncode == 1
    assert one_line(done.stderr).startswith("/proc/runs/")
    done = remoteclip(*arguments, "image.png")
    assert (done.returncode, "image.png" in one_line(done.stderr)) == (1, True)


def test_a_demo_that_cannot_start_leaves_nothing_behind(remoteclip: Command, tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text(GOOD_LIST)
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((64, 64, 3), np.uint8))
    arguments = ("--source", "image.png", "--prompts", "list.yaml", "--bundle", "nowhere")
    done = remoteclip("demo", "--headless", *arguments)
    assert done.returncode == 1
    assert one_line(done.stderr).startswith("nowhere: holds no bundle (remoteclip bundle install")
    assert list((tmp_path / "runs").iterdir()) == []
