"""`remoteclip prompts show` and `rollback`, with a daemon that flies and without."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge.bundle.load import Bundle
from edge.commands.prompts import app
from edge.pipeline import Pipeline
from edge.prompts.shelf import FOLDER_NAME, RECORD_NAME, PromptShelf, list_path, read_record
from edge.prompts.updates import PromptUpdater
from firmware_cfg.errors import RemoteclipError, UsageError

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)
RED = b"prompts:\n  - {id: red, text: red, threshold: 0.5}\n"
BLUE = b"prompts:\n  - {id: blue, text: [blue, green blue]}\nbackground: [grey]\n"
RED_HASH, BLUE_HASH = (hashlib.sha256(data).hexdigest() for data in (RED, BLUE))


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device file that has not flown yet; its list is RED, its state below `state`."""
    (tmp_path / "list.yaml").write_bytes(RED)
    path = tmp_path / "device.yaml"
    path.write_text("device: bird\nsource: {uri: demo}\nprompts: list.yaml\nstate_dir: state\n")
    return path


@pytest.fixture
def shelf_folder(device: Path) -> Path:
    return device.parent / "state" / FOLDER_NAME


@pytest.fixture
def flown(shelf_folder: Path) -> None:
    """RED has flown from its file, and BLUE was sent a minute later."""
    with PromptShelf(shelf_folder) as shelf:
        shelf.put(RED, "file", NOON)
        shelf.saw_file(RED_HASH)
        shelf.put(BLUE, "mqtt", NOON + timedelta(minutes=1))


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def show(device: Path) -> dict[str, Any]:
    report = json.loads(run("show", device, "--json"))
    assert isinstance(report, dict)
    return report


def test_a_device_that_never_flew_has_nothing_to_show_or_call_back(device: Path) -> None:
    assert run("show", device) == f"never flown; the first flight begins with {device.parent / 'list.yaml'}\n"
    report = show(device)
    assert (report["in_force"], report["earlier"], report["flying"]) == (None, [], False)
    with pytest.raises(UsageError, match="no earlier prompt list is kept"):
        run("rollback", device)
    assert not (device.parent / "state").exists()


@pytest.mark.usefixtures("flown")
def test_what_is_in_force_is_shown_with_its_prompts(device: Path, shelf_folder: Path) -> None:
    assert run("show", device).splitlines() == [
        f"in force  {BLUE_HASH[:12]}  2026-05-01T12:01:00Z  mqtt: blue (no daemon flies)",
        "  blue (object, threshold the model's): blue | green blue",
        "  background: grey",
        f"earlier   {RED_HASH[:12]}  2026-05-01T12:00:00Z  file: red",
        f"{device.parent / 'list.yaml'} holds another list, {RED_HASH[:12]}",
    ]
    report = show(device)
    assert report["in_force"]["file"] == str(list_path(shelf_folder, BLUE_HASH))
    assert report["in_force"]["prompts"] == [
        {"id": "blue", "kind": "object", "text": ["blue", "green blue"], "threshold": None}
    ]
    assert [(kept["sha256"], kept["source"]) for kept in report["earlier"]] == [(RED_HASH, "file")]
    assert report["device_list_sha256"] == RED_HASH


@pytest.mark.usefixtures("flown")
def test_a_saved_list_that_is_refused_is_shown_with_its_first_error(device: Path) -> None:
    path = device.parent / "list.yaml"
    path.write_bytes(RED.replace(b"0.5", b"3.5"))
    last = run("show", device).splitlines()[-1]
    assert last.startswith(f"{path} holds another list, ")
    assert f"; it is refused: {path}:2:37: threshold must be between 0 and 1, got 3.5" in last
    assert show(device)["device_list_problem"] in last


@pytest.mark.usefixtures("flown")
def test_a_damaged_list_is_shown_as_one(device: Path, shelf_folder: Path) -> None:
    list_path(shelf_folder, RED_HASH).write_bytes(b"prompts: [")
    assert "damaged: its bytes are not those that its name says" in run("show", device)
    with pytest.raises(RemoteclipError, match="damaged"):
        run("rollback", device)
    (shelf_folder / RECORD_NAME).write_bytes(b"[]")
    with pytest.raises(RemoteclipError, match=rf"{RECORD_NAME}: damaged"):
        run("show", device)


@pytest.mark.usefixtures("flown")
def test_a_rollback_on_the_ground_waits_for_the_next_start(device: Path, shelf_folder: Path) -> None:
    assert run("rollback", device) == f"{RED_HASH[:12]} is in force with the next start\n"
    record = read_record(shelf_folder)
    assert record is not None
    assert (record.in_force.sha256, record.in_force.source) == (RED_HASH, "rollback")
    assert json.loads(run("rollback", device, "--to", BLUE_HASH[:8], "--json")) == {
        "sha256": BLUE_HASH,
        "flying": False,
    }


@pytest.mark.usefixtures("flown")
def test_a_rollback_in_flight_is_done_at_once(device: Path, shelf_folder: Path, tiny_bundle: Bundle) -> None:
    with PromptShelf(shelf_folder) as shelf:
        updater = PromptUpdater(shelf, device.parent / "list.yaml", poll_s=0.005)
        with updater.begin(lambda prompts, source: Pipeline(tiny_bundle, prompts)) as pipeline, updater:
            assert pipeline.bank.list_sha256 == BLUE_HASH
            assert run("rollback", device) == f"{RED_HASH[:12]} is in force\n"
            assert pipeline.bank.list_sha256 == RED_HASH
            assert show(device)["flying"] is True
            with pytest.raises(UsageError, match="--to beef: must be the beginning of one of the hashes"):
                run("rollback", device, "--to", "beef")
