"""The shelf of prompt lists: what outlives a restart, a power cut, and a disk that is full."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edge.prompts import shelf as shelf_module
from edge.prompts.owner import OWNER_NAME, ShelfError, is_owned
from edge.prompts.shelf import KEPT, RECORD_NAME, PromptShelf, list_path, read_list, read_record

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)
LISTS = [f"prompts: [{{id: p{number}, text: red}}]\n".encode() for number in range(6)]
HASHES = [hashlib.sha256(data).hexdigest() for data in LISTS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "prompts"


def yaml_files(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.yaml")}


def fill(folder: Path, count: int) -> None:
    with PromptShelf(folder) as shelf:
        for number in range(count):
            shelf.put(LISTS[number], "file", NOON + timedelta(minutes=number))
            assert shelf.save()


def test_what_was_put_is_read_back_by_the_next_owner(folder: Path) -> None:
    with PromptShelf(folder) as shelf:
        assert shelf.record is None
        shelf.put(LISTS[0], "file", NOON)
        shelf.saw_file(HASHES[0])
        shelf.put(LISTS[1], "mqtt", NOON + timedelta(minutes=1))
        shelf.saw_desired(HASHES[1])
        assert not shelf.saved
        assert shelf.save()
        assert shelf.saved
    with PromptShelf(folder) as shelf:
        record = shelf.record
        assert record is not None
        assert record == read_record(folder)
        assert [(kept.sha256, kept.source) for kept in record.lists] == [
            (HASHES[1], "mqtt"),
            (HASHES[0], "file"),
        ]
        assert record.in_force.applied_at == NOON + timedelta(minutes=1)
        assert (record.file_sha256, record.desired_sha256) == (HASHES[0], HASHES[1])
        assert [shelf.read(kept.sha256) for kept in record.lists] == [LISTS[1], LISTS[0]]


def test_only_the_last_lists_stay(folder: Path) -> None:
    fill(folder, 6)
    record = read_record(folder)
    assert record is not None
    assert [kept.sha256 for kept in record.lists] == HASHES[:1:-1]
    assert len(record.earlier) == KEPT
    assert yaml_files(folder) == set(HASHES[2:])


def test_a_list_that_comes_back_is_not_kept_twice(folder: Path) -> None:
    fill(folder, 3)
    with PromptShelf(folder) as shelf:
        shelf.put(LISTS[1], "rollback", NOON)
        assert shelf.record is not None
        assert [kept.sha256 for kept in shelf.record.lists] == [HASHES[1], HASHES[2], HASHES[0]]


def test_a_cleared_desire_is_forgotten(folder: Path) -> None:
    fill(folder, 1)
    with PromptShelf(folder) as shelf:
        shelf.saw_desired(HASHES[0])
        shelf.saw_desired(None)
    record = read_record(folder)
    assert record is not None
    assert record.desired_sha256 is None


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"\xff\xfe", b'{"version": 2}', b'{"in_force": {"sha256": "../../x"}}'],
)
def test_a_damaged_record_is_moved_aside_with_one_line(
    folder: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    fill(folder, 2)
    (folder / RECORD_NAME).write_bytes(damage)
    with pytest.raises(ShelfError, match="damaged"):
        read_record(folder)
    with PromptShelf(folder) as shelf:
        assert shelf.record is None
        shelf.put(LISTS[2], "file", NOON)
    assert (folder / f"{RECORD_NAME}.damaged").read_bytes() == damage
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert RECORD_NAME in caplog.text
    record = read_record(folder)
    assert record is not None
    assert [kept.sha256 for kept in record.lists] == [HASHES[2]]


def test_a_damaged_or_missing_list_is_an_error_that_names_it(folder: Path) -> None:
    fill(folder, 2)
    list_path(folder, HASHES[0]).write_bytes(LISTS[0][:-3])
    list_path(folder, HASHES[1]).unlink()
    with pytest.raises(ShelfError, match=rf"{HASHES[0]}\.yaml: damaged"):
        read_list(folder, HASHES[0])
    with PromptShelf(folder) as shelf, pytest.raises(ShelfError, match="cannot be read: No such file"):
        shelf.read(HASHES[1])


def test_a_disk_that_cannot_be_written_is_said_once_and_made_up_for(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(folder, 1)
    blocked = list_path(folder, HASHES[1])
    with PromptShelf(folder) as shelf:
        blocked.mkdir()  # as good as a full disk: the list cannot get its name
        caplog.set_level(logging.INFO)
        shelf.put(LISTS[1], "mqtt", NOON)
        assert not shelf.save()
        assert not shelf.save()
        assert len(caplog.records) == 1
        assert "would be lost by a restart" in caplog.text
        assert shelf.read(HASHES[1]) == LISTS[1]
        before = read_record(folder)
        assert before is not None
        assert before.in_force.sha256 == HASHES[0]
        blocked.rmdir()
        assert shelf.save()
        assert "can be written again" in caplog.text
    after = read_record(folder)
    assert after is not None
    assert after.in_force.sha256 == HASHES[1]


def test_a_power_cut_leaves_no_record_without_its_lists(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[set[str]] = []

    def noted(synced: Path) -> None:
        assert synced == folder
        found.append({path.name for path in folder.iterdir()} - {OWNER_NAME})

    monkeypatch.setattr(shelf_module, "sync_folder", noted)
    fill(folder, 1)
    lists = {f"{HASHES[0]}.yaml"}
    assert found == [lists, lists | {RECORD_NAME}]


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").write_text("not a folder")
    with PromptShelf(tmp_path / "state" / "prompts") as shelf:
        assert "not kept for a restart" in caplog.text
        shelf.put(LISTS[0], "file", NOON)
        assert not shelf.save()
        assert shelf.read(HASHES[0]) == LISTS[0]


def test_a_shelf_that_could_not_be_owned_at_first_is_as_soon_as_it_can_be(
    tmp_path: Path, folder: Path
) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("not a folder")
    with PromptShelf(folder) as shelf:
        shelf.put(LISTS[0], "file", NOON)
        assert not shelf.save()
        blocked.unlink()
        with PromptShelf(folder):  # somebody was quicker
            assert not shelf.save()
            assert yaml_files(folder) == set()
        assert shelf.save()
        assert is_owned(folder)
    assert not is_owned(folder)
    record = read_record(folder)
    assert record is not None
    assert record.in_force.sha256 == HASHES[0]


def test_one_process_owns_a_shelf(folder: Path) -> None:
    assert not is_owned(folder)
    with PromptShelf(folder):
        assert is_owned(folder)
        with pytest.raises(ShelfError, match="another process owns these prompt lists"):
            PromptShelf(folder, patience_s=0.0)
    assert (folder / OWNER_NAME).exists()
    assert not is_owned(folder)


def test_a_killed_owner_leaves_the_shelf_free(folder: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from edge.prompts.shelf import PromptShelf;"
        "shelf = PromptShelf(Path(sys.argv[1])); print('owner', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "owner\n"
        assert is_owned(folder)
        child.kill()
    assert not is_owned(folder)


def test_what_killed_writers_left_is_removed(folder: Path) -> None:
    fill(folder, 1)
    old, young = folder / ".shelf.json.0a1b.tmp", folder / ".shelf.json.2c3d.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    with PromptShelf(folder):
        assert not old.exists()
        assert young.exists()
