"""A/B slots for model bundles: install into the idle one, activate it on trial, go back."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.bundle.archive import copy, expect_room, unpack
from edge.bundle.load import DEFAULT, Bundle, load_bundle
from edge.bundle.slot_files import (
    active_slot,
    expect_no_bundle,
    locked,
    mended_state,
    read_state,
    take_lock,
    write_state,
)
from edge.bundle.slot_state import SLOTS, Installed, Slot, SlotState, utc_now
from edge.files import sync_folder
from firmware_cfg.bundles import DEFAULT_MANIFEST_SHA256, default_bundle_path
from firmware_cfg.device import DeviceFile
from firmware_cfg.errors import BundleError, EngineError

INSTALL_LOCK = "install.lock"

SelfTest = Callable[[Bundle], Sequence[str]]
"""Tries a bundle on this device; returns the problems, a line each. May raise EngineError, MissingExtra."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a device demands of a bundle; see `load_bundle`."""

    trusted_keys: tuple[Path, ...] = ()
    require_signature: bool = False

    @classmethod
    def of(cls, device: DeviceFile) -> Terms:
        """What this device file demands."""
        return cls(tuple(device.trusted_keys), device.require_signature)

    def load(self, folder: Path, manifest_sha256: str | None = None) -> Bundle:
        """The bundle in this folder, judged by these terms. Raises what `load_bundle` raises."""
        return load_bundle(
            folder,
            manifest_sha256=manifest_sha256,
            trusted_keys=self.trusted_keys,
            require_signature=self.require_signature,
        )


@dataclass(frozen=True, slots=True)
class Installation:
    """What `install` did.

    Attributes:
        slot: where the bundle is.
        installed: what is written down about it.
        voucher: one sentence on who signed it.
        was_active: it flies already, whole and with this signature; nothing was installed.
    """

    slot: Slot
    installed: Installed
    voucher: str
    was_active: bool


class BundleSlots:
    """The slots in one folder, for the operator's commands. The folder is made by the first install."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, slot: Slot) -> Path:
        """Folder of a slot's bundle."""
        return self.folder / slot

    def state(self) -> SlotState:
        """What is written down now. Raises BundleError."""
        if not self.folder.is_dir():
            raise BundleError(f"{self.folder}: there is no such folder (remoteclip bundle install makes it)")
        expect_no_bundle(self.folder)
        return read_state(self.folder)

    def install(self, source: str, terms: Terms, self_test: SelfTest) -> Installation:
        """Put a bundle into the idle slot, whole and tried, or change nothing. The active one is not touched.

        Args:
            source: a bundle's folder or archive, or "default".
            terms: what signatures the device demands.
            self_test: tries the bundle here before it replaces what the slot holds.

        Raises:
            BundleError: the bundle will not do, fails its self-test or does not fit on the disk; the active
                one is on trial; another install runs; or a daemon still flies what the slot holds.
            ConfigError: a key file cannot be read. EngineError, MissingExtra: see `self_test`.
        """
        path = default_bundle_path() if source == DEFAULT else Path(source)
        expect_no_bundle(self.folder)
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._sweep()
                with locked(self.folder):
                    slot = self._free_slot(mended_state(self.folder))
                    with self._not_flown(slot):
                        pass  # asked again at the end; who has to restart the service learns it now
                expect_room(path, self.folder)
                staging = self.folder / f".{slot}.new"
                try:
                    insisted = DEFAULT_MANIFEST_SHA256 if source == DEFAULT else None
                    return self._install_staged(path, staging, slot, terms, insisted, self_test)
                except (BundleError, EngineError) as error:
                    raise type(error)(str(error).replace(str(staging), str(path))) from error
                finally:
                    shutil.rmtree(staging, ignore_errors=True)

    def activate(self, terms: Terms) -> SlotState:
        """Let what was installed last fly from the next start on: on trial, if there is one to go back to.

        Raises BundleError: nothing new is installed, or it is damaged, or one is on trial already.
        """
        state = self.state()
        if state.on_trial:
            raise BundleError(
                f"{self.folder}: slot {state.active} is on trial already"
                " (restart the service, or remoteclip bundle rollback)"
            )
        if state.idle not in state.installed or state.idle == state.previous:
            raise BundleError(
                f"{self.folder}: nothing is installed in slot {state.idle} that has not flown"
                " (remoteclip bundle install; to go back: remoteclip bundle rollback)"
            )
        terms.load(self.path(state.idle), state.installed[state.idle].manifest_sha256)
        return self._step(state, state.activated())

    def rollback(self, terms: Terms, reason: str = "asked for") -> SlotState:
        """Let the previous bundle fly again from the next start on.

        Raises BundleError: there is none, or it is damaged.
        """
        state = self.state()
        active_slot(self.folder, state)
        if state.previous is None:
            raise BundleError(f"{self.folder}: there is no bundle to go back to (remoteclip bundle show)")
        terms.load(self.path(state.previous), state.installed[state.previous].manifest_sha256)
        return self._step(state, state.fallen_back(reason, automatic=False))

    def _step(self, before: SlotState, after: SlotState) -> SlotState:
        # Bundles are read before this, without the lock: a daemon that starts must not wait for that.
        with self._writing(), locked(self.folder):
            if mended_state(self.folder) != before:
                raise BundleError(f"{self.folder}: was changed meanwhile (try again)")
            write_state(self.folder, after)
        return after

    def _install_staged(
        self, path: Path, staging: Path, slot: Slot, terms: Terms, insisted: str | None, self_test: SelfTest
    ) -> Installation:
        (copy if path.is_dir() else unpack)(path, staging)
        bundle = terms.load(staging, insisted)
        new = Installed(
            manifest_sha256=bundle.manifest_sha256, model=bundle.manifest.model, installed_at=utc_now()
        )
        voucher = bundle.voucher.sentence
        state = read_state(self.folder)
        if (active := state.active) and self._flies(active, state.installed[active], bundle, terms):
            return Installation(active, state.installed[active], voucher, was_active=True)
        if problems := self_test(bundle):
            raise BundleError(f"{path}: failed its self-test here, not installed: {'; '.join(problems)}")
        with locked(self.folder):
            state = mended_state(self.folder)
            if self._free_slot(state) != slot:
                raise BundleError(f"{self.folder}: was changed meanwhile (install again)")
            with self._not_flown(slot):
                # From here to the end slots.json says that the slot holds nothing: whenever this is cut off.
                write_state(self.folder, state.with_installed(slot, None))
                _remove(self.path(slot))
                os.rename(staging, self.path(slot))
                sync_folder(self.folder)
                write_state(self.folder, state.with_installed(slot, new))
        return Installation(slot, new, voucher, was_active=False)

    def _flies(self, slot: Slot, active: Installed, new: Bundle, terms: Terms) -> bool:
        if active.manifest_sha256 != new.manifest_sha256:
            return False
        try:
            flies = terms.load(self.path(slot), new.manifest_sha256)
        except BundleError:  # damaged on the disk, or not signed as demanded: a reason to install it again
            return False
        return flies.voucher.signature == new.voucher.signature

    def _free_slot(self, state: SlotState) -> Slot:
        if state.on_trial:
            raise BundleError(
                f"{self.folder}: slot {state.active} is on trial and would fall back to slot {state.idle}"
                " (wait until it has proved itself, or remoteclip bundle rollback)"
            )
        return state.idle

    @contextmanager
    def _not_flown(self, slot: Slot) -> Iterator[None]:
        """Inside, no daemon flies what the slot holds. Raises BundleError where one does."""
        path = self.path(slot)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY) if path.is_dir() else None
        try:
            if handle is not None and not take_lock(handle, fcntl.LOCK_EX):
                raise BundleError(
                    f"{path}: a running daemon still flies this bundle (restart the service first)"
                )
            yield
        finally:
            if handle is not None:
                os.close(handle)

    def _sweep(self) -> None:
        """Remove what an install left behind that was killed; nobody else is at it now."""
        for path in self.folder.iterdir():
            # `.a.new`, and `..a.new.x8y2` while that was still being filled.
            if path.name.lstrip(".").startswith(tuple(f"{slot}.new" for slot in SLOTS)):
                _remove(path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        handle = os.open(self.folder / INSTALL_LOCK, os.O_RDONLY | os.O_CREAT, 0o644)
        try:
            if not take_lock(handle, fcntl.LOCK_EX):
                raise BundleError(f"{self.folder}: another install is running (wait for its end)")
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = error.strerror or str(error)
            raise BundleError(
                f"{self.folder}: cannot be written: {what} (as the user of the service, on a sound disk?)"
            ) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
