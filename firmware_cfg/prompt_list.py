"""Prompt lists: what a field engineer writes to say what to look for, and when to raise an alert."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from firmware_cfg.base import ConfigModel, Duration, Fraction, Identifier
from firmware_cfg.geometry import (
    SMALLEST_AREA,
    SMALLEST_LENGTH,
    crosses_itself,
    line_length,
    polygon_area,
)
from firmware_cfg.located_yaml import load_model_text, read_config_bytes
from firmware_cfg.names import suggest
from firmware_cfg.problems import Finding, must, raise_findings, stated
from firmware_cfg.rules import KEYWORDS, Rule, RuleSyntaxError, Term, parse_located, parse_rule

MAX_PROMPTS = 1000
MAX_TEXTS = 32
MAX_TEXT_LENGTH = 400
MAX_POINTS = 64

Severity = Literal["info", "warning", "critical"]
Kind = Literal["object", "scene"]


def _sentence(value: str) -> str:
    text = " ".join(value.split())
    if not text:
        raise must("not be empty", "write what to look for in plain words")
    if len(text) > MAX_TEXT_LENGTH:
        raise must(f"be at most {MAX_TEXT_LENGTH} characters", "the text model reads only its beginning")
    if not text.isprintable():
        raise must("have printable characters only")
    return text


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple)):
        raise must("be a text or a list of texts")
    if not 1 <= len(value) <= MAX_TEXTS:
        raise must(f"have 1 to {MAX_TEXTS} texts")
    return tuple(value)


def _point(value: Any) -> Any:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise must("be a point [x, y]", "fractions of the frame, 0 to 1")
    return tuple(value)


def _polygon(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if not 3 <= len(points) <= MAX_POINTS:
        raise must(f"have 3 to {MAX_POINTS} points", "a zone is a polygon")
    if crosses_itself(points):
        raise stated("the edges of this zone cross", "write its points in order around the zone")
    if polygon_area(points) < SMALLEST_AREA:
        raise stated("this zone has no area", "its points lie on one line")
    return points


def _line(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if len(points) != 2:
        raise must("have exactly 2 points", "a line goes from one point to another")
    if line_length(points) < SMALLEST_LENGTH:
        raise stated("this line has no length", "its two points are the same")
    return points


def _area_name(value: str) -> str:
    if value in KEYWORDS:
        raise stated(f"{value} is a word of the rule language", "choose another name")
    return value


def _rule_text(value: str) -> str:
    try:
        parse_rule(value)
    except RuleSyntaxError as error:
        raise stated(error.problem, error.mend, column=error.column) from error
    return value


Sentence = Annotated[str, AfterValidator(_sentence)]
Texts = Annotated[
    tuple[Sentence, ...],
    BeforeValidator(_texts),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]
PointXY = Annotated[tuple[Fraction, Fraction], BeforeValidator(_point)]
Polygon = Annotated[tuple[PointXY, ...], AfterValidator(_polygon)]
LineXY = Annotated[tuple[PointXY, ...], AfterValidator(_line)]
AreaName = Annotated[Identifier, AfterValidator(_area_name)]
RuleText = Annotated[str, AfterValidator(_rule_text)]


class AlertRule(ConfigModel):
    """When to raise an alert and when to end it."""

    when: RuleText = Field(description="Rule that raises the alert, such as `count >= 5`.")
    for_: Duration = Field(
        0.0, alias="for", description="How long `when` must hold before the alert is raised."
    )
    clear: RuleText | None = Field(
        None, description="Rule that ends the alert; default: `when` no longer holds."
    )
    cooldown: Duration = Field(0.0, description="How long after its end the alert is not raised again.")
    severity: Severity = Field("warning", description="CAP severity: Minor, Moderate or Severe.")
    zones: tuple[str, ...] = Field(
        (), description="Restricts `count` and `score` of this alert to these zones."
    )

    @cached_property
    def when_rule(self) -> Rule:
        """`when`, parsed."""
        return parse_rule(self.when)

    @cached_property
    def clear_rule(self) -> Rule:
        """`clear`, parsed; the negation of `when` where it is left out."""
        return self.when_rule.negated() if self.clear is None else parse_rule(self.clear)

    @model_validator(mode="after")
    def _when_and_clear_exclude_each_other(self) -> AlertRule:
        shared = self.when_rule.common_value(self.clear_rule)
        if shared is not None:
            error = stated(
                f"clear and when both hold at {self.when_rule.terms[0]} = {shared:g}: this would flicker",
                f"the default for clear is `{self.when_rule.negated()}`",
            )
            raise_findings("AlertRule", [Finding(("clear",), error, self.clear)])
        return self


class Prompt(ConfigModel):
    """One thing to look for."""

    habit_mends: ClassVar[dict[str, str]] = {
        "name": "a prompt's name is its id",
        "prompt": "the sentence goes under text",
        "alert": "did you mean alerts? It is a list",
    }

    id: Identifier = Field(description="Name of the prompt in counts, topics and events.")
    text: Texts = Field(description="What to look for, in plain words: one sentence or several.")
    kind: Kind = Field("object", description="object: places in the frame; scene: the frame as a whole.")
    match: Literal["mean", "any"] = Field(
        "mean",
        description="mean: the texts are paraphrases; any: they are alternatives, the best one counts.",
    )
    threshold: Fraction | None = Field(
        None, description="Lowest calibrated score that counts; default: from the bundle's null bank."
    )
    review_below: Fraction | None = Field(
        None, description="Below this score an alert's certainty is `possible`: a person should look."
    )
    alerts: tuple[AlertRule, ...] = Field((), description="When to raise alerts on this prompt.")

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Prompt:
        raise_findings("Prompt", self._findings())
        return self

    def _findings(self) -> list[Finding]:
        found = []
        if None not in (self.threshold, self.review_below) and self.review_below < self.threshold:  # type: ignore[operator]
            error = stated(
                f"review_below {self.review_below:g} is below threshold {self.threshold:g}",
                "nothing is ever scored between them: raise review_below or remove it",
            )
            found.append(Finding(("review_below",), error, self.review_below))
        if self.kind == "scene":
            for number, alert in enumerate(self.alerts):
                for key, text in (("when", alert.when), ("clear", alert.clear)):
                    for term, column in parse_located(text)[1] if text is not None else ():
                        if term.kind != "score":
                            error = stated(
                                f"a scene prompt has no {term}", "use score, or kind: object", column=column
                            )
                            found.append(Finding(("alerts", number, key), error, text))
                if alert.zones:
                    error = stated("a scene prompt has no zones", "remove zones, or use kind: object")
                    found.append(Finding(("alerts", number, "zones"), error, alert.zones))
        return found


class PromptList(ConfigModel):
    """A whole prompt list file."""

    version: Literal[1] = Field(1, description="Version of this format.")
    prompts: tuple[Prompt, ...] = Field(description="1 to 1,000 prompts.")
    background: tuple[Sentence, ...] = Field(
        (), description="What is not looked for, so that prompts compete with it: `bare ground`, `a roof`."
    )
    zones: dict[AreaName, Polygon] = Field(
        {}, description="Polygons in fractions of the frame, x right, y down."
    )
    lines: dict[AreaName, LineXY] = Field(
        {}, description="Directed lines; `in` crosses from their left to right."
    )

    def prompt(self, prompt_id: str) -> Prompt:
        """The prompt of that id. Raises KeyError."""
        for prompt in self.prompts:
            if prompt.id == prompt_id:
                return prompt
        raise KeyError(prompt_id)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> PromptList:
        raise_findings("PromptList", [*self._list_findings(), *self._name_findings()])
        return self

    def _list_findings(self) -> list[Finding]:
        found = []
        if not self.prompts:
            found.append(Finding(("prompts",), must("have at least one prompt"), self.prompts))
        if len(self.prompts) > MAX_PROMPTS:
            error = must(f"have at most {MAX_PROMPTS} prompts", "split the list between devices or flights")
            found.append(Finding(("prompts",), error, self.prompts))
        first: dict[str, int] = {}
        for number, prompt in enumerate(self.prompts):
            if first.setdefault(prompt.id, number) != number:
                error = stated(
                    f"prompt id {prompt.id} is already taken", "every prompt needs an id of its own"
                )
                found.append(Finding(("prompts", number, "id"), error, prompt.id))
        return found

    def _name_findings(self) -> list[Finding]:
        found = []
        for number, prompt in enumerate(self.prompts):
            for place, alert in enumerate(prompt.alerts):
                loc = ("prompts", number, "alerts", place)
                for index, zone in enumerate(alert.zones):
                    if zone not in self.zones:
                        found.append(Finding((*loc, "zones", index), self._unknown("zone", zone, 0), zone))
                for key, text in (("when", alert.when), ("clear", alert.clear)):
                    for term, column in parse_located(text)[1] if text is not None else ():
                        error = self._unknown_in(term, column)
                        if error is not None:
                            found.append(Finding((*loc, key), error, text))
        return found

    def _unknown_in(self, term: Term, column: int) -> Any:
        if term.kind == "count_in" and term.name not in self.zones:
            return self._unknown("zone", str(term.name), column)
        if term.kind == "crossing" and term.name not in self.lines:
            return self._unknown("line", str(term.name), column)
        return None

    def _unknown(self, what: str, name: str, column: int) -> Any:
        known = self.zones if what == "zone" else self.lines
        mend = suggest(name, known) if known else f"this list has no {what}s: add it under {what}s:"
        return stated(f"there is no {what} {name}", mend, column=column)


@dataclass(frozen=True, slots=True)
class LoadedPromptList:
    """A valid list and the SHA-256 (hex) of the very bytes it was read from."""

    path: str
    model: PromptList
    sha256: str


def load_prompt_list(path: str | Path) -> LoadedPromptList:
    """Read a prompt list file. Raises ConfigErrors."""
    return load_prompt_bytes(read_config_bytes(path), str(path))


def load_prompt_bytes(data: bytes, name: str) -> LoadedPromptList:
    """Read a prompt list that did not come from a file; errors call it `name`. Raises ConfigErrors."""
    return LoadedPromptList(name, load_model_text(data, name, PromptList), hashlib.sha256(data).hexdigest())
