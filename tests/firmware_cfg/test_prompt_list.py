"""Prompt lists."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from firmware_cfg.errors import ConfigErrors
from firmware_cfg.prompt_fields import GroundLine, GroundZone
from firmware_cfg.prompt_list import (
    MAX_ROWS,
    AlertRule,
    Prompt,
    PromptList,
    load_prompt_bytes,
    load_prompt_list,
)
from firmware_cfg.rules import parse_rule

DESIGN_EXAMPLE = """
version: 1
prompts:
  - id: vehicle
    kind: object
    text: ["a car seen from above", "a truck seen from above"]
    match: mean
    threshold: 0.35
    review_below: 0.5
    alerts:
      - when: "count >= 5"
        for: 3s
        clear: "count < 3"
        cooldown: 60s
        severity: warning
        zones: [gate]
background: ["bare ground", "a roof"]
zones: {gate: [[0.1, 0.2], [0.4, 0.2], [0.4, 0.6]]}
lines: {road: [[0.0, 0.5], [1.0, 0.5]]}
"""


def list_errors(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load_prompt_bytes(text.encode(), "p.yaml")
    return str(caught.value).splitlines()


def test_the_example_of_the_design_is_valid() -> None:
    prompts = load_prompt_bytes(DESIGN_EXAMPLE.encode(), "p.yaml").model
    (prompt,) = prompts.prompts
    assert prompts.prompt("vehicle") is prompt
    assert prompt.text == ("a car seen from above", "a truck seen from above")
    assert (prompt.threshold, prompt.review_below) == (0.35, 0.5)
    (alert,) = prompt.alerts
    assert (alert.for_, alert.cooldown, alert.severity, alert.zones) == (3.0, 60.0, "warning", ("gate",))
    assert alert.when_rule == parse_rule("count >= 5")
    assert alert.clear_rule == parse_rule("count < 3")
    assert prompts.background == ("bare ground", "a roof")
    assert prompts.zones == {"gate": ((0.1, 0.2), (0.4, 0.2), (0.4, 0.6))}
    assert prompts.lines == {"road": ((0.0, 0.5), (1.0, 0.5))}


def test_only_id_and_text_are_required() -> None:
    (prompt,) = load_prompt_bytes(b"prompts: [{id: a, text: a car}]", "p.yaml").model.prompts
    assert prompt == Prompt(id="a", text=("a car",))
    assert (prompt.kind, prompt.match, prompt.threshold, prompt.review_below) == (
        "object",
        "mean",
        None,
        None,
    )
    assert prompt.alerts == ()


def test_clear_is_the_negation_of_when_unless_given() -> None:
    assert AlertRule(when="count >= 5").clear_rule == parse_rule("count < 5")


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(DESIGN_EXAMPLE.encode())
    loaded = load_prompt_list(path)
    assert loaded.path == str(path)
    assert loaded.sha256 == hashlib.sha256(DESIGN_EXAMPLE.encode()).hexdigest()
    assert loaded.sha256 != load_prompt_bytes(DESIGN_EXAMPLE.encode() + b"#", "p.yaml").sha256


def test_a_list_survives_being_written_as_json_and_read_again() -> None:
    prompts = load_prompt_bytes(DESIGN_EXAMPLE.encode(), "p.yaml").model
    written = prompts.model_dump_json(by_alias=True)
    assert json.loads(written)["prompts"][0]["alerts"][0]["for"] == "3s"
    assert load_prompt_bytes(written.encode(), "p.json").model == prompts


def test_spaces_inside_a_text_are_evened_out() -> None:
    loaded = load_prompt_bytes(
        b"prompts:\n  - id: a\n    text: >\n      a car\n      seen  from above\n", "p.yaml"
    )
    assert loaded.model.prompts[0].text == ("a car seen from above",)


def test_an_unknown_prompt_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        PromptList(prompts=(Prompt(id="a", text=("b",)),)).prompt("c")


def test_code_gets_the_same_checks() -> None:
    one = Prompt(id="a", text=("a car",))
    with pytest.raises(ValidationError, match="prompt id a is already taken"):
        PromptList(prompts=(one, one))
    with pytest.raises(ValidationError, match="there is no zone gate"):
        PromptList(prompts=(Prompt(id="a", text=("b",), alerts=(AlertRule(when="count in gate > 1"),)),))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prompts: []", "p.yaml:1:10: prompts must have at least one prompt, got a list of 0"),
        ("zones: {}", "p.yaml:1:1: prompts is missing"),
        ("prompts: [{text: a}]", "p.yaml:1:11: id is missing"),
        ("prompts: [{id: a}]", "p.yaml:1:11: text is missing"),
        ("prompts: [{id: a/b, text: a}]", 'p.yaml:1:16: id must be an identifier, got "a/b"'),
        ("prompts: [{id: '+', text: a}]", 'p.yaml:1:16: id must be an identifier, got "+"'),
        (f"prompts: [{{id: {'a' * 65}, text: a}}]", "p.yaml:1:16: id must be an identifier"),
        ('prompts: [{id: a, text: "a\\u0007b"}]', "p.yaml:1:25: text must have printable characters only"),
        (f"prompts: [{{id: a, text: {'a' * 401}}}]", "p.yaml:1:25: text must be at most 400 characters"),
        (f"prompts: [{{id: a, text: {['a'] * 33}}}]", "p.yaml:1:25: text must have 1 to 32 texts"),
        ("prompts: [{id: a, text: a, name: b}]", "p.yaml:1:28: unknown key name (a prompt's name is its id)"),
        ("prompts: [{id: a, text: a, kind: scenes}]", "p.yaml:1:34: kind must be object or scene"),
        ("prompts: [{id: a, text: a}]\nbackground: [A]", "p.yaml:2:14: this is what prompt a looks for"),
        (
            "prompts: [{id: a, text: a}]\nzones: {in: [[0, 0], [1, 0], [1, 1]]}",
            "p.yaml:2:9: in is a word of the",
        ),
        (
            "prompts: [{id: a, text: a}]\nzones: {G: [[0, 0], [1, 0], [1, 1]]}",
            "p.yaml:2:9: G must be an identifier",
        ),
        (
            "prompts: [{id: a, text: a}]\nlines: {l: [[0, 0], [1, 0], [1, 1]]}",
            "p.yaml:2:12: l must have exactly 2",
        ),
        (
            "prompts: [{id: a, text: a}]\nlines: {l: [[0, 0], 1]}",
            "p.yaml:2:21: l[1] must be a point [x, y], got 1",
        ),
        (
            "prompts: [{id: a, text: a, alerts: [{when: crossing l > 1}]}]",
            "p.yaml:1:53: there is no line l (this list has no lines: add it under lines:)",
        ),
        (
            "prompts: [{id: a, text: a, alerts: [{when: count > 1, clear: count in z < 1}]}]",
            "p.yaml:1:71: there is no zone z (this list has no zones: add it under zones:)",
        ),
        (
            "prompts: [{id: a, text: a, kind: scene, alerts: [{when: score > 0.5, clear: unique < 1}]}]",
            "p.yaml:1:77: a scene prompt has no unique (use score, or kind: object)",
        ),
    ],
)
def test_mistakes(text: str, line: str) -> None:
    (found,) = list_errors(text)
    assert found.startswith(line)


@pytest.mark.parametrize("rule", ["score > 1", "count < 0", "count == 2.5", "unique > 5 and unique < 3"])
def test_a_rule_that_can_never_hold_is_a_mistake(rule: str) -> None:
    (line,) = list_errors(f"prompts: [{{id: a, text: a, alerts: [{{when: {rule}}}]}}]")
    assert line == "p.yaml:1:44: this rule can never hold"


@pytest.mark.parametrize(
    "rule", ["count >= 0", "count > 2 and count < 4", "count < 1 or count > 5", "score == 1"]
)
def test_a_rule_that_can_hold_is_none(rule: str) -> None:
    text = f"prompts: [{{id: a, text: a, alerts: [{{when: {rule}}}]}}]"
    assert load_prompt_bytes(text.encode(), "p.yaml").model.prompts[0].alerts[0].when == rule


def test_a_scene_prompt_may_alert_on_its_score() -> None:
    text = b"prompts: [{id: a, text: a, kind: scene, alerts: [{when: score >= 0.6, clear: score < 0.4}]}]"
    assert load_prompt_bytes(text, "p.yaml").model.prompts[0].kind == "scene"


def test_the_number_of_rows_is_limited_with_the_place_of_the_first_too_many() -> None:
    most = "prompts:\n" + "".join(f"  - {{id: p{n}, text: [thing, it {n}]}}\n" for n in range(MAX_ROWS))
    assert len(load_prompt_bytes(most.encode(), "p.yaml").model.prompts) == MAX_ROWS
    needs = "this list needs 1001 rows, a list has at most 1000 (use fewer prompts or background"
    (line,) = list_errors(most + "  - {id: more, text: more}\n")
    assert line.startswith(f"p.yaml:1002:5: {needs}")
    (line,) = list_errors(most + "background: [grass]\n")
    assert line.startswith(f"p.yaml:1002:14: {needs}")
    (line,) = list_errors(most.replace("]}", "], match: any}", 1))
    assert line.startswith(f"p.yaml:1001:5: {needs}")


@given(st.floats())
def test_a_threshold_is_a_fraction(value: float) -> None:
    if 0 <= value <= 1:
        assert Prompt(id="a", text=("b",), threshold=value).threshold == value
    else:
        with pytest.raises(ValidationError, match="must be between 0 and 1"):
            Prompt(id="a", text=("b",), threshold=value)


def test_zones_and_lines_on_the_ground() -> None:
    zone, line = "[[47.1, 8.1], [47.1, 8.2], [47.2, 8.2]]", "[[1.0, 179.999], [1.0, -179.999]]"
    areas = f"zones: {{yard: {{ground: {zone}}}}}\nlines: {{road: {{ground: {line}}}}}\n"
    model = load_prompt_bytes(f"version: 1\nprompts: [{{id: a, text: a}}]\n{areas}".encode(), "p.yaml").model
    assert model.zones == {"yard": GroundZone(ground=((47.1, 8.1), (47.1, 8.2), (47.2, 8.2)))}
    assert model.lines == {"road": GroundLine(ground=((1.0, 179.999), (1.0, -179.999)))}
    assert PromptList.model_validate_json(model.model_dump_json(by_alias=True)) == model


@pytest.mark.parametrize(
    ("areas", "error"),
    [
        ("zones: {g: {grond: []}}", "2:13: unknown key grond (did you mean ground?)"),
        ("zones: {g: {}}", "2:12: ground is missing"),
        ("zones: {g: {ground: []}}", "2:21: ground must have 3 to 64 points"),
        (
            "zones: {g: {ground: [[47, 8], [97, 8], [47, 9]]}}",
            "2:32: ground[1][0] must be between -90",
        ),
        ("zones: {g: {ground: [[47, 8], [8, 47], [47, 9]]}}", "2:21: this zone is"),
        ("zones: {g: {ground: [[1, 1], [1, 1], [1, 1]]}}", "2:21: this zone has no area"),
        (
            "zones: {g: {ground: [[1, 1], [2, 2], 3]}}",
            "2:38: ground[2] must be a place [latitude",
        ),
        ("lines: {l: {ground: [[47, 8], [47, 8]]}}", "2:21: this line has no length"),
        ("lines: {l: {ground: [[47, 8]]}}", "2:21: ground must have exactly 2 points"),
        ("zones: {g: [[0, 0], [1, 1.5], [1, 0]]}", "2:25: g[1][1] must be between 0 and 1"),
        ("zones: {g: [[0, 0], [1, 0], [1, 0]]}", "2:12: this zone has no area"),
        ("lines: {l: [[0, 0], [0, 0]]}", "2:12: this line has no length"),
    ],
)
def test_mistakes_in_zones_and_lines_point_at_the_very_value(areas: str, error: str) -> None:
    found = list_errors(f"prompts: [{{id: a, text: a}}]\n{areas}")
    assert len(found) <= 2
    assert f"p.yaml:{error}" in "\n".join(found)
