"""Two slots for bundles: install, activate and roll back, also where that is cut off, at every step."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compile.sign import sign_bundle
from compile.signing_keys import generate_key
from edge.bundle.archive import pack
from edge.bundle.load import Bundle, load_bundle, write_manifest
from edge.bundle.slot_files import STATE_NAME, is_slots, locked, read_state, resolve
from edge.bundle.slot_state import TRIAL_STARTS, Slot
from edge.bundle.slots import BundleSlots, Terms
from firmware_cfg.errors import BundleError

ANY = Terms()


def good(bundle: Bundle) -> Sequence[str]:
    """A self-test that finds nothing."""
    return ()


@pytest.fixture
def bundles(bundle_copy: Path, manifest_fields: dict[str, Any]) -> Callable[[str], Path]:
    """`bundles(name)`: the folder of a bundle whose model has this name; each has another hash."""

    def make(name: str) -> Path:
        folder = bundle_copy.parent / f"made-{name}"
        if not folder.exists():
            shutil.copytree(bundle_copy, folder)
            write_manifest(folder, {**manifest_fields, "model": name})
        return folder

    return make


@pytest.fixture
def slots(tmp_path: Path) -> BundleSlots:
    return BundleSlots(tmp_path / "bundles")


@pytest.fixture
def flown(slots: BundleSlots, bundles: Callable[[str], Path]) -> BundleSlots:
    """Slots of which "old" flies."""
    slots.install(str(bundles("old")), ANY, good)
    slots.activate(ANY)
    return slots


def model(slots: BundleSlots) -> str:
    """Which bundle would fly now, every byte of it checked."""
    return load_bundle(resolve(str(slots.folder))).manifest.model


def names(slots: BundleSlots) -> set[str]:
    return {path.name for path in slots.folder.iterdir()}


def refused(slots: BundleSlots, source: Path, match: str, terms: Terms = ANY) -> None:
    """An install that changes nothing, and leaves nothing."""
    before = (slots.folder / STATE_NAME).read_bytes()
    with pytest.raises(BundleError, match=match) as caught:
        slots.install(str(source), terms, good)
    assert "\n" not in str(caught.value)
    assert (slots.folder / STATE_NAME).read_bytes() == before
    assert not [name for name in names(slots) if ".new" in name]


def test_the_first_bundle_flies_without_a_trial(slots: BundleSlots, bundles: Callable[[str], Path]) -> None:
    with pytest.raises(BundleError, match=r"there is no such folder \(remoteclip bundle install makes it\)"):
        slots.state()
    done = slots.install(str(bundles("old")), ANY, good)
    assert (done.slot, done.installed.model, done.was_active) == ("a", "old", False)
    assert done.voucher == "unsigned"
    assert is_slots(slots.folder)
    with pytest.raises(BundleError, match=r"no bundle is active .* \(remoteclip bundle activate\)"):
        resolve(str(slots.folder))
    with pytest.raises(BundleError, match="no bundle is active"):
        slots.rollback(ANY)
    state = slots.activate(ANY)
    assert (state.active, state.previous, state.on_trial) == ("a", None, False)
    assert model(slots) == "old"
    with pytest.raises(BundleError, match="there is no bundle to go back to"):
        slots.rollback(ANY)


def test_a_second_one_goes_into_the_other_slot_and_flies_on_trial(
    flown: BundleSlots, bundles: Callable[[str], Path], tmp_path: Path
) -> None:
    pack(load_bundle(bundles("new")), tmp_path / "new.tar")
    seen: list[Path] = []
    done = flown.install(str(tmp_path / "new.tar"), ANY, lambda bundle: seen.append(bundle.path) or ())
    assert (done.slot, done.installed.model) == ("b", "new")
    assert seen == [flown.folder / ".b.new"]
    assert model(flown) == "old"
    assert names(flown) == {"a", "b", STATE_NAME, "install.lock"}
    state = flown.activate(ANY)
    assert (state.active, state.previous, state.starts_left) == ("b", "a", TRIAL_STARTS)
    assert model(flown) == "new"


def test_what_a_trial_falls_back_to_is_not_overwritten(
    flown: BundleSlots, bundles: Callable[[str], Path]
) -> None:
    flown.install(str(bundles("new")), ANY, good)
    flown.activate(ANY)
    refused(flown, bundles("newer"), "slot b is on trial and would fall back to slot a")
    with pytest.raises(BundleError, match="slot b is on trial already"):
        flown.activate(ANY)


def test_a_rollback_flies_the_previous_one_and_keeps_the_other_for_another_try(
    flown: BundleSlots, bundles: Callable[[str], Path]
) -> None:
    flown.install(str(bundles("new")), ANY, good)
    flown.activate(ANY)
    state = flown.rollback(ANY, "counts nothing at night")
    assert model(flown) == "old"
    assert state.rolled_back is not None
    assert (state.rolled_back.reason, state.rolled_back.automatic) == ("counts nothing at night", False)
    assert state.rolled_back.manifest_sha256 == load_bundle(bundles("new")).manifest_sha256
    with pytest.raises(BundleError, match="there is no bundle to go back to"):
        flown.rollback(ANY)
    assert flown.activate(ANY).starts_left == TRIAL_STARTS
    assert model(flown) == "new"


def test_activating_twice_does_not_go_back(flown: BundleSlots, bundles: Callable[[str], Path]) -> None:
    flown.install(str(bundles("new")), ANY, good)
    flown.activate(ANY)
    state = read_state(flown.folder)
    (flown.folder / STATE_NAME).write_text(state.confirmed().model_dump_json())
    with pytest.raises(BundleError, match="nothing is installed in slot a that has not flown"):
        flown.activate(ANY)
    assert model(flown) == "new"
    assert flown.rollback(ANY).active == "a"
    assert model(flown) == "old"


def test_what_flies_already_is_not_installed_again_unless_it_is_damaged(
    flown: BundleSlots, bundles: Callable[[str], Path]
) -> None:
    done = flown.install(str(bundles("old")), ANY, lambda bundle: pytest.fail("no need to test it"))
    assert (done.slot, done.was_active) == ("a", True)
    assert "b" not in names(flown)
    (flown.path("a") / "card.md").write_text("bit rot")
    done = flown.install(str(bundles("old")), ANY, good)
    assert (done.slot, done.was_active) == ("b", False)
    flown.activate(ANY)
    assert model(flown) == "old"


def test_the_same_bundle_with_another_signature_is_another_one(
    flown: BundleSlots, bundles: Callable[[str], Path], tmp_path: Path
) -> None:
    source, terms = bundles("old"), []
    for name in ("owner", "heir"):
        _, public, key = generate_key(tmp_path / name)
        terms.append(Terms((public,), require_signature=True))
        (source / "signature").unlink(missing_ok=True)
        sign_bundle(source, key)
        done = flown.install(str(source), ANY, good)
        assert (done.slot, done.was_active) == (read_state(flown.folder).idle, False)
        state = flown.activate(terms[-1])
        (flown.folder / STATE_NAME).write_text(state.confirmed().model_dump_json())
        assert flown.install(str(source), terms[-1], good).was_active
    (source / "signature").unlink()
    done = flown.install(str(source), ANY, good)
    assert (done.slot, done.voucher, done.was_active) == ("b", "unsigned", False)


def test_a_bundle_that_fails_its_self_test_replaces_nothing(
    flown: BundleSlots, bundles: Callable[[str], Path]
) -> None:
    flown.install(str(bundles("new")), ANY, good)
    before = read_state(flown.folder)
    problems = ("openvino fp32: scene differs by 0.3, allowed 0.001", "openvino text: off")
    with pytest.raises(BundleError, match=r"made-worse: failed its self-test here, not .*; openvino text"):
        flown.install(str(bundles("worse")), ANY, lambda bundle: problems)
    assert read_state(flown.folder) == before
    assert load_bundle(flown.path("b")).manifest.model == "new"
    assert names(flown) == {"a", "b", STATE_NAME, "install.lock"}


def test_a_damaged_bundle_is_refused_under_the_name_that_was_given(
    flown: BundleSlots, bundles: Callable[[str], Path]
) -> None:
    source = bundles("bad")
    (source / "card.md").write_text("changed")
    refused(flown, source, r"made-bad/card\.md: SHA-256 is ")
    (source / "card.md").unlink()
    refused(flown, source, r"made-bad/card\.md: missing")
    os.mkfifo(source / "card.md")
    refused(flown, source, r"made-bad/card\.md: is no plain file, and a bundle is a flat folder of them")
    (source / "card.md").unlink()
    (source / "card.md").mkdir()
    refused(flown, source, r"made-bad/card\.md: is no plain file")
    refused(flown, source / "nowhere", r"nowhere: cannot be read: No such file")
    for number in range(70):
        (source / f"file-{number}").touch()
    refused(flown, source, "holds more than 64 files")


def test_signatures_are_demanded_by_the_terms(
    flown: BundleSlots, bundles: Callable[[str], Path], tmp_path: Path
) -> None:
    _, public, key = generate_key(tmp_path / "owner")
    terms = Terms((public,), require_signature=True)
    refused(flown, bundles("new"), "made-new: unsigned, but a signature is required", terms)
    sign_bundle(bundles("new"), key)
    done = flown.install(str(bundles("new")), terms, good)
    assert done.voucher.startswith("signed by owner (key ")
    _, stranger, _ = generate_key(tmp_path / "stranger")
    with pytest.raises(BundleError, match="the trusted keys are stranger"):
        flown.activate(Terms((stranger,), require_signature=True))
    flown.activate(terms)
    with pytest.raises(BundleError, match="unsigned, but a signature is required"):
        flown.rollback(terms)
    assert model(flown) == "new"


def test_a_slot_that_was_changed_by_hand_is_not_activated(
    flown: BundleSlots, bundles: Callable[[str], Path]
) -> None:
    flown.install(str(bundles("new")), ANY, good)
    shutil.rmtree(flown.path("b"))
    shutil.copytree(bundles("other"), flown.path("b"))
    with pytest.raises(BundleError, match="this is another bundle, or it was changed"):
        flown.activate(ANY)
    assert model(flown) == "old"


def test_the_shipped_bundle_can_be_installed_by_its_name(slots: BundleSlots) -> None:
    done = slots.install("default", ANY, good)
    slots.activate(ANY)
    assert load_bundle(resolve(str(slots.folder))).manifest_sha256 == load_bundle("default").manifest_sha256
    assert done.installed.model == load_bundle("default").manifest.model


def test_what_is_no_place_for_slots_is_said(bundles: Callable[[str], Path], tmp_path: Path) -> None:
    source = bundles("old")
    with pytest.raises(BundleError, match=r"made-new: is one bundle, not a folder for slots"):
        BundleSlots(bundles("new")).install(str(source), ANY, good)
    with pytest.raises(BundleError, match="is one bundle, not a folder for slots"):
        BundleSlots(bundles("new")).state()
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"file: cannot be written: File exists"):
        BundleSlots(tmp_path / "file").install(str(source), ANY, good)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Larger ones cannot be written, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


def test_a_full_disk_leaves_all_as_it_was(
    flown: BundleSlots, bundles: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = bundles("new")
    with files_of_at_most(1000):
        refused(flown, source, r"made-new: cannot be copied to .*: File too large")
    pack(load_bundle(source), tmp_path / "new.tar")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=3 << 19))
    with (tmp_path / "new.tar").open("ab") as archive:
        archive.truncate(9 << 20)
    refused(flown, tmp_path / "new.tar", r"new\.tar: needs 10 MiB, 2 MiB are free at .*bundles \(make room")
    assert model(flown) == "old"


def test_what_a_daemon_flies_is_not_replaced(flown: BundleSlots, bundles: Callable[[str], Path]) -> None:
    flown.install(str(bundles("new")), ANY, good)
    flown.activate(ANY)
    flown.rollback(ANY)
    handle = os.open(flown.path("b"), os.O_RDONLY)  # a daemon was started in between
    fcntl.flock(handle, fcntl.LOCK_SH)
    refused(flown, bundles("newer"), r"bundles/b: a running daemon still flies this bundle \(restart")
    os.close(handle)
    assert flown.install(str(bundles("newer")), ANY, good).slot == "b"


def test_two_installs_at_once_are_one(flown: BundleSlots, bundles: Callable[[str], Path]) -> None:
    source = str(bundles("newer"))

    def at_the_same_time(bundle: Bundle) -> Sequence[str]:
        with pytest.raises(BundleError, match="another install is running"):
            flown.install(source, ANY, good)
        return ()

    flown.install(str(bundles("new")), ANY, at_the_same_time)
    assert load_bundle(flown.path("b")).manifest.model == "new"


def test_an_activation_during_an_install_wins(flown: BundleSlots, bundles: Callable[[str], Path]) -> None:
    flown.install(str(bundles("new")), ANY, good)
    with pytest.raises(BundleError, match="slot b is on trial"):
        flown.install(str(bundles("newer")), ANY, lambda bundle: flown.activate(ANY) and ())
    assert model(flown) == "new"


def test_a_lock_that_is_never_let_go_is_said(flown: BundleSlots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.bundle.slot_files.LOCK_PATIENCE_S", 0.05)
    with (
        locked(flown.folder),
        pytest.raises(BundleError, match="another remoteclip is changing it and does not end"),
        locked(flown.folder),
    ):
        pass


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version": 1, "active": "c"}', b'{"active": "b"}', b"\xff\x00", b"[" * 100_000],
)
def test_over_a_damaged_state_the_older_bundle_flies(
    flown: BundleSlots, bundles: Callable[[str], Path], content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    flown.install(str(bundles("new")), ANY, good)
    os.utime(flown.path("a"), (1_000_000, 1_000_000))
    (flown.folder / STATE_NAME).write_bytes(content)
    assert model(flown) == "old"
    assert f"{STATE_NAME}: damaged: " in caplog.messages[0]
    assert (
        "; slot a flies, its bundle is the older one (set it right: remoteclip bundle show, "
        in caplog.messages[0]
    )
    assert (flown.folder / STATE_NAME).read_bytes() == content
    assert flown.rollback(ANY).active == "b"
    assert (flown.folder / f"{STATE_NAME}.damaged").read_bytes() == content
    caplog.clear()
    assert model(flown) == "new"
    assert caplog.messages == []


def test_an_install_over_a_lost_state_keeps_the_bundle_that_flies(
    flown: BundleSlots, bundles: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    (flown.folder / STATE_NAME).unlink()
    assert flown.install(str(bundles("new")), ANY, good).slot == "b"
    assert f"{STATE_NAME}: missing; slot a flies, its bundle is the older one" in caplog.messages[0]
    assert model(flown) == "old"
    flown.activate(ANY)
    assert model(flown) == "new"


def test_a_state_without_any_bundle_is_started_afresh(
    slots: BundleSlots, bundles: Callable[[str], Path]
) -> None:
    slots.folder.mkdir()
    (slots.folder / STATE_NAME).write_text("?")
    with pytest.raises(BundleError, match=r"no bundle is active .* \(remoteclip bundle install\)"):
        resolve(str(slots.folder))
    assert slots.install(str(bundles("old")), ANY, good).slot == "a"


def test_a_state_of_a_later_release_is_left_alone(flown: BundleSlots, bundles: Callable[[str], Path]) -> None:
    (flown.folder / STATE_NAME).write_text('{"version": 2, "active": "a"}')
    refused(flown, bundles("new"), "version 2 is newer than this release reads")


def test_other_bundles_are_what_they_are(bundles: Callable[[str], Path], tmp_path: Path) -> None:
    assert resolve("default") == "default"
    assert resolve(str(bundles("old"))) == str(bundles("old"))
    assert resolve(str(tmp_path / "nowhere")) == str(tmp_path / "nowhere")


def die_before(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that ends right before its n-th touch of a file; True where it got through."""
    child = os.fork()
    if child == 0:
        touched = 0

        def count(event: str, _: tuple[object, ...]) -> None:
            nonlocal touched
            if event.startswith(("open", "os.", "shutil.", "fcntl.", "tempfile.")):
                touched += 1
                if touched == step:
                    os._exit(9)

        sys.addaudithook(count)
        try:
            work()
        except BaseException:  # noqa: BLE001 - nothing of the child may run on into pytest
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 0


def test_wherever_an_install_is_killed_the_old_bundle_flies_and_the_next_install_succeeds(
    flown: BundleSlots, bundles: Callable[[str], Path]
) -> None:
    source = str(bundles("new"))
    bundles("older")
    step, ended = 0, False
    while not ended:
        step += 1
        ended = die_before(step, lambda: flown.install(source, ANY, good))
        assert model(flown) == "old"
        state = read_state(flown.folder)
        assert (state.active, state.on_trial) == ("a", False)
        for slot, installed in state.installed.items():
            assert load_bundle(flown.path(slot)).manifest_sha256 == installed.manifest_sha256
        if step % 9 == 0:  # over every kind of leftover, if not over each one
            assert flown.install(str(bundles("older")), ANY, good).slot == "b"
            assert names(flown) == {"a", "b", STATE_NAME, "install.lock"}
    assert step > 60
    assert read_state(flown.folder).installed["b"].model == "new"


@pytest.mark.parametrize("slot", ["a", "b"])
def test_wherever_a_change_of_slots_is_killed_a_whole_bundle_flies(
    flown: BundleSlots, bundles: Callable[[str], Path], slot: Slot
) -> None:
    flown.install(str(bundles("new")), ANY, good)
    if slot == "a":
        flown.activate(ANY)
    change = flown.rollback if slot == "a" else flown.activate
    step, ended = 0, False
    while not ended:
        step += 1
        ended = die_before(step, lambda: change(ANY))
        assert model(flown) in ("old", "new")
        if read_state(flown.folder).active == slot:
            break
    assert model(flown) == ("old" if slot == "a" else "new")
    assert step > 5
