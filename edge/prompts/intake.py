"""What a prompt list that comes in may be, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from firmware_cfg.errors import ConfigError, ConfigErrors, RemoteclipError

if TYPE_CHECKING:
    from edge.prompts.bank import PromptBank
    from firmware_cfg.messages.prompts import PromptSource
    from firmware_cfg.prompt_list import LoadedPromptList

MOST_SENT_BYTES = 128 * 1024
MOST_SENT_PARTS = 20_000
"""Line ends, commas and brackets: far above those of any real list, they bound the time of its parsing."""
MOST_SAID = 500
"""Characters of one error that are passed on: a list may have a key as long as itself."""
_PARTS = (b"\n", b"\r", b",", b"[", b"{")


class UsesPrompts(Protocol):
    """What a list is put in use with: a Pipeline."""

    @property
    def bank(self) -> PromptBank: ...

    def set_prompts(
        self,
        prompt_list: LoadedPromptList,
        *,
        source: PromptSource = "file",
        data: bytes | None = None,
        interrupted: Callable[[], bool],
    ) -> PromptBank: ...

    def load_text_tower(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a list.

    Attributes:
        applied: it is in force now. Otherwise nothing has changed, and `errors` say why.
        received_sha256: hex, of its bytes.
        sha256: hex, of the list that is in force now.
        kept: that list is on disk.
        errors: in the order of the list; never empty for one that was refused.
    """

    applied: bool
    received_sha256: str
    sha256: str
    kept: bool
    errors: tuple[ConfigError, ...] = ()


def refuse_giants(data: bytes, name: str) -> None:
    """Raise ConfigErrors for what was sent and is nothing, or would keep the parser busy."""
    if not data:
        mend = "the message had no bytes: did the program that sent it read the file?"
        raise ConfigErrors([ConfigError(name, 1, 1, "is empty", mend)])
    problem = ""
    if len(data) > MOST_SENT_BYTES:
        problem = f"is larger than {MOST_SENT_BYTES // 1024} KiB"
    elif sum(data.count(part) for part in _PARTS) > MOST_SENT_PARTS:
        problem = f"has more than {MOST_SENT_PARTS} lines and list items"
    if problem:
        raise ConfigErrors([ConfigError(name, 0, 0, problem, "is it a prompt list?")])


def as_config_errors(error: RemoteclipError, name: str) -> tuple[ConfigError, ...]:
    """What was wrong with the list `name`, with its lines where they are known."""
    if isinstance(error, ConfigErrors):
        return tuple(_shortened(one) for one in error.errors)
    return (_shortened(ConfigError(name, 0, 0, str(error).removeprefix(f"{name}: "))),)


def _shortened(error: ConfigError) -> ConfigError:
    if max(len(error.problem), len(error.mend)) <= MOST_SAID:
        return error
    problem, mend = (f"{text[:MOST_SAID]}..." if len(text) > MOST_SAID else text for text in error.args[3:5])
    return ConfigError(error.path, error.line, error.column, problem, mend)
