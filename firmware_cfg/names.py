"""Identifiers that engineers choose. They become MQTT topic levels, file names and words inside rules."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

IDENTIFIER = re.compile(r"[a-z0-9_-]{1,64}")
IDENTIFIER_MEND = "use 1 to 64 of: a-z 0-9 _ -"


def is_identifier(text: str) -> bool:
    """True when `text` is 1 to 64 of a-z, 0-9, _ and -, and nothing else."""
    return IDENTIFIER.fullmatch(text) is not None


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known name that `word` is, or was most likely meant to be; None when nothing is near."""
    return next(iter(difflib.get_close_matches(word.lower(), sorted(known), n=1, cutoff=0.6)), None)


def suggest(word: str, known: Iterable[str]) -> str:
    """The mend for a name that does not exist: the nearest known one, else all of them when they are few."""
    names = sorted(known)
    near = closest(word, names)
    if near is not None:
        return f"did you mean {near}?"
    return f"known: {', '.join(names)}" if 0 < len(names) <= 12 else ""
