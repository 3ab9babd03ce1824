"""The types of a prompt list's fields: each checks one value and says what is wrong with it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from firmware_cfg.base import Identifier, between
from firmware_cfg.geometry import SMALLEST_AREA, SMALLEST_LENGTH, crosses_itself, line_length, polygon_area
from firmware_cfg.problems import must, stated
from firmware_cfg.rules import KEYWORDS, RuleSyntaxError, parse_rule

MAX_TEXTS = 32
MAX_TEXT_LENGTH = 400
MAX_POINTS = 64


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
Coordinate = Annotated[
    float,
    between(0, 1, "fractions of the frame, not pixels"),
    Field(json_schema_extra={"minimum": 0, "maximum": 1}),
]
PointXY = Annotated[tuple[Coordinate, Coordinate], BeforeValidator(_point)]
Polygon = Annotated[tuple[PointXY, ...], AfterValidator(_polygon)]
LineXY = Annotated[tuple[PointXY, ...], AfterValidator(_line)]
AreaName = Annotated[Identifier, AfterValidator(_area_name)]
RuleText = Annotated[str, AfterValidator(_rule_text)]
