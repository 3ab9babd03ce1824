"""The types of a prompt list's fields: each checks one value and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from firmware_cfg.base import ConfigModel, Identifier, between
from firmware_cfg.geometry import (
    LARGEST_GROUND_M,
    SMALLEST_AREA,
    SMALLEST_GROUND_M,
    SMALLEST_LENGTH,
    Point,
    crosses_itself,
    line_length,
    metres,
    polygon_area,
    width,
)
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


def _place(value: Any) -> Any:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise must("be a place [latitude, longitude]", "degrees, WGS 84")
    return tuple(value)


def _polygon(points: tuple[Point, ...]) -> tuple[Point, ...]:
    _check_polygon(points)
    if polygon_area(points) < SMALLEST_AREA:
        raise stated("this zone has no area", "its points lie on one line")
    return points


def _check_polygon(points: Sequence[Point]) -> None:
    if not 3 <= len(points) <= MAX_POINTS:
        raise must(f"have 3 to {MAX_POINTS} points", "a zone is a polygon")
    if crosses_itself(points):
        raise stated("the edges of this zone cross", "write its points in order around the zone")


def _line(points: tuple[Point, ...]) -> tuple[Point, ...]:
    _check_two(points)
    if line_length(points) < SMALLEST_LENGTH:
        raise stated("this line has no length", "its two points are the same")
    return points


def _check_two(points: Sequence[Point]) -> None:
    if len(points) != 2:
        raise must("have exactly 2 points", "a line goes from one point to another")


def _ground_polygon(places: tuple[Point, ...]) -> tuple[Point, ...]:
    if places:
        points = metres(places)
        _check_polygon(points)
        _check_width("zone", points)
        if polygon_area(points) < SMALLEST_GROUND_M**2:
            raise stated("this zone has no area", "its points are less than a square metre")
    else:
        _check_polygon(places)
    return places


def _ground_line(places: tuple[Point, ...]) -> tuple[Point, ...]:
    _check_two(places)
    points = metres(places)
    _check_width("line", points)
    if line_length(points) < SMALLEST_GROUND_M:
        raise stated("this line has no length", "its two points are less than a metre apart")
    return places


def _check_width(what: str, points: Sequence[Point]) -> None:
    across = width(points)
    if across > LARGEST_GROUND_M:
        mend = "every place is [latitude, longitude]: is one of them the other way round?"
        raise stated(f"this {what} is {across / 1000:.0f} km wide", mend)


def _where(value: Any) -> str:
    return "ground" if isinstance(value, (dict, ConfigModel)) else "image"


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
Latitude = Annotated[
    float,
    between(-90, 90, "latitude comes first, in degrees"),
    Field(json_schema_extra={"minimum": -90, "maximum": 90}),
]
Longitude = Annotated[
    float,
    between(-180, 180, "degrees, east is positive"),
    Field(json_schema_extra={"minimum": -180, "maximum": 180}),
]
PlaceOnEarth = Annotated[tuple[Latitude, Longitude], BeforeValidator(_place)]


class GroundZone(ConfigModel):
    """A zone that stays where it is on the ground, wherever the camera looks."""

    ground: Annotated[tuple[PlaceOnEarth, ...], AfterValidator(_ground_polygon)] = Field(
        description="Polygon of [latitude, longitude] in degrees, WGS 84; it needs telemetry."
    )


class GroundLine(ConfigModel):
    """A directed line that stays where it is on the ground."""

    ground: Annotated[tuple[PlaceOnEarth, ...], AfterValidator(_ground_line)] = Field(
        description="From one [latitude, longitude] to another, in degrees, WGS 84; it needs telemetry."
    )


Zone = Annotated[
    Annotated[Polygon, Tag("image")] | Annotated[GroundZone, Tag("ground")], Discriminator(_where)
]
Line = Annotated[
    Annotated[LineXY, Tag("image")] | Annotated[GroundLine, Tag("ground")], Discriminator(_where)
]
ZONES = (
    "Polygons: in the image as fractions of the frame, x right, y down; or {ground: [...]}, "
    "[latitude, longitude] of places, which stays where it is when the camera moves."
)
LINES = (
    "Directed lines, in the image or {ground: [...]}; `in` crosses from their left to right. One in the "
    "image counts what passes it, also where only the camera moves; but a thing that stands only once."
)
AreaName = Annotated[Identifier, AfterValidator(_area_name)]
RuleText = Annotated[str, AfterValidator(_rule_text)]
