"""`health.json` and `remoteclip health`: who flies, who is stopped, hung or without frames, in one line."""

from __future__ import annotations

import json
import logging
import re
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from edge.cli import RootGroup
from edge.commands.health import health as health_command
from edge.health.file import HEALTH_NAME, HealthFile, HealthRecord, judge
from edge.prompts.shelf import FOLDER_NAME, PromptShelf
from firmware_cfg.messages import Health, LatencyMs, Queued

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def make_health(**changes: Any) -> Health:
    facts: dict[str, Any] = {
        "device": "drone-7",
        "sent_at": NOON,
        "uptime_s": 90.0,
        "frames": 1234,
        "fps": 28.5,
        "latency_ms": LatencyMs(p50=20, p95=30.5, p99=40),
        "frame_age_s": 0.1,
        "alerts_active": 2,
        "queued": Queued(alert=1, telemetry=3),
        "engine": "openvino",
        "precision": "int8",
        "bundle_sha256": "a" * 64,
        "native": True,
        "clock_synced": False,
        "temperature_c": 54.5,
        "power_w": 7.5,
        "throttled": True,
    }
    return Health(**{**facts, **changes})


def timeless(line: str) -> str:
    """Without the ages, which a slow machine makes larger."""
    return re.sub(r"\d+ s\b", "N s", line)


def age(state_dir: Path, seconds: float) -> None:
    """Make the record as old as that."""
    path = state_dir / HEALTH_NAME
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps(record | {"mono_s": record["mono_s"] - seconds}))


def test_a_daemon_that_flies_is_told_in_one_line(tmp_path: Path) -> None:
    HealthFile(tmp_path / "state").write("running", health=make_health(), link="online")
    verdict = judge(tmp_path / "state")
    assert verdict.ok, verdict.line
    assert timeless(verdict.line) == (
        "drone-7: flies, 1234 frames, 28.5 a second; latency p95 30.5 ms; 2 alerts active; "
        "broker online, 4 messages wait; 54.5 C, throttled; 7.5 W; as of N s ago"
    )
    assert [path.name for path in (tmp_path / "state").iterdir()] == [HEALTH_NAME]


def test_what_the_broker_ails_is_told_but_is_no_fault_of_the_daemon(tmp_path: Path) -> None:
    bare = make_health(temperature_c=None, power_w=None, throttled=None, latency_ms=None)
    HealthFile(tmp_path).write("running", health=bare, link="offline", link_problem="h:1: connection refused")
    verdict = judge(tmp_path)
    assert verdict.ok
    assert timeless(verdict.line) == (
        "drone-7: flies, 1234 frames, 28.5 a second; 2 alerts active; "
        "broker h:1: connection refused, 4 messages wait; as of N s ago"
    )


@pytest.mark.parametrize(
    ("drift", "told"), [(0.5, "; drift 0.50; "), (0.96, "; drift 0.96: out of the model's terrain, ")]
)
def test_the_drift_is_told(tmp_path: Path, drift: float, told: str) -> None:
    HealthFile(tmp_path).write("running", health=make_health(drift=drift), link="online")
    verdict = judge(tmp_path)
    assert verdict.ok
    assert told in verdict.line


LOST = "rtsp://10.0.0.5/a: nothing listens there (switch the camera on)"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"camera_problem": LOST, "camera_outages": 1}, f"; no frames just now: {LOST}; "),
        (
            {"telemetry_refused": {"jump": 7, "not in order": 2}},
            "; telemetry refused: 7 jump, 2 not in order; ",
        ),
        ({"unplaced": 3}, "; 3 in the newest frame without a position; "),
    ],
)
def test_what_blinds_it_in_part_is_told_where_there_is_some(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    HealthFile(tmp_path).write("running", health=make_health(**changes), link="online")
    verdict = judge(tmp_path)
    assert verdict.ok
    assert told in verdict.line
    HealthFile(tmp_path).write("running", health=make_health(), link="online")
    assert told not in judge(tmp_path).line


def test_one_alert_and_one_message_are_told_as_one(tmp_path: Path) -> None:
    HealthFile(tmp_path).write("running", health=make_health(alerts_active=1, queued=Queued(alert=1)))
    assert "; 1 alert active; broker unknown, 1 message waits; " in judge(tmp_path).line


def test_a_daemon_that_was_killed_is_told_at_once(tmp_path: Path) -> None:
    """Its lock on the prompt lists has gone with it, however young the record is."""
    with PromptShelf(tmp_path / FOLDER_NAME):
        HealthFile(tmp_path).write("running", health=make_health(), link="online")
        assert judge(tmp_path).ok
    verdict = judge(tmp_path)
    assert not verdict.ok
    assert timeless(verdict.line).endswith(
        "ended without goodbye (killed, or crashed); its last sign of life is N s old"
    )


def test_a_start_and_an_end_are_told_without_a_look_at_the_lock(tmp_path: Path) -> None:
    """The lock is taken after the first record, and given back before the last one."""
    PromptShelf(tmp_path / FOLDER_NAME).close()
    file = HealthFile(tmp_path)
    file.write("starting")
    assert timeless(judge(tmp_path).line).endswith("starting, for N s now")
    file.write("stopped", reason="SIGTERM")
    assert timeless(judge(tmp_path).line).endswith("stopped N s ago: SIGTERM")


@pytest.mark.parametrize(
    ("health", "seconds", "line"),
    [
        (make_health(), 75, "no sign of life for N s (killed, hung, or the disk cannot be written)"),
        (make_health(frame_age_s=55.0), 20, "no frame for N s (is the camera there?)"),
        (make_health(frame_age_s=55.0, camera_problem=LOST), 20, f"no frame for N s: {LOST}"),
        (make_health(frame_age_s=None, frames=0), 5, "no frame yet, N s after the start"),
        (
            make_health(frame_age_s=None, frames=0, camera_problem=LOST),
            5,
            f"no frame yet, N s after the start: {LOST}",
        ),
    ],
)
def test_a_daemon_that_hangs_or_gets_no_frames_is_told(
    tmp_path: Path, health: Health, seconds: float, line: str
) -> None:
    HealthFile(tmp_path).write("running", health=health, link="online")
    age(tmp_path, seconds)
    verdict = judge(tmp_path, 60)
    assert (verdict.ok, timeless(verdict.line)) == (False, f"{tmp_path / HEALTH_NAME}: {line}")
    assert verdict.age_s is not None
    assert verdict.age_s >= seconds
    assert judge(tmp_path, 3600).ok == (health.frame_age_s is not None)


def test_starting_and_stopped_are_told_and_the_last_health_stays(tmp_path: Path) -> None:
    file = HealthFile(tmp_path)
    file.write("starting")
    assert timeless(judge(tmp_path).line).endswith(f"{HEALTH_NAME}: starting, for N s now")
    file.write("running", health=make_health())
    file.write("stopped", reason="SIGTERM")
    verdict = judge(tmp_path)
    assert not verdict.ok
    assert timeless(verdict.line).endswith("stopped N s ago: SIGTERM")
    assert verdict.record is not None
    assert verdict.record.health == make_health()


def test_a_clock_that_is_set_changes_nothing_and_a_new_start_of_the_machine_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    HealthFile(tmp_path).write("running", health=make_health())
    for moment in (0.0, 4e9):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        assert judge(tmp_path).ok
    record = HealthRecord.from_payload((tmp_path / HEALTH_NAME).read_bytes())
    other = record.model_copy(update={"kernel_boot_id": "another"})
    (tmp_path / HEALTH_NAME).write_bytes(other.to_payload())
    assert judge(tmp_path).line.endswith("the machine was started anew, the daemon was not")


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"schema": 2}', b"x" * 10_000_000]
)
def test_a_file_that_is_no_record_is_told_in_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / HEALTH_NAME).write_bytes(data)
    verdict = judge(tmp_path)
    assert not verdict.ok
    assert verdict.line.startswith(f"{tmp_path / HEALTH_NAME}: not a HealthRecord message: ")
    assert len(verdict.line.splitlines()) == 1


def test_no_file_and_a_folder_in_its_place(tmp_path: Path) -> None:
    assert "there is none (did `remoteclip run` ever start here?)" in judge(tmp_path / "nowhere").line
    (tmp_path / HEALTH_NAME).mkdir()
    assert judge(tmp_path).line.endswith("cannot be read: Is a directory")


def test_a_disk_that_cannot_be_written_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_bytes(b"")  # a file where the folder belongs: root cannot write there either
    file = HealthFile(tmp_path / "state")
    for _ in range(3):
        file.write("running", health=make_health())
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, f"{tmp_path / 'state' / HEALTH_NAME}: cannot be written: File exists")
    ]


def command() -> typer.Typer:
    """The subcommand as the root command runs it."""
    app = typer.Typer(cls=RootGroup)
    app.command("health")(health_command)
    app.command("other")(lambda: None)
    return app


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "drone.yaml"
    path.write_text("device: drone-7\nsource: {uri: demo}\nstate_dir: state\n")
    return path


def test_the_command_gives_0_for_one_that_flies_and_1_with_a_line_for_the_rest(device: Path) -> None:
    runner = CliRunner()
    missing = runner.invoke(command(), ["health", str(device)])
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert len(missing.stderr.splitlines()) == 1
    HealthFile(device.parent / "state").write("running", health=make_health(), link="online")
    flies = runner.invoke(command(), ["health", str(device)])
    assert (flies.exit_code, flies.stderr) == (0, "")
    assert flies.stdout.startswith("drone-7: flies, 1234 frames")
    age(device.parent / "state", 20)
    assert runner.invoke(command(), ["health", str(device), "--max-age", "1h"]).exit_code == 0
    hung = runner.invoke(command(), ["health", str(device), "--max-age", "10s"])
    assert hung.exit_code == 1
    assert "no sign of life for " in hung.stderr


def test_the_command_reports_as_json_too(device: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(command(), ["health", str(device), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["record"] is None
    HealthFile(device.parent / "state").write("running", health=make_health(), link="online")
    result = runner.invoke(command(), ["health", str(device), "--json"])
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"], report["record"]["health"]["frames"]) == (0, True, 1234)
    assert report["age_s"] >= 0


@pytest.mark.parametrize("text", ["60", "soon", "-5s", "900h"])
def test_a_max_age_that_is_no_time_is_used_wrongly(device: Path, text: str) -> None:
    result = CliRunner().invoke(command(), ["health", str(device), f"--max-age={text}"])
    assert result.exit_code == 2
    assert f"--max-age must be a time such as 500ms, 30s or 2min, got '{text}'" in result.stderr
