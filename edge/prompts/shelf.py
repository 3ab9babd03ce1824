"""The prompt lists that a device has flown: the one in force and the few before it, kept for a restart.

A folder with each list's own bytes in a file that is named by their hash, and `shelf.json`, which says what
they are. That file is replaced as a whole and last, so a power cut leaves the shelf of before or of after.
"""

from __future__ import annotations

import hashlib
import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.files import sync_folder, write_atomically
from edge.leftovers import sweep
from edge.prompts.owner import OWNER_PATIENCE_S, ShelfError, become_owner
from firmware_cfg.messages.base import Sha256, UtcTime
from firmware_cfg.messages.prompts import PromptSource
from firmware_cfg.yaml_tree import MAX_BYTES

log = logging.getLogger(__name__)

FOLDER_NAME = "prompts"
"""Of the shelf, in a device's `state_dir`."""
RECORD_NAME = "shelf.json"
KEPT = 3
"""Lists that are kept beside the one in force."""
_LEFT_OVER_AFTER_S = 60.0


class KeptList(BaseModel):
    """One list on the shelf."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Sha256 = Field(description="Of its bytes; also the name of its file.")
    source: PromptSource = Field(description="Where it came from when it was last put in force.")
    applied_at: UtcTime = Field(description="When that was, UTC.")


class ShelfRecord(BaseModel):
    """What `shelf.json` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = Field(1, description="Version of this format.")
    in_force: KeptList = Field(description="The list that is flown.")
    earlier: tuple[KeptList, ...] = Field((), max_length=KEPT, description="Those before it, latest first.")
    file_sha256: Sha256 | None = Field(None, description="Of the device file's list when it was last taken.")
    desired_sha256: Sha256 | None = Field(None, description="Of the last `prompts/desired` that was taken.")

    @property
    def lists(self) -> tuple[KeptList, ...]:
        """The one in force, then the earlier ones."""
        return (self.in_force, *self.earlier)


def read_record(folder: Path) -> ShelfRecord | None:
    """What the shelf in `folder` says, None where there is none. Anybody may look at any time.

    Raises:
        ShelfError: it is damaged, or cannot be read.
    """
    path = folder / RECORD_NAME
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES)
        return ShelfRecord.model_validate_json(data)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ShelfError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ShelfError(f"{path}: damaged: {where + ': ' if where else ''}{first['msg']}") from error


def read_list(folder: Path, sha256: str) -> bytes:
    """The bytes of a list on the shelf in `folder`. Raises ShelfError: gone, or damaged."""
    path = list_path(folder, sha256)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ShelfError(f"{path}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ShelfError(f"{path}: damaged: its bytes are not those that its name says")
    return data


def list_path(folder: Path, sha256: str) -> Path:
    """Where the bytes of a list lie."""
    return folder / f"{sha256}.yaml"


class PromptShelf:
    """The shelf of one device, for its one owner: the daemon, or a command while no daemon flies.

    A shelf that cannot be written (a full or read-only disk) works on in memory and is written as soon as
    that is possible again, by its owner; `saved` tells. Not thread safe. A context manager, or `close` it.
    """

    def __init__(self, folder: Path, *, patience_s: float = OWNER_PATIENCE_S) -> None:
        """Become the owner. A damaged record is moved aside with one line, and the shelf begins anew.

        Raises:
            ShelfError: another process owns it.
        """
        self.folder = folder
        self.record: ShelfRecord | None = None
        self._unwritten: dict[str, bytes] = {}
        self._changed = self._troubled = False
        self._owner: int | None = None
        try:
            self._own(patience_s)
            sweep(folder, frozenset(), {".tmp"}, _LEFT_OVER_AFTER_S)  # of writers that were killed
        except OSError as error:
            log.warning("%s: prompt lists are not kept for a restart: %s", folder, error.strerror)
        try:
            self.record = read_record(folder)
        except ShelfError as error:
            log.warning("%s; it is kept as %s, and a new one begun", error, _aside(folder))

    @property
    def saved(self) -> bool:
        """Whether all that the shelf says is on disk."""
        return not self._changed

    def read(self, sha256: str) -> bytes:
        """The bytes of a list. Raises ShelfError: gone, or damaged."""
        return self._unwritten[sha256] if sha256 in self._unwritten else read_list(self.folder, sha256)

    def put(self, data: bytes, source: PromptSource, now: datetime) -> None:
        """Put a list in force; the one before it becomes the latest of the earlier ones."""
        sha256 = hashlib.sha256(data).hexdigest()
        in_force = KeptList(sha256=sha256, source=source, applied_at=now)
        record = self.record
        if record is None:
            self.record = ShelfRecord(in_force=in_force)
        else:
            earlier = tuple(kept for kept in record.lists if kept.sha256 != sha256)[:KEPT]
            self.record = record.model_copy(update={"in_force": in_force, "earlier": earlier})
        self._unwritten[sha256] = data
        self._changed = True

    def saw_file(self, sha256: str) -> None:
        """Note that the device file's list was taken: only another one is news."""
        self._note("file_sha256", sha256)

    def saw_desired(self, sha256: str | None) -> None:
        """Note which `prompts/desired` was taken; None: there is none any more."""
        self._note("desired_sha256", sha256)

    def save(self) -> bool:
        """Write what has changed, if anything has; False, and one line in the log, where that fails."""
        if not self._changed or self.record is None:
            return True
        wanted = {kept.sha256 for kept in self.record.lists}
        self._unwritten = {sha256: data for sha256, data in self._unwritten.items() if sha256 in wanted}
        try:
            self._own(0.0)
            for sha256, data in self._unwritten.items():
                write_atomically(list_path(self.folder, sha256), data)
            sync_folder(self.folder)  # a record never outlasts a power cut without its lists
            write_atomically(self.folder / RECORD_NAME, self.record.model_dump_json(indent=2).encode())
            sync_folder(self.folder)
        except (OSError, ShelfError) as error:
            if not self._troubled:
                why = f"{error.strerror} (free the disk)" if isinstance(error, OSError) else error
                log.error(
                    "%s: prompt list %s is in force, but would be lost by a restart: %s; it is tried again",
                    *(self.folder, self.record.in_force.sha256[:12], why),
                )
            self._troubled = True
            return False
        if self._troubled:
            log.info("%s: can be written again", self.folder)
        self._unwritten.clear()
        self._changed = self._troubled = False
        self._sweep({list_path(self.folder, sha256).name for sha256 in wanted})
        return True

    def close(self) -> None:
        """Write what is left, and let the next owner in. May be called twice."""
        self.save()
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    def __enter__(self) -> PromptShelf:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _own(self, patience_s: float) -> None:
        """Be the owner, if not so yet. Raises OSError, ShelfError."""
        if self._owner is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._owner = become_owner(self.folder, patience_s)

    def _note(self, field: str, value: str | None) -> None:
        if self.record is not None and getattr(self.record, field) != value:
            self.record = self.record.model_copy(update={field: value})
            self._changed = True

    def _sweep(self, wanted: set[str]) -> None:
        try:
            sweep(self.folder, wanted, {".yaml"}, 0.0)
        except OSError as error:
            log.warning("%s: lists of long ago are not removed: %s", self.folder, error.strerror)


def _aside(folder: Path) -> str:
    damaged = folder / f"{RECORD_NAME}.damaged"
    try:
        os.replace(folder / RECORD_NAME, damaged)
    except OSError as error:
        return f"{RECORD_NAME} ({error.strerror})"
    return damaged.name
