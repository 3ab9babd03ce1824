"""The bundle of one flight: out of slots it may be on trial, and makes way for the previous one by itself."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable
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
    bundle, and how the context ends decides what a flight without that many frames was: a clean end counts as
    no start at all; an error of a bundle or engine, or an unexpected one, takes the bundle out of flight at
    once; any other error, a crash or a kill uses up one of its TRIAL_STARTS starts.

    Attributes:
        bundle: what flies.
        rolled_back: whether it was taken out of flight; the next start flies the previous one.
    """

    def __init__(self, bundle: Bundle, folder: Path | None, state: SlotState, handle: int | None) -> None:
        self.bundle = bundle
        self.rolled_back = False
        self._folder = folder
        self._state = state
        self._handle = handle
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

    def fail(self, reason: str) -> bool:
        """Take a bundle on trial out of flight; False where it is not on trial. Never raises."""
        if self._left is None:
            return False
        self._left = None
        if self._write(lambda state: state.fallen_back(reason, automatic=True)):
            self.rolled_back = True
            _log.error(
                "%s: the bundle on trial failed and is rolled back, slot %s flies from the next start on: %s",
                self._folder,
                self._state.previous,
                reason,
            )
        return self.rolled_back

    def __enter__(self) -> BundleFlight:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._confirming is not None:
            self._confirming.join()
        if self._left is not None:
            if error is None or not isinstance(error, Exception):
                self._write(SlotState.given_back)
            elif isinstance(error, (BundleError, EngineError)) or not isinstance(error, RemoteclipError):
                self.fail(" ".join(str(error).split()) or type(error).__name__)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

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

    A start of a bundle on trial is written down first, so that a crash, however early, counts. A bundle whose
    starts are used up, or whose files are damaged, is left for the previous one if that is whole, which is a
    logged error.

    Raises:
        BundleError: no bundle that could fly; see `load_bundle`.
        ConfigError: a trusted key's file cannot be read.
    """
    folder = Path(device.bundle)
    if device.bundle == DEFAULT or not is_slots(folder):
        return BundleFlight(load_device_bundle(device), None, SlotState(), None)
    for key in device.trusted_keys:  # no bundle is to blame for these
        read_public_key(key)
    terms = Terms(tuple(device.trusted_keys), device.require_signature)
    state = _started(folder)
    try:
        return _load(folder, state, terms)
    except BundleError as error:
        return _previous(folder, state, terms, error)


def _started(folder: Path) -> SlotState:
    """The state to fly by, with a trial's start already written down."""
    with locked(folder):
        state = mended_state(folder)
        slot = active_slot(folder, state)
        if not state.on_trial:
            return state
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
        return after


def _load(folder: Path, state: SlotState, terms: Terms) -> BundleFlight:
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
        return BundleFlight(terms.load(path, state.installed[slot].manifest_sha256), folder, state, handle)
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
