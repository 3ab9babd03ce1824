"""Another prompt list while the drone flies: from its file, from the control room, or from the shelf."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edge.prompts import rollback as prompt_rollback
from edge.prompts.intake import Outcome, UsesPrompts, as_config_errors, refuse_giants
from edge.prompts.owner import ShelfError
from edge.prompts.shelf import list_path
from edge.prompts.start import begin, tell
from edge.prompts.text_encoder import Interrupted
from edge.prompts.watch import FileWatch
from firmware_cfg.errors import ConfigError, ConfigErrors, RemoteclipError
from firmware_cfg.prompt_list import LoadedPromptList, load_prompt_bytes
from firmware_cfg.yaml_tree import read_config_bytes

if TYPE_CHECKING:
    from edge.prompts.shelf import PromptShelf
    from firmware_cfg.messages.prompts import PromptSource

log = logging.getLogger(__name__)

POLL_S = 0.025
PATIENCE_S = 0.5
"""How long a file must have been at rest before a list in it that is bad is called so."""
RETRY_S = 1.0
"""How often a list that could not be put on disk is tried again."""
STOP_PATIENCE_S = 10.0


User = TypeVar("User", bound=UsesPrompts)


class PromptUpdater:
    """First `begin`, which makes what flies; then, as a context manager, a thread that watches.

    It takes a list as soon as its file is saved, and what `prompts rollback` asks for; `set_list` and
    `desired` may be called from any thread, `reload` also in a signal handler. A list is read, encoded and
    put in use in the caller's thread, one at a time: the frame loop goes on with the old one meanwhile. A
    bad list is refused with every error, and the old one flies on; so is one that was sent and is not yet
    encoded when another comes from the file or the shelf, or the flight ends.

    Attributes:
        applied, refused: how many lists of either kind came since the start.

    Args:
        shelf: the device's; of this object only, until it is stopped.
        path: of the device file's list.
        poll_s, patience_s: in seconds, see POLL_S and PATIENCE_S.
    """

    def __init__(
        self,
        shelf: PromptShelf,
        path: Path,
        *,
        poll_s: float = POLL_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.applied = self.refused = 0
        self._shelf = shelf
        self._path = path
        self._poll_s = poll_s
        self._patience_s = patience_s
        self._user: UsesPrompts | None = None
        self._lock = threading.Lock()
        self._file = FileWatch(path)
        self._requests = FileWatch(shelf.folder / prompt_rollback.REQUEST_NAME)
        self._file_sha256: str | None = None
        self._doubtful: tuple[str | None, ConfigErrors, float] | None = None
        self._refused_desire: str | None = None
        self._reload_wanted = False
        self._next_retry = 0.0
        self._overtaken = 0  # counts up with every list that a sent one gives way to
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prompts", daemon=True)

    def begin(self, make: Callable[[LoadedPromptList, PromptSource], User]) -> User:
        """Make what flies with the list to begin with, see edge/prompts/start.py. Raises what that raises."""
        self._user, self._file_sha256 = user, _ = begin(self._shelf, self._path, make)
        return user

    def __enter__(self) -> PromptUpdater:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Watch no longer, and put no list in force any more. May be called twice."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_PATIENCE_S)

    def reload(self) -> None:
        """Take the device file's list, changed or not, within `poll_s`. Waits for nothing."""
        self._reload_wanted = True  # no lock: a signal may arrive while its own thread holds it

    def set_list(self, data: bytes, name: str = "prompts/set") -> Outcome:
        """Put a list that was sent in force. Errors call it `name`."""
        return self._take(data, name, "mqtt")

    def desired(self, data: bytes, *, repeated: bool, name: str = "prompts/desired") -> Outcome | None:
        """Converge to what the control room wants; None where that is no news, or nothing any more.

        The newest of file, sent list, rollback and desire wins. The broker repeats the desire at every
        connection: `repeated`, it counts only where it differs from the last one that was taken, or refused
        in this life. Who wishes for it again gets it again.
        """
        sha256 = hashlib.sha256(data).hexdigest() if data else None
        with self._lock:
            if sha256 is None:
                self._refused_desire = None
                self._shelf.saw_desired(None)
                self._shelf.save()
                return None
            record = self._shelf.record
            if repeated and sha256 in (self._refused_desire, record and record.desired_sha256):
                return None
        outcome = self._take(data, name, "mqtt", self._shelf.saw_desired)
        self._refused_desire = None if outcome.applied else sha256
        return outcome

    def list_in_force(self) -> bytes:
        """The bytes of the list that flies. Raises ShelfError."""
        with self._lock:
            return self._shelf.read(self._in_use().bank.list_sha256)

    def refuse(self, data: bytes, error: ConfigError) -> Outcome:
        """The outcome of a list that is refused unread."""
        self.refused += 1
        return self._outcome(hashlib.sha256(data).hexdigest(), (error,))

    def _run(self) -> None:
        try:
            self._in_use().load_text_tower()
        except Exception as error:  # noqa: BLE001 - it is tried again with the first list, and refused then
            log.warning("the text tower cannot be loaded beforehand: %s", error)
        while not self._stopping.wait(self._poll_s):
            try:
                self._look()
            except Exception:  # whatever one list does, the next one is taken
                log.exception("prompt lists: the change is not made")

    def _look(self) -> None:
        if self._reload_wanted:
            self._reload_wanted = False
            self._take_file(wanted=True)
        elif self._file.saved():
            self._take_file()
        elif self._doubtful is not None and time.monotonic() >= self._doubtful[2]:
            self._file_sha256, errors, _ = self._doubtful
            self._doubtful = None
            self._say_refused(errors)
        if self._requests.saved():
            prompt_rollback.carry_out(self._shelf.folder, self._roll_back)
        if self._shelf.saved or time.monotonic() < self._next_retry:
            return
        if self._lock.acquire(blocking=False):  # a list that is being encoded is written when it is in force
            try:
                self._next_retry = time.monotonic() + RETRY_S
                self._shelf.save()
            finally:
                self._lock.release()

    def _take_file(self, *, wanted: bool = False) -> None:
        """The list of the file. A bad one may be half of a good one that is being written: it gets time."""
        sha256, errors, self._doubtful = None, None, None
        try:
            data = read_config_bytes(self._path)
            sha256 = hashlib.sha256(data).hexdigest()
        except ConfigErrors as error:
            errors = error
        if sha256 == self._file_sha256 and not wanted:
            return
        if errors is None:
            outcome = self._take(data, str(self._path), "file", self._shelf.saw_file)
            errors = ConfigErrors(outcome.errors) if outcome.errors else None
        if errors is not None and not wanted:
            self._doubtful = sha256, errors, time.monotonic() + self._patience_s
            return
        self._file_sha256 = sha256
        if errors is not None:
            self._say_refused(errors)

    def _roll_back(self, sha256: str) -> str:
        """Why the list of this hash cannot come back; empty where it is in force."""
        self._overtaken += 1
        try:
            with self._lock:
                data = self._shelf.read(sha256)
        except ShelfError as error:
            return str(error)
        outcome = self._take(data, str(list_path(self._shelf.folder, sha256)), "rollback")
        return "\n".join(str(error) for error in outcome.errors)

    def _take(
        self, data: bytes, name: str, source: PromptSource, note: Callable[[str], None] = lambda sha256: None
    ) -> Outcome:
        began = time.monotonic()
        sha256 = hashlib.sha256(data).hexdigest()
        user = self._in_use()
        if source != "mqtt":
            self._overtaken += 1
        with self._lock:
            overtaken = self._overtaken
            if sha256 != user.bank.list_sha256:
                try:
                    if source == "mqtt":
                        refuse_giants(data, name)
                    user.set_prompts(
                        load_prompt_bytes(data, name),
                        source=source,
                        data=data,
                        interrupted=lambda: (
                            self._stopping.is_set() or (source == "mqtt" and self._overtaken != overtaken)
                        ),
                    )
                except RemoteclipError as error:
                    if isinstance(error, Interrupted) and not self._stopping.is_set():
                        note(sha256)  # what came later counts, after a restart too
                        self._shelf.save()
                    self.refused += source != "file"  # half of a file is not refused yet
                    return self._outcome(sha256, as_config_errors(error, name))
                self._shelf.put(data, source, datetime.now(timezone.utc))
                self.applied += 1
                took = (time.monotonic() - began) * 1000
                log.info("%s: list %s is in force, after %.0f ms", name, sha256[:12], took)
            note(sha256)
            self._shelf.save()
            return self._outcome(sha256)

    def _outcome(self, received: str, errors: tuple[ConfigError, ...] = ()) -> Outcome:
        return Outcome(not errors, received, self._in_use().bank.list_sha256, self._shelf.saved, errors)

    def _in_use(self) -> UsesPrompts:
        if self._user is None:
            raise RuntimeError("PromptUpdater.begin comes first")
        return self._user

    def _say_refused(self, errors: ConfigErrors) -> None:
        self.refused += 1
        tell(errors)
        log.error("%s: refused; %s flies on", self._path, self._in_use().bank.list_sha256[:12])
