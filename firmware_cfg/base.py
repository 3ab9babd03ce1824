"""What all configuration models share: no unknown keys, immutable, and a few checked types."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

from firmware_cfg.names import IDENTIFIER, IDENTIFIER_MEND, is_identifier
from firmware_cfg.problems import must


class ConfigModel(BaseModel):
    """Base of every section of a YAML file."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)

    #: Mends for keys that people write by habit and that do not exist here.
    habit_mends: ClassVar[dict[str, str]] = {}


_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_LONGEST = 7 * 24 * 3600.0
_DURATION_MEND = "a number and ms, s, min or h: 500ms, 3s, 2min, 1h"


def parse_duration(text: str) -> float:
    """Seconds of `500ms`, `3s`, `2min` or `1h`, at most a week. Raises a pydantic `must` error."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise must("be a duration", _DURATION_MEND)
    return _in_range(float(match[1]) * _SECONDS[match[2]])


def _in_range(seconds: float) -> float:
    if not 0 <= seconds <= _LONGEST:
        raise must("be between 0s and 168h")
    return seconds


def _duration(value: object, info: ValidationInfo) -> float:
    if isinstance(value, str):
        return parse_duration(value)
    # Code may give seconds. A file may not: a bare number does not say whether milliseconds were meant.
    if info.mode == "python" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _in_range(float(value))
    raise must("be a duration", _DURATION_MEND)


def _duration_text(seconds: float) -> str:
    # To the microsecond and never with an exponent, which a duration does not have.
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def between(low: float, high: float, mend: str = "") -> AfterValidator:
    """Range check whose message names both ends."""

    def check(value: float) -> float:
        if not low <= value <= high:
            raise must(f"be between {low:g} and {high:g}", mend)
        return value

    return AfterValidator(check)


def _identifier(value: str) -> str:
    if not is_identifier(value):
        raise must("be an identifier", IDENTIFIER_MEND)
    return value


#: Seconds, written with a unit.
Duration = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(_duration_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*(ms|s|min|h)$"}),
]
#: 0 to 1.
Fraction = Annotated[float, between(0, 1), Field(json_schema_extra={"minimum": 0, "maximum": 1})]
#: 1 to 64 of a-z 0-9 _ - .
Identifier = Annotated[
    str, AfterValidator(_identifier), Field(json_schema_extra={"pattern": f"^{IDENTIFIER.pattern}$"})
]


def resolve_path(value: str | Path, info: ValidationInfo) -> Path:
    """An absolute path: relative ones start at the folder of the file being read. Raises `must` errors.

    Without such a folder (a list that came over MQTT, a model made by code) a relative path stays as it is.
    """
    if not str(value).isprintable():
        raise must("have printable characters only")
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:
        raise must("begin with the home folder of a user that exists") from error
    base = (info.context or {}).get("base")
    return path if base is None else Path(base, path).absolute()


def is_of_this_tree(value: str | Path) -> bool:
    """Whether a path must exist where the file is checked: absolute ones belong to the device that flies."""
    return not Path(value).is_absolute() and not str(value).startswith("~")


def _resolve(
    exists: Callable[[Path], bool], what: str, *, secret: bool = False
) -> Callable[[Path, ValidationInfo], Path]:
    def resolve(value: Path, info: ValidationInfo) -> Path:
        path = resolve_path(value, info)
        if is_of_this_tree(value) and path.is_absolute() and not exists(path):
            raise must(f"name {what} that exists", "" if secret else f"looked for {path}")
        return path

    return resolve


#: A path relative to the file that names it; relative ones must exist.
ExistingFile = Annotated[Path, AfterValidator(_resolve(Path.is_file, "a file"))]
#: The same, never repeated in a message: people write the password itself where its file belongs.
SecretFile = Annotated[Path, AfterValidator(_resolve(Path.is_file, "a file", secret=True))]
#: A path relative to the file that names it, made when it is first written.
WrittenPath = Annotated[Path, AfterValidator(_resolve(lambda _: True, ""))]


def _side(value: int) -> int:
    if value % 32 or not 32 <= value <= 4096:
        raise must("be a multiple of 32 between 32 and 4096", "the model's grid needs it")
    return value


Side = Annotated[int, AfterValidator(_side)]


def _image_size(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise must("be [width, height]")
        return tuple(value)
    return value


#: [width, height] of the model's input in pixels, multiples of 32.
ImageSize = Annotated[tuple[Side, Side], BeforeValidator(_image_size)]
