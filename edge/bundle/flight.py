"""The bundle of one flight: out of slots it may be on trial, and makes way for the previous one by itself."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from types import TracebackType

from edge.bundle.keys import read_public_key
from edge.bundle.load import DEFAULT, Bundle, load_device_bundle
from edge.bundle.slot_files import active_slot, is_slots, locked, mended_state, take_lock, write_state
from edge.bundle.slot_state import TRIAL_STARTS, SlotState
from edge.bundle.slots import Terms
from firmware_cfg.device import DeviceFile
from firmware_cfg.errors import BundleError, EngineError, RemoteclipError

TRIAL_FRAMES = 100
"""Frames of one flight after which a bundle on trial has proved itself."""

_log = logging.getLogger(__name__)


class BundleFlight:
    """A loaded bundle while it flies; a context manager around the flight.

    Without slots, or without a trial, everything but `bundle` does nothing. On trial, `frame_done` proves the
    bundle, and how the context ends decides what a flight without that many frames was: a crash or a kill
    uses up one of its TRIAL_STARTS starts; an error of a bundle or engine, or an unexpected one, takes the
    bundle out of flight at once; a clean end, or an error that no bundle is to blame for, is no start at all.

    Attributes:
        bundle: what flies.
    """

    def __init__(
        self,
        bundle: Bundle,
        folder: Path | None = None,
        state: SlotState | None = None,
        handle: int | None = None,
        *,
        counted: bool = False,
    ) -> None:
        self.bundle = bundle
        self._folder = folder
        self._state = state = state or SlotState()
        self._handle = handle
        self._counted = counted  # this start was written down, and may be given back
        self._left = TRIAL_FRAMES if folder is not None and state.on_trial else None
        self._confirming: Thread | None = None

    @property
    def on_trial(self) -> bool:
        """Whether the bundle has yet to prove itself."""
        return self._left is not None

    def frame_done(self) -> None:
        """Count a frame that went through all stages. A thread writes down that the bundle is proved."""
        if self._left is None:
            return
        self._left -= 1
        if self._left <= 0:
            self._left = None
            self._confirming = Thread(target=self._confirm, name="bundle-confirm", daemon=True)
            self._confirming.start()

    def __enter__(self) -> BundleFlight:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._confirming is not None:
            self._confirming.join()
        if self._left is not None:
            if isinstance(error, Exception) and _is_the_bundles(error):
                self._fail(" ".join(str(error).split()) or type(error).__name__)
            elif self._counted:
                self._write(SlotState.given_back)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _fail(self, reason: str) -> None:
        if self._write(lambda state: state.fallen_back(reason, automatic=True)):
            _log.error(
                "%s: the bundle on trial failed and is rolled back, slot %s flies from the next start on: %s",
                self._folder,
                self._state.previous,
                reason,
            )

    def _confirm(self) -> None:
        if self._write(SlotState.confirmed):
            _log.info(
                "%s: the bundle in slot %s has proved itself in %d frames; its trial is over",
                self._folder,
                self._state.active,
                TRIAL_FRAMES,
            )

    def _write(self, change: Callable[[SlotState], SlotState]) -> bool:
        """Change what is written down, unless somebody else has ended this trial; False where it was not."""
        folder = self._folder
        if folder is None:
            return False
        try:
            with locked(folder):
                now = mended_state(folder)
                mine = (now.active, now.installed) == (self._state.active, self._state.installed)
                if not (mine and now.on_trial):
                    return False
                write_state(folder, change(now))
        except (BundleError, OSError) as error:
            _log.error("%s: what became of the trial cannot be written down: %s", folder, error)
            return False
        return True


def begin_flight(device: DeviceFile) -> BundleFlight:
    """Load the bundle that a device file names: of slots the active one, or the previous one in its place.

    A start of a bundle on trial is written down first, so that a crash, however early, counts; not so while
    another daemon flies the same slot: its start counts for both. A bundle whose starts are used up, or whose
    files are damaged, is left for the previous one if that is whole, which is a logged error.

    Raises:
        BundleError: no bundle that could fly; see `load_bundle`.
        ConfigError: a trusted key's file cannot be read.
    """
    folder = Path(device.bundle)
    if device.bundle == DEFAULT or not is_slots(folder):
        return BundleFlight(load_device_bundle(device))
    for key in device.trusted_keys:  # no bundle is to blame for these
        read_public_key(key)
    terms = Terms.of(device)
    with ExitStack() as lock:
        # Until this process holds its slot: two daemons that start at once must see each other.
        lock.enter_context(locked(folder))
        state, counted = _started(folder)
        try:
            return _load(folder, state, terms, counted=counted, held=lock.close)
        except BundleError as error:
            lock.close()
            return _previous(folder, state, terms, error)


def _is_the_bundles(error: Exception) -> bool:
    """Whether a bundle may be to blame: not for a camera, a port, a prompt list or a disk."""
    return isinstance(error, (BundleError, EngineError)) or not isinstance(error, RemoteclipError)


def _started(folder: Path) -> tuple[SlotState, bool]:
    """The state to fly by, and whether a trial's start was written down in it; for whoever holds the lock."""
    state = mended_state(folder)
    slot = active_slot(folder, state)
    if not state.on_trial:
        return state, False
    if _is_flown(folder / slot):
        _log.info("%s: slot %s is on trial in another daemon, whose start counts", folder, slot)
        return state, False
    if state.starts_left:
        after = state.started()
        number = TRIAL_STARTS - (after.starts_left or 0)
        _log.info("%s: slot %s is on trial, start %d of %d", folder, slot, number, TRIAL_STARTS)
    else:
        reason = f"no {TRIAL_FRAMES} frames in {TRIAL_STARTS} starts"
        after = state.fallen_back(reason, automatic=True)
        _log.error("%s: %s: slot %s is left, slot %s flies", folder, reason, slot, after.active)
    try:
        write_state(folder, after)
    except OSError as error:
        # Starts that cannot be counted could go wrong for ever.
        after = state.fallen_back("its trial cannot be written down", automatic=True)
        problem = f"cannot be written: {error.strerror}"
        _log.error("%s: %s; slot %s is not tried, slot %s flies", folder, problem, slot, after.active)
    return after, after.on_trial


def _is_flown(path: Path) -> bool:
    """Whether a daemon flies what this slot holds."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        return not take_lock(handle, fcntl.LOCK_EX)
    finally:
        os.close(handle)


def _load(
    folder: Path,
    state: SlotState,
    terms: Terms,
    *,
    counted: bool = False,
    held: Callable[[], None] = lambda: None,
) -> BundleFlight:
    """`held` is called as soon as nobody can replace the slot any more."""
    slot = active_slot(folder, state)
    path = folder / slot
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be opened: {error.strerror} (remoteclip bundle install)"
        ) from error
    try:
        # An install never replaces what flies: the text tower is read again for every new prompt list.
        if not take_lock(handle, fcntl.LOCK_SH):
            raise BundleError(f"{path}: an install is just replacing it (start again)")
        held()
        bundle = terms.load(path, state.installed[slot].manifest_sha256)
        return BundleFlight(bundle, folder, state, handle, counted=counted)
    except BaseException:
        os.close(handle)
        raise


def _previous(folder: Path, state: SlotState, terms: Terms, error: BundleError) -> BundleFlight:
    """The previous bundle instead of one that cannot be loaded; what is written down follows."""
    if state.previous is None:
        raise error
    fallen = state.fallen_back(str(error), automatic=True)
    try:
        flight = _load(folder, fallen, terms)
    except BundleError as other:
        _log.error("%s: the previous bundle cannot fly either: %s", folder, other)
        raise error from other
    _log.error("%s; slot %s is left, slot %s flies", error, state.active, fallen.active)
    try:
        with locked(folder):
            if mended_state(folder) == state:
                write_state(folder, fallen)
    except (BundleError, OSError) as problem:
        _log.warning("%s: the way back cannot be written down: %s", folder, problem)
    return flight
