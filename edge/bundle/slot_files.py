"""Two slots for model bundles in one folder: reading and writing what is known of them, and their locks.

    bundles/slots.json    which slot flies, which one flew before, and whether the one that flies is on trial
    bundles/a, bundles/b  a bundle each

A change is one atomic write of slots.json. The folder itself is the lock under which it is read and changed,
so that an install, a daemon and an operator's rollback never undo each other's word.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from pydantic import ValidationError

from edge.bundle.manifest import MANIFEST_NAME, one_line
from edge.bundle.slot_state import SLOTS, VERSION, Installed, Slot, SlotState
from edge.files import sync_folder, write_atomically
from firmware_cfg.device import DEFAULT_BUNDLE
from firmware_cfg.errors import BundleError

STATE_NAME = "slots.json"
LOCK_PATIENCE_S = 5.0

_LIMIT = 1 << 16  # bytes of slots.json; a real one has fewer than 1000
_log = logging.getLogger(__name__)


def is_slots(folder: Path) -> bool:
    """Whether this is a folder of slots, and not a bundle or nothing of ours."""
    if (folder / MANIFEST_NAME).is_file():
        return False
    return (folder / STATE_NAME).is_file() or any((folder / slot / MANIFEST_NAME).is_file() for slot in SLOTS)


def expect_no_bundle(folder: Path) -> None:
    """Raise BundleError where the folder for slots is a bundle itself."""
    if (folder / MANIFEST_NAME).is_file():
        mend = "name another folder, as `bundle` of the device file, too"
        raise BundleError(f"{folder}: is one bundle, not a folder for slots ({mend})")


def resolve(bundle: str) -> str:
    """What to load for a device file's `bundle`: the active slot's folder where it names slots, else itself.

    Raises BundleError: nothing is active in the slots, or slots.json cannot be read.
    """
    folder = Path(bundle)
    if bundle == DEFAULT_BUNDLE or not is_slots(folder):
        return bundle
    return str(folder / active_slot(folder, read_state(folder)))


def active_slot(folder: Path, state: SlotState) -> Slot:
    """The slot that flies. Raises BundleError where none does."""
    if state.active is None:
        step = "activate" if state.installed else "install"
        raise BundleError(f"{folder}: no bundle is active in these slots (remoteclip bundle {step})")
    return state.active


def read_state(folder: Path) -> SlotState:
    """What slots.json says. Where it is lost or damaged: what the slots themselves tell, with a logged error.

    Raises BundleError: it cannot be read at all, or a later release wrote it.
    """
    return _read(folder)[0]


def mended_state(folder: Path) -> SlotState:
    """`read_state` for whoever holds the lock: what the slots tell is kept, a damaged file moved aside."""
    state, sound = _read(folder)
    if not sound:
        path = folder / STATE_NAME
        try:
            if path.exists():
                os.replace(path, path.with_name(f"{STATE_NAME}.damaged"))
            write_state(folder, state)
        except OSError as error:
            _log.warning("%s: cannot be mended: %s", path, error.strerror)
    return state


def write_state(folder: Path, state: SlotState) -> None:
    """Write slots.json, so that it outlasts a power cut; for whoever holds the lock. Raises OSError."""
    for leftover in folder.glob(f".{STATE_NAME}.*.tmp"):  # of a process that was killed here
        leftover.unlink(missing_ok=True)
    write_atomically(folder / STATE_NAME, (state.model_dump_json(indent=1) + "\n").encode())
    sync_folder(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, nobody else changes the state. Raises BundleError: no such folder, or held for long."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise BundleError(f"{folder}: cannot be opened: {error.strerror}") from error
    try:
        until = time.monotonic() + LOCK_PATIENCE_S
        while not take_lock(handle, fcntl.LOCK_EX):
            if time.monotonic() > until:
                raise BundleError(f"{folder}: another remoteclip is changing it and does not end (try again)")
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def take_lock(handle: int, kind: int) -> bool:
    """Lock an open file or folder without waiting; closing it lets go. False where another has it."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(folder: Path) -> tuple[SlotState, bool]:
    """The state, and whether it is what slots.json says."""
    path = folder / STATE_NAME
    try:
        with path.open("rb") as stream:
            data = stream.read(_LIMIT + 1)
    except FileNotFoundError:
        found = _found_in_slots(folder)
        return (_rebuilt(path, "missing", found), False) if found else (SlotState(), True)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        fields = json.loads(data)
        version = fields.get("version") if isinstance(fields, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise BundleError(
                f"{path}: version {version} is newer than this release reads ({VERSION}):"
                " update remoteclip-edge"
            )
        return SlotState.model_validate(fields), True
    except ValidationError as error:
        problem = one_line(error)
    except (ValueError, RecursionError) as error:
        problem = f"not JSON: {error}"
    return _rebuilt(path, f"damaged: {problem}", _found_in_slots(folder)), False


def _rebuilt(path: Path, problem: str, found: dict[Slot, Installed]) -> SlotState:
    """The state that can be told from the slots: the older bundle flew before, so it is the safe one."""
    oldest_first = sorted(found, key=lambda slot: (found[slot].installed_at, slot))
    active, previous = (*oldest_first, None, None)[:2]
    flies = (
        "no slot holds a bundle" if active is None else f"slot {active} flies, its bundle is the older one"
    )
    _log.error("%s: %s; %s (set it right: remoteclip bundle show, activate, rollback)", path, problem, flies)
    return SlotState(active=active, previous=previous, installed=found)


def _found_in_slots(folder: Path) -> dict[Slot, Installed]:
    found: dict[Slot, Installed] = {}
    for slot in SLOTS:
        try:
            data = (folder / slot / MANIFEST_NAME).read_bytes()
            when = (folder / slot).stat().st_mtime
            model = str(json.loads(data)["model"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # no bundle that could fly
        found[slot] = Installed(
            manifest_sha256=hashlib.sha256(data).hexdigest(),
            model=model,
            installed_at=datetime.fromtimestamp(int(when), timezone.utc),
        )
    return found
