"""Durations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from firmware_cfg.base import ConfigModel, Duration, parse_duration


class Rest(ConfigModel):
    rest: Duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("3s", 3), ("0s", 0), ("1.5 s", 1.5), ("2min", 120), ("1h", 3600), (" 3s ", 3)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "3", "s", "3m", "3 sec", "-3s", "1h30min", "3s\n4s", "1e3s", "٣s", "inf s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(PydanticCustomError, match="must be a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["169h", "99999999999999999999h"])
def test_durations_beyond_a_week_are_refused(text: str) -> None:
    with pytest.raises(PydanticCustomError, match="between 0s and 168h"):
        parse_duration(text)


@given(st.floats(0, 7 * 24 * 3600))
def test_a_duration_survives_being_written_and_read(seconds: float) -> None:
    written = Rest(rest=seconds).model_dump_json()
    assert Rest.model_validate_json(written).rest == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("value", [True, None, [3], -1.0, float("nan"), float("inf")])
def test_code_gives_seconds_as_a_number_only(value: object) -> None:
    with pytest.raises(ValidationError, match="must be"):
        Rest.model_validate({"rest": value})
