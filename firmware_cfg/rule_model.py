"""What an alert rule is once it is read: an OR of ANDs of comparisons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

TermKind = Literal["count", "unique", "score", "count_in", "crossing"]
Direction = Literal["in", "out"]
Operator = Literal[">=", ">", "<=", "<", "=="]

#: The operators of which at least one holds exactly when the key does not.
NEGATED: dict[Operator, tuple[Operator, ...]] = {
    ">=": ("<",),
    ">": ("<=",),
    "<=": (">",),
    "<": (">=",),
    "==": ("<", ">"),
}


class RuleSyntaxError(ValueError):
    """A rule that cannot be read. `column` counts from 1 inside the rule's text; `mend` may be empty."""

    def __init__(self, problem: str, column: int, mend: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.column = column
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Term:
    """A quantity of one prompt: `name` is the zone of `count_in` or the line of `crossing`, otherwise None.

    `direction` None on a `crossing` means both ways together.
    """

    kind: TermKind
    name: str | None = None
    direction: Direction | None = None

    def __str__(self) -> str:
        if self.kind == "count_in":
            return f"count in {self.name}"
        if self.kind == "crossing":
            return f"crossing {self.name} {self.direction}" if self.direction else f"crossing {self.name}"
        return self.kind


@dataclass(frozen=True, slots=True)
class Comparison:
    """One `TERM OP NUMBER`; `number` is finite and not negative."""

    term: Term
    op: Operator
    number: float

    def holds(self, value: float) -> bool:
        """Whether `value OP number`."""
        if self.op == ">=":
            return value >= self.number
        if self.op == ">":
            return value > self.number
        if self.op == "<=":
            return value <= self.number
        if self.op == "<":
            return value < self.number
        return value == self.number

    def negated(self) -> tuple[Comparison, ...]:
        """Comparisons of which at least one holds exactly when this one does not."""
        return tuple(Comparison(self.term, op, self.number) for op in NEGATED[self.op])

    def __str__(self) -> str:
        return f"{self.term} {self.op} {_number_text(self.number)}"


@dataclass(frozen=True, slots=True)
class Rule:
    """An OR of ANDs. It holds when every comparison of at least one clause of `any_of` holds."""

    any_of: tuple[tuple[Comparison, ...], ...]

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms that the rule reads, each once, in order of appearance."""
        return tuple(dict.fromkeys(c.term for clause in self.any_of for c in clause))

    def holds(self, value: Callable[[Term], float]) -> bool:
        """Whether the rule holds when `value(term)` is the present value (never NaN) of each term."""
        return any(all(c.holds(value(c.term)) for c in clause) for clause in self.any_of)

    def negated(self) -> Rule:
        """The rule that holds exactly when this one does not."""
        choices = [tuple(n for c in clause for n in c.negated()) for clause in self.any_of]
        clauses = dict.fromkeys(tuple(dict.fromkeys(pick)) for pick in itertools.product(*choices))
        return Rule(tuple(clauses))

    def common_value(self, other: Rule) -> float | None:
        """A value at which both rules hold, when both read one and the same term; None if there is none.

        An alert whose `when` and `clear` share a value would be raised and cleared again and again.
        """
        terms = {*self.terms, *other.terms}
        if len(terms) != 1:
            return None
        (term,) = terms
        marks = sorted({0.0, *(c.number for rule in (self, other) for clause in rule.any_of for c in clause)})
        # A rule changes only at its numbers, so these and one value in each gap are all there is to try.
        if term.kind == "score":
            tries = {*marks, *((a + b) / 2 for a, b in itertools.pairwise([*marks, 1.0]))}
        else:
            tries = {whole for mark in marks for whole in (float(math.floor(mark)), math.floor(mark) + 1.0)}
        for value in sorted(tries):
            read = dict.fromkeys((term,), value).__getitem__
            if self.holds(read) and other.holds(read):
                return value
        return None

    def __str__(self) -> str:
        return " or ".join(" and ".join(str(c) for c in clause) for clause in self.any_of)


def _number_text(number: float) -> str:
    """The shortest plain decimal that reads back as the same float (5, 0.35), never an exponent."""
    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
