"""Runs are recorded as they were, survive what a drone does to them, and stay within their room."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.geo.ground import GroundPoints
from edge.geo.pose import Pose, PoseAccuracy
from edge.runs.format import (
    APPLICATION_ID,
    GRID,
    PLACE,
    RunError,
    footprint_pixels,
    is_run,
    pack_pose,
    unpack_pose,
)
from edge.runs.reader import Run, find_runs
from edge.runs.room import make_room
from edge.runs.writer import MOST_WAITING, RunWriter

POSE = Pose(46.5, 7.25, 80.0, 10.0, -90.0, 0.5, PoseAccuracy(1.5, 2.0, 3.0, 1.0))
BOX = (8.0, 8.0, 24.0, 24.0)
HEAD = b"SQLite format 3\0" + bytes(52) + APPLICATION_ID.to_bytes(4, "big")
"""What a run begins with."""


def locate(pixels, pose, size):
    """A ground that repeats the pixels as degrees."""
    return GroundPoints(pixels[:, 1] / 1e3, pixels[:, 0] / 1e3, np.full(len(pixels), 2.0))


def test_a_run_is_read_as_it_was_recorded(runs, about, make_result):
    with RunWriter.open(runs, about, thumbnail_every_s=0.2, locate=locate) as writer:
        writer.add(
            make_result(0, (1, 2, 3, 4, 5, 6), [(5, "blue", 0.75, BOX)], ground=[(46.0, 7.0, 1.5)], pose=POSE)
        )
        writer.add(make_result(1, tracks=[(5, "blue", 0.76, BOX), (6, "red", 0.5, BOX)]))
        writer.add(make_result(2, tracks=[(5, "blue", 0.9, BOX)]))
    assert writer.left_out == 0
    with Run(writer.path) as run:
        assert run.about == about
        frames, tracks = run.frames(), run.tracks()
        assert [frame.number for frame in frames] == [0, 1, 2]
        assert [frame.has_thumbnail for frame in frames] == [True, False, True]
        first = frames[0]
        assert (first.pose, first.time_s, first.width, first.height) == (POSE, 0.0, 128, 64)
        assert first.captured_at.isoformat() == "2026-05-01T12:00:00+00:00"
        np.testing.assert_allclose(first.footprint, footprint_pixels(128, 64)[:, ::-1] / 1e3)
        assert (frames[1].pose, frames[1].footprint) == (None, None)
        (place,) = first.places
        assert run.lists[first.list][place["prompt"]].id == "blue"
        assert tuple(place["box"]) == BOX
        assert (place["latitude"], place["longitude"], place["h_acc_m"]) == (46.0, 7.0, 1.5)
        assert np.isnan(frames[1].places["latitude"]).all()
        assert first.counts == {"red": (1, 0, 0.0), "blue": (1, 0, 0.0)}
        unit = np.arange(1, 7) / np.linalg.norm(np.arange(1, 7))
        np.testing.assert_allclose(run.embeddings()[0], unit, atol=1e-3)
        # Frame 1 shows the thing hardly better; frame 2 clearly does.
        assert [(track.track, track.prompt, track.frame) for track in tracks] == [
            (5, "blue", 3),
            (6, "red", 2),
        ]
        assert run.thumbnail(frames[0].row)[:2] == run.crop(5)[:2] == b"\xff\xd8"
        assert run.thumbnail(frames[1].row) is None
        assert run.crop(77) is None


def test_things_that_are_not_confirmed_are_places_but_no_tracks(runs, about, make_result):
    with RunWriter.open(runs, about) as writer:
        writer.add(make_result(0, tracks=[(1, "red", 0.9, BOX)], confirmed=False))
    with Run(writer.path) as run:
        assert run.tracks() == []
        assert run.frames()[0].places["confirmed"].tolist() == [0]


def test_a_change_of_the_list_is_kept_with_each_frame(runs, about, make_result):
    other = b"version: 1\nprompts:\n  - {id: green, text: green}\n"
    with RunWriter.open(runs, about) as writer:
        writer.add(make_result(0))
        writer.add(make_result(1, tracks=[(1, "green", 0.9, BOX)], prompts=other))
    with Run(writer.path) as run:
        ids = [[prompt.id for prompt in run.lists[frame.list]] for frame in run.frames()]
    assert ids == [["red", "blue"], ["green"]]


def test_a_run_is_one_file_when_it_is_closed(runs, about, make_result):
    with RunWriter.open(runs, about) as writer:
        writer.add(make_result(0))
    writer.close()
    assert list(runs.iterdir()) == [writer.path]
    (runs / "installer.run").write_bytes(b"#!/bin/sh")
    assert find_runs(runs) == find_runs(writer.path) == [writer.path]


def test_a_run_without_frames_says_so(runs, about):
    RunWriter.open(runs, about).close()
    with Run(find_runs(runs)[0]) as run:
        assert run.embeddings().shape == (0, 6)
        with pytest.raises(RunError, match="holds no frames"):
            run.frames()


CHILD = """
import os, sys
sys.path[:0] = {path!r}
from types import SimpleNamespace as N
import numpy as np
from pathlib import Path
from datetime import datetime, timezone
from edge.frames import RgbImage
from edge.runs import writer as w
from edge.runs.format import RunAbout
w.FLUSH_S = 0.01
out = w.RunWriter.open(Path({folder!r}), RunAbout("s", "a" * 64, 6, "t"))
bank = N(list_sha256="b", prompt_list=N(prompts=()), thresholds={{}})
number = 0
while True:
    frame = N(number=number, name="n", time_s=number / 10, captured_at=datetime.now(timezone.utc),
              width=8, height=8, pose=None, image=RgbImage(np.zeros((8, 8, 3), np.uint8)))
    out.add(N(frame=frame, scores=N(embedding=np.ones(6, np.float32)), tracks=(), ground=None,
              counts=N(prompts={{}}), bank=bank))
    number += 1
    if number == 20: print("flying", flush=True)
    while len(out._waiting) > 10: pass
"""


def test_what_a_kill_leaves_can_be_read_also_before_it(tmp_path):
    child = CHILD.format(path=sys.path, folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"flying\n"
        (path,) = find_runs(tmp_path)
        with Run(path) as run:  # while it is written
            before = len(run.frames())
        os.kill(process.pid, signal.SIGKILL)
    assert Path(f"{path}-wal").exists()
    with Run(path) as run:
        numbers = [frame.number for frame in run.frames()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= before > 0


def test_a_full_disk_costs_frames_and_nothing_else(runs, about, make_result, full_disk, caplog):
    writer = RunWriter.open(runs, about)
    with full_disk(1 << 14):
        for number in range(40):
            writer.add(
                make_result(
                    number, pixels=np.random.default_rng(number).integers(0, 256, (64, 128, 3), np.uint8)
                )
            )
        writer._flush()
    assert writer.left_out == 40
    assert [record.message for record in caplog.records if "frames are missing" in record.message]
    writer.add(make_result(40))
    writer.close()
    with Run(writer.path) as run:
        assert [frame.number for frame in run.frames()] == [40]


def test_a_disk_that_is_too_slow_costs_frames_that_are_counted(runs, about, make_result):
    writer = RunWriter.open(runs, about)
    reader = sqlite3.connect(writer.path, isolation_level=None, timeout=0)
    reader.execute("BEGIN IMMEDIATE")  # nobody else writes now
    for number in range(MOST_WAITING + 7):
        writer.add(make_result(number))
    reader.execute("ROLLBACK")
    reader.close()
    writer.close()
    with Run(writer.path) as run:
        assert len(run.frames()) + writer.left_out == MOST_WAITING + 7
    assert writer.left_out >= 7


def test_a_recording_waits_for_the_disk(runs, about, make_result):
    frames = 3 * MOST_WAITING
    with RunWriter.open(runs, about, wait=True, thumbnail_every_s=0.0) as writer:
        for number in range(frames):
            writer.add(make_result(number))
    assert writer.left_out == 0
    with Run(writer.path) as run:
        assert [frame.has_thumbnail for frame in run.frames()] == [True] * frames
    writer.add(make_result(frames))  # after its end nobody waits


def test_every_unrelated_picture_is_kept_small(runs, about, make_result):
    with RunWriter.open(runs, replace(about, independent=True), wait=True) as writer:
        for number in range(5):
            writer.add(make_result(number))
    with Run(writer.path) as run:
        assert [frame.has_thumbnail for frame in run.frames()] == [True] * 5


def test_a_name_of_any_bytes_is_kept(runs, about, make_result):
    result = make_result(0)
    named = replace(result, frame=replace(result.frame, name=os.fsdecode(b"caf\xe9.jpg")))
    with RunWriter.open(runs, about) as writer:
        writer.add(named)
    with Run(writer.path) as run:
        assert [frame.name for frame in run.frames()] == [r"caf\udce9.jpg"]


def test_a_frame_that_cannot_be_written_costs_itself(runs, about, make_result, caplog):
    def stumble(pixels, pose, size):
        raise ValueError("no such ground")

    with RunWriter.open(runs, about, locate=stumble) as writer:
        writer.add(make_result(0, pose=POSE))
        writer._flush()
        writer.add(make_result(1))
    assert writer.left_out == 1
    assert "frames are missing in this run: ValueError('no such ground')" in caplog.text
    with Run(writer.path) as run:
        assert [frame.number for frame in run.frames()] == [1]


def test_a_thing_whose_best_sighting_is_lost_is_kept_by_its_next(runs, about, make_result, full_disk):
    writer = RunWriter.open(runs, about)
    writer.add(make_result(0, tracks=[(1, "red", 0.5, BOX)]))
    writer._flush()
    with full_disk(1 << 14):
        for number in range(1, 40):
            noise = np.random.default_rng(number).integers(0, 256, (64, 128, 3), np.uint8)
            writer.add(make_result(number, tracks=[(1, "red", 0.9, BOX), (7, "red", 0.9, BOX)], pixels=noise))
        writer._flush()
    assert writer.left_out == 39
    writer.add(make_result(40, tracks=[(1, "red", 0.4, BOX), (7, "red", 0.6, BOX)]))
    writer.close()
    with Run(writer.path) as run:
        found = [(each.track, round(each.score, 3)) for each in run.tracks()]
    assert found == [(1, 0.5), (7, 0.6)]  # what is on the disk is better than what came later


def test_a_thing_that_the_bound_took_is_kept_again(runs, about, make_result):
    rng = np.random.default_rng(0)
    writer = RunWriter.open(runs, about, keep_mib=1, thumbnail_every_s=0.0)
    for number in range(60):
        noise = rng.integers(0, 256, (400, 600, 3), np.uint8)
        writer.add(make_result(number, pixels=noise, tracks=[(7, "red", 0.9, BOX)]))
        writer._flush()
    writer.close()
    with Run(writer.path) as run:
        assert run.frames()[0].number > 0
        assert [track.track for track in run.tracks()] == [7]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, about):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file: no run can be recorded: it is a file \(name a folder\)"):
        RunWriter.open(tmp_path / "file", about)
    with pytest.raises(RunError, match=r"x: no run can be recorded: .* \(name a folder with room\)"):
        RunWriter.open(Path("/proc/nowhere/x"), about)


def test_the_oldest_runs_go_first_with_their_journals(tmp_path):
    for age, name in enumerate(["c", "b", "a"]):
        for end in ("", "-wal"):
            path = tmp_path / f"{name}.run{end}"
            path.write_bytes(HEAD + bytes(1000 - len(HEAD)))
            os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "other.txt").write_bytes(bytes(9000))
    (tmp_path / "installer.run").write_bytes(b"#!/bin/sh" + bytes(9000))
    (tmp_path / "folder.run").mkdir()
    make_room(tmp_path, 4500, spare=tmp_path / "a.run")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.run",
        "a.run-wal",
        "c.run",
        "c.run-wal",
        "folder.run",
        "installer.run",
        "other.txt",
    ]


def test_a_run_that_another_writer_is_at_stays(runs, about, make_result):
    with RunWriter.open(runs, about) as other:
        other.add(make_result(0))
        os.utime(other.path, (1, 1))  # checkpoints are rare: the journal tells
        make_room(runs, 0, spare=runs / "mine.run")
        assert other.path.exists()
    make_room(runs, 0, spare=runs / "mine.run")
    assert not other.path.exists()


def test_what_a_kill_leaves_is_known_as_a_run(runs, about, make_result):
    """Its header must be in the file, not only in its journal."""
    with RunWriter.open(runs, about) as writer:
        writer.add(make_result(0))
        assert is_run(writer.path)
    assert is_run(writer.path)


def test_nothing_is_removed_unless_a_bound_was_asked_for(runs, about, make_result):
    runs.mkdir()
    with (runs / "old.run").open("wb") as file:
        file.write(HEAD)
        file.truncate(5 << 30)  # sparse
    os.utime(runs / "old.run", (1, 1))
    with RunWriter.open(runs, about) as writer:
        writer.add(make_result(0))
    assert (runs / "old.run").exists()
    with RunWriter.open(runs, about, keep_mib=1024) as writer:
        writer.add(make_result(0))
    assert not (runs / "old.run").exists()


def test_a_run_that_fills_the_room_alone_loses_its_oldest_frames(runs, about, make_result):
    rng = np.random.default_rng(0)
    writer = RunWriter.open(runs, about, keep_mib=1, thumbnail_every_s=0.0)
    for number in range(60):
        noise = rng.integers(0, 256, (400, 600, 3), np.uint8)
        writer.add(make_result(number, pixels=noise, tracks=[(number, "red", 0.9, BOX)]))
        writer._flush()
    writer.close()
    with Run(writer.path) as run:
        frames, tracks = run.frames(), run.tracks()
    assert frames[-1].number == 59
    assert frames[0].number > 0
    assert {track.frame for track in tracks} <= {frame.row for frame in frames}
    assert writer.path.stat().st_size < 1.5 * (1 << 20)


@pytest.mark.parametrize("content", [b"", b"not a database" * 100])
def test_a_file_that_is_no_run_is_refused(tmp_path, content):
    path = tmp_path / "x.run"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"x\.run: (is a database, but )?not a recorded run"):
        Run(path)


def test_half_a_run_is_damaged_and_a_folder_of_runs_is_a_folder(runs, about, make_result):
    with RunWriter.open(runs, about) as writer:
        for number in range(20):
            writer.add(make_result(number))
    whole = writer.path.read_bytes()
    half = runs / "half.run"
    half.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"half\.run: damaged run: .* \(record it again\)"):
        Run(half)
    with pytest.raises(RunError, match=r"runs: is a folder, not a run \(name one of the \.run files in it\)"):
        Run(runs)


def test_another_database_and_another_version_are_refused(tmp_path, runs, about):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE frames (id)")
    with pytest.raises(RunError, match="is a database, but not a recorded run"):
        Run(path)
    RunWriter.open(runs, about).close()
    (path,) = find_runs(runs)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(RunError, match="another version of remoteclip"):
        Run(path)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE frames SET embedding = x'00'",
        "UPDATE frames SET places = x'00'",
        "UPDATE frames SET counts = '{'",
        "UPDATE frames SET pose = x'0000000000000000'",
        "UPDATE frames SET captured_at = 1e300",
        "UPDATE frames SET footprint = x'0000000000000000'",
    ],
)
def test_damage_is_told_in_one_line(runs, about, make_result, damage):
    with RunWriter.open(runs, about) as writer:
        writer.add(make_result(0, pose=POSE))
    with sqlite3.connect(writer.path) as db:
        db.execute(damage)
    with Run(writer.path) as run, pytest.raises(RunError, match="damaged run"):
        (run.frames(), run.embeddings())


@given(st.binary(max_size=200))
def test_any_bytes_as_a_pose_are_a_pose_or_a_value_error(data):
    try:
        pose = unpack_pose(data)
    except ValueError:
        return
    assert pack_pose(pose) == data or any(np.isnan(np.frombuffer(data, "<f8")))


def test_the_layout_on_disk_is_fixed():
    """Runs outlive the program: a change of these needs another SCHEMA_VERSION."""
    assert (PLACE.itemsize, GRID) == (52, 5)
    assert PLACE.names == ("prompt", "confirmed", "track", "box", "score", "latitude", "longitude", "h_acc_m")


def test_the_loop_never_waits_for_the_writer(runs, about, make_result):
    """While the thread is inside a write, `add` returns: it takes no lock that the write holds."""
    writer = RunWriter.open(runs, about)
    inside, go_on = threading.Event(), threading.Event()
    original = writer._tables._add

    def slow(taken):
        inside.set()
        go_on.wait(10)
        original(taken)

    writer._tables._add = slow
    writer.add(make_result(0))
    assert inside.wait(10)
    writer.add(make_result(1))
    go_on.set()
    writer.close()
    with Run(writer.path) as run:
        assert len(run.frames()) == 2
