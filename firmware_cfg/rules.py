"""The alert rule language: `TERM (>=|>|<=|<|==) NUMBER [and|or ...]`.

TERM is `count`, `unique`, `score`, `count in ZONE` or `crossing LINE [in|out]`. `and` binds tighter than
`or`; there are no brackets; words may be in any case. `count in gate >= 5 or score > 0.9 and unique > 2`.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Literal, cast

from firmware_cfg.names import suggest
from firmware_cfg.rule_model import (
    NEGATED,
    Comparison,
    Direction,
    Operator,
    Rule,
    RuleSyntaxError,
    Term,
    TermKind,
)

__all__ = [
    "KEYWORDS",
    "MAX_COMPARISONS",
    "Comparison",
    "Rule",
    "RuleSyntaxError",
    "Term",
    "parse_located",
    "parse_rule",
]

#: Keeps the negation small: it is a product over the clauses, at most 256 of them for 8 comparisons.
MAX_COMPARISONS = 8
#: Words that cannot be the name of a zone or a line.
KEYWORDS = frozenset({"and", "or", "in", "out", "not", "count", "unique", "score", "crossing"})

_TERMS = "count, unique, score, count in ZONE, crossing LINE [in|out]"
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?(?![A-Za-z0-9_.])|\.[0-9]+(?![A-Za-z0-9_.])")
_SIGNS = re.compile(r"[<>=!≥≤&|]+")
_WRONG_SIGNS = {
    "=>": ">=",
    "=<": "<=",
    "=": "==",
    "≥": ">=",
    "≤": "<=",
    "&&": "and",
    "&": "and",
    "||": "or",
    "|": "or",
}


@lru_cache(maxsize=1024)
def parse_rule(text: str) -> Rule:
    """Read a rule. Raises RuleSyntaxError. `parse_rule(str(rule)) == rule` for every rule that was read."""
    return parse_located(text)[0]


def parse_located(text: str) -> tuple[Rule, tuple[tuple[Term, int], ...]]:
    """Read a rule, and give each term its column (from 1): that of the zone or line where it names one."""
    scanner = _Scanner(text)
    clauses: list[tuple[Comparison, ...]] = []
    clause: list[Comparison] = []
    columns: list[tuple[Term, int]] = []
    while True:
        start = scanner.column
        term, column = scanner.term()
        if len(columns) == MAX_COMPARISONS:
            raise RuleSyntaxError(
                f"rule has more than {MAX_COMPARISONS} comparisons", start, "split it into several alerts"
            )
        columns.append((term, column))
        clause.append(Comparison(term, scanner.operator(), scanner.number(term)))
        joint = scanner.joint()
        if joint != "and":
            clauses.append(tuple(clause))
            clause = []
        if joint is None:
            return Rule(tuple(clauses)), tuple(columns)


class _Scanner:
    """Reads one piece of a rule after another. What a word is depends on its place: a zone may be `2nd`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._skip_spaces()

    @property
    def column(self) -> int:
        return self._at + 1

    def term(self) -> tuple[Term, int]:
        column, word = self.column, self._take(_WORD)
        kind = word.lower()
        if kind in ("count", "unique", "score"):
            if kind == "count" and self._peek_word() == "in":
                self._take(_WORD)
                column = self.column
                return Term("count_in", self._name("zone", "count in ZONE")), column
            return Term(cast(TermKind, kind)), column
        if kind == "crossing":
            column = self.column
            name = self._name("line", "crossing LINE in")
            way = self._peek_word()
            if way in ("in", "out"):
                self._take(_WORD)
                return Term("crossing", name, cast(Direction, way)), column
            return Term("crossing", name), column
        if not word:
            found = self._text[self._at : self._at + 1]
            if found in ("(", ")"):
                raise RuleSyntaxError("rule has no brackets", column, "`and` binds tighter than `or`")
            what = f"got {found!r}" if found else "the rule ends here"
            raise RuleSyntaxError(f"rule needs a term here, {what}", column, f"terms: {_TERMS}")
        raise RuleSyntaxError(
            f"unknown term {word!r} in rule", column, suggest(word, ("count", "unique", "score", "crossing"))
        )

    def operator(self) -> Operator:
        column, sign = self.column, self._take(_SIGNS)
        if sign in NEGATED:
            return sign
        found = f"got {sign!r}" if sign else self._found()
        mend = f"write {_WRONG_SIGNS[sign]}" if sign in _WRONG_SIGNS else "use one of >= > <= < =="
        raise RuleSyntaxError(f"rule needs a comparison here, {found}", column, mend)

    def number(self, term: Term) -> float:
        column, digits = self.column, self._take(_NUMBER)
        if not digits:
            if self._text[self._at : self._at + 1] == "-":
                raise RuleSyntaxError("number in rule must not be negative", column)
            raise RuleSyntaxError(f"rule needs a number here, {self._found()}", column)
        number = float(digits)
        if not math.isfinite(number):
            raise RuleSyntaxError("number in rule is too large", column)
        if term.kind == "score" and number > 1:
            raise RuleSyntaxError(f"score in rule must be compared with 0 to 1, got {digits}", column)
        return number

    def joint(self) -> Literal["and", "or"] | None:
        if self._at == len(self._text):
            return None
        column, word = self.column, self._take(_WORD) or self._take(_SIGNS)
        if word.lower() in ("and", "or"):
            return cast(Literal["and", "or"], word.lower())
        mend = f"write {_WRONG_SIGNS[word]}" if word in _WRONG_SIGNS else ""
        found = word or self._text[self._at]
        raise RuleSyntaxError(f"rule needs `and`, `or` or its end here, got {found!r}", column, mend)

    def _name(self, what: str, example: str) -> str:
        column, word = self.column, self._take(_NAME)
        if not word or word.lower() in KEYWORDS:
            raise RuleSyntaxError(
                f"rule needs a {what}'s name here, {self._found(word)}", column, f"write {example}"
            )
        return word

    def _found(self, word: str = "") -> str:
        rest = word or self._text[self._at :].split(maxsplit=1)[0:1]
        return f"got {''.join(rest)!r}" if rest else "the rule ends here"

    def _peek_word(self) -> str:
        match = _WORD.match(self._text, self._at)
        return match.group().lower() if match else ""

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        self._skip_spaces()
        return match.group()

    def _skip_spaces(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1
