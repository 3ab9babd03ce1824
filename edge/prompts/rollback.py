"""`remoteclip prompts rollback`: an earlier list comes back, asked of the daemon that flies, or done here."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.files import write_atomically
from edge.kernel_boot import kernel_boot_id
from edge.prompts.owner import ShelfError, is_owned
from edge.prompts.shelf import KeptList, PromptShelf, list_path, read_list, read_record
from firmware_cfg.errors import RemoteclipError, UsageError
from firmware_cfg.messages.base import Sha256
from firmware_cfg.prompt_list import load_prompt_bytes

log = logging.getLogger(__name__)

REQUEST_NAME = "rollback.json"
ANSWER_NAME = "rollback_done.json"
ANSWER_PATIENCE_S = 15.0
"""How long the command waits for the daemon, which may be loading an engine for another image size."""
SHORTEST_HASH = 4
_LOOK_S = 0.02

_Model = TypeVar("_Model", bound=BaseModel)


class RollbackRequest(BaseModel):
    """What the command asks of the daemon."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request_id: str = Field(max_length=64)
    sha256: Sha256
    kernel_boot: str | None = Field(None, max_length=64, description="In which `until_s` counts.")
    until_s: float = Field(description="CLOCK_MONOTONIC when the command waits no longer.")


class RollbackAnswer(BaseModel):
    """What became of it; `problem` is empty where the list is in force."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request_id: str = Field(max_length=64)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The list that came back, as the shelf had it; `flying`: a daemon uses it already."""

    chosen: KeptList
    flying: bool


def roll_back(
    folder: Path, wanted: str | None = None, *, patience_s: float = ANSWER_PATIENCE_S
) -> RolledBack:
    """Put an earlier list of the shelf in `folder` in force again, now or, with no daemon, at the next start.

    Args:
        wanted: the beginning of its hash; default: the list that was in force before this one.
        patience_s: how long to wait for a daemon that flies.

    Raises:
        UsageError: there is no such list, or several.
        ShelfError, ConfigErrors: it cannot be read, or is none any more.
        RemoteclipError: the daemon refused it, or does not answer.
    """
    record = read_record(folder)
    chosen = choose(record.earlier if record is not None else (), wanted, folder)
    path = list_path(folder, chosen.sha256)
    data = read_list(folder, chosen.sha256)
    load_prompt_bytes(data, str(path))
    request = RollbackRequest(
        request_id=uuid.uuid4().hex,
        sha256=chosen.sha256,
        kernel_boot=kernel_boot_id(),
        until_s=time.monotonic() + patience_s,
    )
    if is_owned(folder):
        try:
            _ask(folder / REQUEST_NAME, request)
            if _answered(folder, request):
                return RolledBack(chosen, flying=True)
        finally:  # nobody waits for it any more, a Ctrl-C may have ended that
            _withdraw(folder / REQUEST_NAME)
    with PromptShelf(folder) as shelf:
        shelf.put(data, "rollback", datetime.now(timezone.utc))
        if not shelf.save():
            raise ShelfError(f"{folder}: cannot be written")
    return RolledBack(chosen, flying=False)


def _answered(folder: Path, request: RollbackRequest) -> bool:
    """True once the daemon has done it, False once there is none. Raises RemoteclipError: it did not."""
    while is_owned(folder):
        answer = _read(folder / ANSWER_NAME, RollbackAnswer)
        if answer is not None and answer.request_id == request.request_id:
            if answer.problem:
                raise RemoteclipError(answer.problem)
            return True
        if time.monotonic() > request.until_s:
            raise RemoteclipError(f"{folder}: the daemon does not answer (is it still starting? try again)")
        time.sleep(_LOOK_S)
    return False


def choose(earlier: tuple[KeptList, ...], wanted: str | None, folder: Path) -> KeptList:
    """The one of `earlier` that is meant. Raises UsageError."""
    if not earlier:
        raise UsageError(f"{folder}: no earlier prompt list is kept")
    if wanted is None:
        return earlier[0]
    found = [kept for kept in earlier if kept.sha256.startswith(wanted.lower())]
    if len(wanted) >= SHORTEST_HASH and len(found) == 1:
        return found[0]
    hashes = ", ".join(kept.sha256[:12] for kept in earlier)
    raise UsageError(f"--to {wanted}: must be the beginning of one of the hashes that are kept: {hashes}")


def carry_out(folder: Path, roll_back: Callable[[str], str]) -> None:
    """For the daemon: do what the request in `folder` asks, tell the one who asked, and take it away.

    What is no request is a line in the log, and so is a disk that cannot be written. A request that nobody
    waits for any more, its command killed or the power cut, is taken away undone.

    Args:
        roll_back: puts the list of a hash in force, or says why it cannot.
    """
    request = _read(folder / REQUEST_NAME, RollbackRequest)
    if request is None:
        return
    if request.kernel_boot == kernel_boot_id() and time.monotonic() <= request.until_s:
        problem = roll_back(request.sha256)
    else:
        problem = "asked for too long ago"
        log.warning("%s: a rollback to %s is not done: %s", folder, request.sha256[:12], problem)
    told = RollbackAnswer(request_id=request.request_id, problem=problem)
    try:
        write_atomically(folder / ANSWER_NAME, told.model_dump_json().encode())
        (folder / REQUEST_NAME).unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s: the rollback cannot be answered: %s", folder, error.strerror)


def _ask(path: Path, request: RollbackRequest) -> None:
    try:
        write_atomically(path, request.model_dump_json().encode())
    except OSError as error:
        raise ShelfError(f"{path}: cannot be written: {error.strerror}") from error


def _withdraw(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ShelfError(f"{path}: cannot be removed: {error.strerror}") from error


def _read(path: Path, model: type[_Model]) -> _Model | None:
    try:
        with path.open("rb") as stream:
            return model.model_validate_json(stream.read(1 << 16))
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s: cannot be read: %s", path, error.strerror)
    except ValidationError:
        log.warning("%s: damaged, it is left alone", path)
    return None
