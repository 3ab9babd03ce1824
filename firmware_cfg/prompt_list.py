"""Prompt lists: what a field engineer writes to say what to look for, and when to raise an alert."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from firmware_cfg.base import ConfigModel, Duration, Fraction, Identifier, ImageSize
from firmware_cfg.located_yaml import load_model_text, read_config_bytes
from firmware_cfg.names import suggest
from firmware_cfg.problems import Finding, must, raise_findings, stated
from firmware_cfg.prompt_fields import LINES, ZONES, AreaName, Line, RuleText, Sentence, Texts, Zone
from firmware_cfg.rules import Rule, Term, parse_located, parse_rule

MAX_ROWS = 1000
"""Rows of a list, whatever the model: `Prompt.rows`, and one for each background sentence."""
GRAPH_ROWS = 256
"""Rows that the model itself looks for in every cell; those of a longer list are read where these peak."""

Severity = Literal["info", "warning", "critical"]
Kind = Literal["object", "scene"]


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

    def located_terms(self) -> Iterator[tuple[str, str, Term, int]]:
        """Key (`when`, `clear`), its text, and each term in it with its column from 1."""
        for key, text in (("when", self.when), ("clear", self.clear)):
            if text is not None:
                for term, column in parse_located(text)[1]:
                    yield key, text, term, column

    @model_validator(mode="after")
    def _rules_make_sense(self) -> AlertRule:
        raise_findings("AlertRule", self._findings())
        return self

    def _findings(self) -> Iterator[Finding]:
        when = self.when_rule
        if len(when.terms) == 1 and when.common_value(when) is None:
            yield Finding(("when",), stated("this rule can never hold"), self.when)
            return
        shared = when.common_value(self.clear_rule)
        if shared is not None:
            error = stated(
                f"clear and when both hold at {when.terms[0]} = {shared:g}: this would flicker",
                f"the default for clear is `{when.negated()}`",
            )
            yield Finding(("clear",), error, self.clear)


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
    bias: float = Field(
        0.0,
        ge=-20,
        le=20,
        description="Added to the log-odds of this prompt's scores; `prompts tune` finds it from marks.",
    )
    temperature: float = Field(
        1.0,
        ge=0.05,
        le=20,
        description="Divides the log-odds of its scores, bias included: above 1 they are less extreme.",
    )
    alerts: tuple[AlertRule, ...] = Field((), description="When to raise alerts on this prompt.")

    @property
    def rows(self) -> int:
        """How many rows it takes: `match: any` one a text, `mean` one for all of them."""
        return len(self.text) if self.match == "any" else 1

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Prompt:
        raise_findings("Prompt", self._findings())
        return self

    def _findings(self) -> Iterator[Finding]:
        review, threshold = self.review_below, self.threshold
        if review is not None and threshold is not None and review < threshold:
            error = stated(
                f"review_below {review:g} is below threshold {threshold:g}",
                "no score counts that is below both: raise review_below or remove it",
            )
            yield Finding(("review_below",), error, review)
        if self.kind == "object":
            return
        for number, alert in enumerate(self.alerts):
            for key, text, term, column in alert.located_terms():
                if term.kind != "score":
                    error = stated(
                        f"a scene prompt has no {term}", "use score, or kind: object", column=column
                    )
                    yield Finding(("alerts", number, key), error, text)
            if alert.zones:
                error = stated("a scene prompt has no zones", "remove zones, or use kind: object")
                yield Finding(("alerts", number, "zones"), error, alert.zones)


class PromptList(ConfigModel):
    """A whole prompt list file."""

    version: Literal[1] = Field(1, description="Version of this format.")
    prompts: tuple[Prompt, ...] = Field(description="1 to 1000 prompts.")
    background: tuple[Sentence, ...] = Field(
        (), description="What is not looked for, so that prompts compete with it: `bare ground`, `a roof`."
    )
    image_size: ImageSize | None = Field(
        None,
        description="Model input [width, height] that suits how large these things are in the frame: small "
        "for what fills much of it, large for what is tiny; default: the bundle's best.",
    )
    zones: dict[AreaName, Zone] = Field({}, description=ZONES)
    lines: dict[AreaName, Line] = Field({}, description=LINES)

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

    def _list_findings(self) -> Iterator[Finding]:
        if not self.prompts:
            yield Finding(("prompts",), must("have at least one prompt"), self.prompts)
        yield from self._row_findings()
        taken: set[str] = set()
        for number, prompt in enumerate(self.prompts):
            if prompt.id in taken:
                error = stated(
                    f"prompt id {prompt.id} is already taken", "every prompt needs an id of its own"
                )
                yield Finding(("prompts", number, "id"), error, prompt.id)
            taken.add(prompt.id)
        owners = {text.casefold(): prompt.id for prompt in self.prompts for text in prompt.text}
        for number, text in enumerate(self.background):
            owner = owners.get(text.casefold())
            if owner is not None:
                error = stated(
                    f"this is what prompt {owner} looks for, so it would never be found", "remove it"
                )
                yield Finding(("background", number), error, text)

    def _row_findings(self) -> Iterator[Finding]:
        """At most one, at the first part of the list that is too many."""
        parts = [(("prompts", number), prompt.rows) for number, prompt in enumerate(self.prompts)]
        parts += [(("background", number), 1) for number in range(len(self.background))]
        needed = list(accumulate(rows for _, rows in parts))
        for (loc, _), rows in zip(parts, needed, strict=True):
            if rows > MAX_ROWS:
                error = stated(
                    f"this list needs {needed[-1]} rows, a list has at most {MAX_ROWS}",
                    "use fewer prompts or background sentences, or match: mean where texts are paraphrases",
                )
                yield Finding(loc, error)
                return

    def _name_findings(self) -> Iterator[Finding]:
        for number, prompt in enumerate(self.prompts):
            for place, alert in enumerate(prompt.alerts):
                loc = ("prompts", number, "alerts", place)
                for index, zone in enumerate(alert.zones):
                    if zone not in self.zones:
                        yield Finding((*loc, "zones", index), self._unknown("zone", zone, 0), zone)
                for key, text, term, column in alert.located_terms():
                    if term.kind == "count_in" and term.name not in self.zones:
                        yield Finding((*loc, key), self._unknown("zone", str(term.name), column), text)
                    elif term.kind == "crossing" and term.name not in self.lines:
                        yield Finding((*loc, key), self._unknown("line", str(term.name), column), text)

    def _unknown(self, what: Literal["zone", "line"], name: str, column: int) -> PydanticCustomError:
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
