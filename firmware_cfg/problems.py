"""How a validator states a problem so that it reaches the engineer as one line with a place and a mend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

#: Error type of a complete sentence.
STATED = "stated"
#: Error type of a sentence that lacks its subject (the field's name) and its end (the value that was got).
MUST = "must"


def stated(problem: str, mend: str = "", *, column: int = 0) -> PydanticCustomError:
    """A complete sentence. `column` counts from 1 inside the value's text; 0 means the value as a whole."""
    return PydanticCustomError(STATED, "{problem}", {"problem": problem, "mend": mend, "column": column})


def must(requirement: str, mend: str = "") -> PydanticCustomError:
    """`must("be between 0 and 1")` becomes, say, `threshold must be between 0 and 1, got 3.5`."""
    return PydanticCustomError(MUST, "must {problem}", {"problem": requirement, "mend": mend, "column": 0})


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of a check across fields, at `loc` below the model that runs the check."""

    loc: tuple[str | int, ...]
    error: PydanticCustomError
    value: Any = None


def raise_findings(title: str, findings: Iterable[Finding]) -> None:
    """Raise all findings as one pydantic ValidationError, which keeps their places; nothing for none."""
    lines = [InitErrorDetails(type=f.error, loc=f.loc, input=f.value) for f in findings]
    if lines:
        _raise(title, lines)


def _raise(title: str, lines: list[InitErrorDetails]) -> NoReturn:
    raise ValidationError.from_exception_data(title, lines)
