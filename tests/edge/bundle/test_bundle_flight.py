"""A bundle on trial: when it has proved itself, and when the previous one flies again by itself."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.bundle.flight import TRIAL_FRAMES, BundleFlight, begin_flight
from edge.bundle.load import write_manifest
from edge.bundle.slot_files import STATE_NAME, read_state
from edge.bundle.slot_state import TRIAL_STARTS, SlotState
from edge.bundle.slots import BundleSlots, Terms
from firmware_cfg.device import DeviceFile
from firmware_cfg.errors import (
    BundleError,
    ConfigError,
    EngineError,
    OutboxError,
    RemoteclipError,
    SourceError,
    UsageError,
)

ANY = Terms()


@pytest.fixture
def slots(bundle_copy: Path, manifest_fields: dict[str, Any], tmp_path: Path) -> BundleSlots:
    """Slots in which "old" has proved itself and "new" is on trial."""
    made = BundleSlots(tmp_path / "bundles")
    for name in ("old", "new"):
        write_manifest(bundle_copy, {**manifest_fields, "model": name})
        made.install(str(bundle_copy), ANY, lambda bundle: ())
        made.activate(ANY)
    return made


@pytest.fixture
def begin(slots: BundleSlots, tmp_path: Path) -> Callable[..., BundleFlight]:
    """`begin(**fields of the device file)`."""

    def flight(**fields: object) -> BundleFlight:
        source = {"uri": str(tmp_path / "flight.mp4")}
        given = {"device": "bird", "source": source, "bundle": str(slots.folder), **fields}
        return begin_flight(DeviceFile.model_validate(given))

    return flight


def state(slots: BundleSlots) -> SlotState:
    return read_state(slots.folder)


def fly(flight: BundleFlight, frames: int) -> None:
    for _ in range(frames):
        flight.frame_done()


def fly_into(flight: BundleFlight, error: Exception) -> None:
    fly(flight, 3)
    raise error


def damage(slots: BundleSlots, slot: str) -> None:
    (slots.folder / slot / "card.md").write_text("bit rot")


def test_a_bundle_without_slots_is_never_on_trial(
    begin: Callable[..., BundleFlight], bundle_copy: Path
) -> None:
    with begin(bundle=str(bundle_copy)) as flight:
        assert flight.bundle.path == bundle_copy
        assert not flight.on_trial
        fly(flight, TRIAL_FRAMES + 1)
    with begin(bundle="default") as flight:
        assert not flight.on_trial


def test_enough_frames_prove_a_bundle(
    slots: BundleSlots, begin: Callable[..., BundleFlight], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), begin() as flight:
        assert flight.bundle.manifest.model == "new"
        assert flight.bundle.path == slots.folder / "b"
        assert flight.on_trial
        assert state(slots).starts_left == TRIAL_STARTS - 1
        fly(flight, TRIAL_FRAMES - 1)
        assert flight.on_trial
        fly(flight, 2)
        assert not flight.on_trial
    assert caplog.messages == [
        f"{slots.folder}: slot b is on trial, start 1 of {TRIAL_STARTS}",
        f"{slots.folder}: the bundle in slot b has proved itself in {TRIAL_FRAMES} frames; its trial is over",
    ]
    assert (state(slots).active, state(slots).previous, state(slots).on_trial) == ("b", "a", False)
    with pytest.raises(EngineError), begin() as flight:
        fly_into(flight, EngineError("the driver crashed"))
    assert state(slots).active == "b"


def test_a_short_flight_that_ends_well_is_no_start(
    slots: BundleSlots, begin: Callable[..., BundleFlight]
) -> None:
    for _ in range(TRIAL_STARTS + 2):
        with begin() as flight:
            fly(flight, 5)
    with pytest.raises(KeyboardInterrupt), begin():
        raise KeyboardInterrupt
    assert (state(slots).active, state(slots).starts_left) == ("b", TRIAL_STARTS)


@pytest.mark.parametrize("error", [EngineError("wrong\nfusion"), BundleError("x: damaged"), RuntimeError()])
def test_a_failure_of_the_engine_takes_the_bundle_out_of_flight_at_once(
    slots: BundleSlots,
    begin: Callable[..., BundleFlight],
    error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reason = " ".join(str(error).split()) or "RuntimeError"
    with pytest.raises(type(error)), begin() as flight:
        fly_into(flight, error)
    left = state(slots).rolled_back
    assert left is not None
    assert (left.reason, left.automatic) == (reason, True)
    assert caplog.messages[-1] == (
        f"{slots.folder}: the bundle on trial failed and is rolled back,"
        f" slot a flies from the next start on: {reason}"
    )
    with begin() as flight:
        assert flight.bundle.manifest.model == "old"
        assert not flight.on_trial


@pytest.mark.parametrize(
    "error",
    [
        RemoteclipError("metrics: 0.0.0.0 port 9108: address already in use"),
        SourceError("no camera"),
        OutboxError("disk full"),
        UsageError("a wrong option"),
    ],
)
def test_an_error_that_no_bundle_is_to_blame_for_is_no_start(
    slots: BundleSlots, begin: Callable[..., BundleFlight], error: Exception
) -> None:
    for _ in range(TRIAL_STARTS + 2):
        with pytest.raises(type(error)), begin() as flight:
            fly_into(flight, error)
    assert (state(slots).active, state(slots).starts_left) == ("b", TRIAL_STARTS)


def test_daemons_that_share_slots_share_the_starts_of_a_trial(
    slots: BundleSlots, begin: Callable[..., BundleFlight], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(TRIAL_STARTS):
        one = begin()
        two = begin()  # its camera is another one
        assert (one.bundle.manifest.model, two.bundle.manifest.model) == ("new", "new")
        os.close(one._handle or -1)  # both are killed, as the kernel sees it
        os.close(two._handle or -1)
    assert (state(slots).active, state(slots).starts_left) == ("b", 0)
    with begin() as one, begin() as two:
        assert (one.bundle.manifest.model, two.bundle.manifest.model) == ("old", "old")


def test_a_daemon_that_joins_a_trial_may_prove_the_bundle_and_gives_back_no_start(
    slots: BundleSlots, begin: Callable[..., BundleFlight], caplog: pytest.LogCaptureFixture
) -> None:
    with begin():
        with caplog.at_level(logging.INFO), begin() as other:
            fly(other, 5)
        assert caplog.messages == [
            f"{slots.folder}: slot b is on trial in another daemon, whose start counts"
        ]
        assert state(slots).starts_left == TRIAL_STARTS - 1
        with pytest.raises(SourceError), begin():
            raise SourceError("no camera")
        assert state(slots).starts_left == TRIAL_STARTS - 1
        with begin() as other:
            fly(other, TRIAL_FRAMES)
        assert not state(slots).on_trial
    assert (state(slots).active, state(slots).on_trial) == ("b", False)


def test_crashes_use_up_the_starts(
    slots: BundleSlots, begin: Callable[..., BundleFlight], caplog: pytest.LogCaptureFixture
) -> None:
    for left in range(TRIAL_STARTS - 1, -1, -1):
        if (child := os.fork()) == 0:
            begin()
            os.kill(os.getpid(), signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert (state(slots).active, state(slots).starts_left) == ("b", left)
    with begin() as flight:
        assert flight.bundle.manifest.model == "old"
        assert not flight.on_trial
    reason = f"no {TRIAL_FRAMES} frames in {TRIAL_STARTS} starts"
    assert caplog.messages[-1] == f"{slots.folder}: {reason}: slot b is left, slot a flies"
    left_behind = state(slots).rolled_back
    assert left_behind is not None
    assert left_behind.reason == reason


@pytest.mark.parametrize("proved", [False, True])
def test_a_damaged_bundle_makes_way_for_the_previous_one_in_the_same_start(
    slots: BundleSlots,
    begin: Callable[..., BundleFlight],
    proved: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if proved:
        with begin() as flight:
            fly(flight, TRIAL_FRAMES)
    damage(slots, "b")
    with begin() as flight:
        assert flight.bundle.manifest.model == "old"
        assert not flight.on_trial
    assert f"{slots.folder / 'b' / 'card.md'}: SHA-256 is " in caplog.messages[-1]
    assert caplog.messages[-1].endswith("; slot b is left, slot a flies")
    assert (state(slots).active, state(slots).previous) == ("a", None)


def test_where_no_bundle_is_whole_the_error_is_the_active_ones_and_nothing_changes(
    slots: BundleSlots, begin: Callable[..., BundleFlight], caplog: pytest.LogCaptureFixture
) -> None:
    with begin() as flight:
        fly(flight, TRIAL_FRAMES)
    damage(slots, "a")
    shutil.rmtree(slots.folder / "b")
    before = state(slots)
    with pytest.raises(BundleError, match=r"bundles/b: cannot be opened: No such file .*bundle install\)"):
        begin()
    assert "the previous bundle cannot fly either: " in caplog.messages[-1]
    assert state(slots) == before


def test_a_missing_key_file_is_no_fault_of_the_bundle(
    slots: BundleSlots, begin: Callable[..., BundleFlight], tmp_path: Path
) -> None:
    before = state(slots)
    with pytest.raises(ConfigError, match=r"gone\.pub"):
        begin(trusted_keys=[str(tmp_path / "gone.pub")])
    assert state(slots) == before


def test_a_trial_that_cannot_be_counted_does_not_begin(
    slots: BundleSlots,
    begin: Callable[..., BundleFlight],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_only(folder: Path, state: SlotState) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("edge.bundle.flight.write_state", read_only)
    before = state(slots)
    with begin() as flight:
        assert flight.bundle.manifest.model == "old"
    assert caplog.messages[-1].endswith(
        "cannot be written: Read-only file system; slot b is not tried, slot a flies"
    )
    assert state(slots) == before


def test_what_cannot_be_written_down_at_the_end_is_said_and_flown_on(
    slots: BundleSlots,
    begin: Callable[..., BundleFlight],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(folder: Path, state: SlotState) -> None:
        raise OSError(28, "No space left on device")

    with begin() as flight:
        monkeypatch.setattr("edge.bundle.flight.write_state", full)
        fly(flight, TRIAL_FRAMES)
    assert "what became of the trial cannot be written down: " in caplog.messages[-1]
    assert "No space left on device" in caplog.messages[-1]
    assert state(slots).starts_left == TRIAL_STARTS - 1


def test_an_operators_rollback_during_the_trial_stands(
    slots: BundleSlots, begin: Callable[..., BundleFlight]
) -> None:
    with begin() as flight:
        slots.rollback(ANY)
        fly(flight, TRIAL_FRAMES)
    assert (state(slots).active, state(slots).previous) == ("a", None)
    slots.activate(ANY)

    def roll_back_and_fail() -> None:
        slots.rollback(ANY)
        raise EngineError("too late")

    with pytest.raises(EngineError), begin():
        roll_back_and_fail()
    left = state(slots).rolled_back
    assert left is not None
    assert left.reason == "asked for"


def test_no_install_replaces_what_flies(
    slots: BundleSlots, begin: Callable[..., BundleFlight], bundle_copy: Path
) -> None:
    with begin():
        slots.rollback(ANY)
        with pytest.raises(BundleError, match="a running daemon still flies this bundle"):
            slots.install(str(bundle_copy), ANY, lambda bundle: ())
    assert slots.install(str(bundle_copy), ANY, lambda bundle: ()).slot == "b"


def test_over_a_damaged_state_the_older_bundle_flies_and_the_state_is_mended(
    slots: BundleSlots, begin: Callable[..., BundleFlight]
) -> None:
    os.utime(slots.folder / "a", (1_000_000, 1_000_000))
    (slots.folder / STATE_NAME).write_text("{")
    with begin() as flight:
        assert flight.bundle.manifest.model == "old"
        assert not flight.on_trial
    assert SlotState.model_validate_json((slots.folder / STATE_NAME).read_bytes()).active == "a"


def test_a_graph_that_no_engine_takes_is_flown_once_and_the_old_bundle_from_then_on(
    slots: BundleSlots, bundle_copy: Path, manifest_fields: dict[str, Any], tmp_path: Path, repository: Path
) -> None:
    """`remoteclip run`, twice, as systemd would start it: all hashes are right, and it cannot fly."""
    slots.rollback(ANY)
    (bundle_copy / "image.onnx").write_bytes(b"no graph")
    write_manifest(bundle_copy, {**manifest_fields, "model": "newest"})
    slots.install(str(bundle_copy), ANY, lambda bundle: ())
    slots.activate(ANY)
    cv2.imwrite(str(tmp_path / "ground.png"), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "list.yaml").write_text("prompts: [{id: red, text: red}]\n")
    (tmp_path / "device.yaml").write_text(
        "device: bird\nsource: {uri: ground.png}\nprompts: list.yaml\nstate_dir: state\n"
        "mqtt: {url: 'mqtt://127.0.0.1:9'}\nbundle: bundles\n"
    )

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edge.cli", "run", tmp_path / "device.yaml"],
            cwd=repository,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    first = run()
    assert first.returncode == 1
    assert (
        "the bundle on trial failed and is rolled back, slot a flies from the next start on" in first.stderr
    )
    assert "Traceback" not in first.stderr
    left = state(slots).rolled_back
    assert left is not None
    assert "image.onnx" in left.reason
    second = run()
    assert second.returncode == 0, second.stderr
    assert "1 frames in " in second.stderr
