"""With which prompt list a flight begins: the device file's where that is news, else the one flown last."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edge.prompts.owner import ShelfError
from edge.prompts.shelf import list_path
from firmware_cfg.errors import ConfigErrors, RemoteclipError
from firmware_cfg.prompt_list import LoadedPromptList, load_prompt_bytes
from firmware_cfg.yaml_tree import read_config_bytes

if TYPE_CHECKING:
    from edge.prompts.shelf import PromptShelf
    from firmware_cfg.messages.prompts import PromptSource

log = logging.getLogger(__name__)

Made = TypeVar("Made")
MOST_LINES = 20
"""Errors of one list that the log repeats."""


def begin(
    shelf: PromptShelf, path: Path, make: Callable[[LoadedPromptList, PromptSource], Made]
) -> tuple[Made, str | None]:
    """Make what flies with the right list.

    The device file's list is taken where it has changed since it was last taken. A list that was sent over
    MQTT or called back outlives a restart otherwise, and a bad list never keeps a drone on the ground that
    has flown with a good one.

    Args:
        shelf: the device's; afterwards it says what is in force.
        path: of the device file's list.
        make: makes it from a list, and raises ConfigErrors for one that does not fit.

    Returns:
        What was made, and the SHA-256 of the device file's list as it was found (None: not readable).

    Raises:
        ConfigErrors: of the device file's list, where there is no other to fly with.
        Whatever else `make` raises.
    """
    data: bytes | None = None
    try:
        data = read_config_bytes(path)
    except ConfigErrors as error:
        problem = error
    file_sha256 = hashlib.sha256(data).hexdigest() if data is not None else None
    record = shelf.record
    is_news = record is None or file_sha256 is None or file_sha256 != record.file_sha256
    if record is not None and not is_news:
        made = _with_kept(shelf, make)
        if made is not None:
            if file_sha256 != record.in_force.sha256:
                log.info("%s has not changed since it was last taken, and is not in force", path)
            return made, file_sha256
    if data is None:
        refusal = problem
    else:
        try:
            made = make(load_prompt_bytes(data, str(path)), "file")
        except ConfigErrors as error:
            refusal = error
        else:
            _take(shelf, data)
            return made, file_sha256
    if record is not None and is_news:
        tell(refusal)
        made = _with_kept(shelf, make)
        if made is not None:
            return made, file_sha256
    raise refusal


def tell(error: RemoteclipError) -> None:
    """One line of the log for each error of a list that was refused."""
    lines = str(error).splitlines()
    for line in lines[:MOST_LINES]:
        log.error("%s", line)
    if len(lines) > MOST_LINES:
        log.error("and %d more errors", len(lines) - MOST_LINES)


def _with_kept(shelf: PromptShelf, make: Callable[[LoadedPromptList, PromptSource], Made]) -> Made | None:
    """None, and lines in the log, where the list flown last is damaged or does not fit any more."""
    if shelf.record is None:
        return None
    kept = shelf.record.in_force
    try:
        data = shelf.read(kept.sha256)
        made = make(load_prompt_bytes(data, str(list_path(shelf.folder, kept.sha256))), kept.source)
    except (ConfigErrors, ShelfError) as error:
        tell(error)
        return None
    moment = kept.applied_at.isoformat(timespec="seconds")
    log.info("prompt list %s goes on (%s, %s)", kept.sha256[:12], kept.source, moment)
    return made


def _take(shelf: PromptShelf, data: bytes) -> None:
    sha256 = hashlib.sha256(data).hexdigest()
    if shelf.record is None or shelf.record.in_force.sha256 != sha256:
        shelf.put(data, "file", datetime.now(timezone.utc))
    shelf.saw_file(sha256)
    shelf.save()
