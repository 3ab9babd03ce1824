"""YAML text -> model, and pydantic's errors at their places."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import BaseModel, Field

from firmware_cfg.base import ConfigModel, Duration, ExistingFile, WrittenPath
from firmware_cfg.errors import ConfigErrors
from firmware_cfg.located_yaml import load_model, load_model_text


class Wheel(ConfigModel):
    size: int = Field(gt=0)
    kind: Literal["front", "rear"] = "front"


class Cart(ConfigModel):
    habit_mends: ClassVar[dict[str, str]] = {"tyres": "call them wheels"}

    name: str
    wheels: tuple[Wheel, ...] = ()
    spare: Wheel | None = None
    loads: dict[str, Wheel] = Field({})
    pair: tuple[int, Wheel] | None = None
    rest: Duration = 0.0
    weight: Annotated[float, Field(le=9)] = 1.0


class PathCart(ConfigModel):
    manual: ExistingFile | None = None
    log: WrittenPath = Path("log")


class PlainCart(BaseModel, extra="forbid"):
    """Not one of our models: recipes of other packages are read with the same function."""

    steps: int


def cart_errors(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load_model_text(text, "c.yaml", Cart)
    return str(caught.value).splitlines()


def test_a_good_text_gives_the_model() -> None:
    cart = load_model_text("name: a\nwheels: [{size: 1}, {size: 2, kind: rear}]\nrest: 2min", "c.yaml", Cart)
    assert cart == Cart(name="a", wheels=(Wheel(size=1), Wheel(size=2, kind="rear")), rest=120.0)


def test_all_errors_come_at_once_in_the_order_of_the_file() -> None:
    lines = cart_errors("weight: 10\nwheels:\n  - size: 0\n  - kind: raer\nname: 5\nnaem: x\n")
    assert lines == [
        "c.yaml:1:9: weight must be less than or equal to 9, got 10",
        "c.yaml:3:11: size must be greater than 0, got 0",
        "c.yaml:4:5: size is missing",
        'c.yaml:4:11: kind must be front or rear, got "raer" (did you mean rear?)',
        "c.yaml:5:7: name must be text, got 5 (put it in quotes)",
        "c.yaml:6:1: unknown key naem (did you mean name?)",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\ntyres: 4", "c.yaml:2:1: unknown key tyres (call them wheels)"),
        ("name: a\nspare: {sise: 1, size: 1}", "c.yaml:2:9: unknown key sise (did you mean size?)"),
        ("name: a\nwheels: [{size: 1, knid: rear}]", "c.yaml:2:20: unknown key knid (did you mean kind?)"),
        ("name: a\nloads: {x: {size: 1, knid: rear}}", "c.yaml:2:22: unknown key knid (did you mean kind?)"),
        ("name: a\npair: [1, {size: 1, knid: rear}]", "c.yaml:2:21: unknown key knid (did you mean kind?)"),
        ("name: a\nspare: {size: 1, zzz: 1}", "c.yaml:2:18: unknown key zzz (known: kind, size)"),
        ("wheels: []", "c.yaml:1:1: name is missing"),
        ("- name", "c.yaml:1:1: the file must be a mapping, got a list of 1"),
        ("just words", 'c.yaml:1:1: the file must be a mapping, got "just words"'),
        ("name:", "c.yaml:1:6: name must be text, got nothing"),
        ("name: [a]", "c.yaml:1:7: name must be text, got a list of 1"),
        ("name: true", "c.yaml:1:7: name must be text, got true (put it in quotes)"),
        ("name: a\nspare: {size: 1.5}", "c.yaml:2:15: size must be a whole number, got 1.5"),
        ("name: a\nspare: {size: '2'}", 'c.yaml:2:15: size must be a whole number, got "2"'),
        ("name: a\nwheels: {size: 1}", "c.yaml:2:9: wheels must be a list, got a mapping"),
        ("name: a\nwheels: [5]", "c.yaml:2:10: wheels[0] must be a mapping, got 5"),
        ("name: a\nloads: []", "c.yaml:2:8: loads must be a mapping, got a list of 0"),
        ("name: a\nweight: heavy", 'c.yaml:2:9: weight must be a number, got "heavy"'),
        ("name: a\nrest: 5", "c.yaml:2:7: rest must be a duration, got 5 (a number and ms, s, min or h"),
    ],
)
def test_each_kind_of_error(text: str, line: str) -> None:
    (found,) = cart_errors(text)
    assert found.startswith(line)


def test_a_long_value_is_shortened() -> None:
    (line,) = cart_errors(f"name: a\nweight: {'x' * 500}")
    assert len(line) < 120


def test_the_python_name_of_an_alias_is_no_key() -> None:
    class Aliased(ConfigModel):
        for_: int = Field(0, alias="for")

    assert load_model_text("for: 3", "c.yaml", Aliased) == Aliased(for_=3)
    with pytest.raises(ConfigErrors, match=r"unknown key for_ \(did you mean for\?\)"):
        load_model_text("for_: 3", "c.yaml", Aliased)


def test_models_of_other_packages_are_read_too() -> None:
    assert load_model_text("steps: 3", "r.yaml", PlainCart).steps == 3
    with pytest.raises(ConfigErrors, match=r"r\.yaml:1:1: unknown key stops \(did you mean steps\?\)"):
        load_model_text("stops: 3\nsteps: 1", "r.yaml", PlainCart)


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "manual.txt").write_text("read me")
    (tmp_path / "cart.yaml").write_text("manual: manual.txt\nlog: new/log")
    cart = load_model(tmp_path / "cart.yaml", PathCart)
    assert cart == PathCart(manual=tmp_path / "manual.txt", log=tmp_path / "new" / "log")


def test_a_relative_path_must_exist_and_an_absolute_one_belongs_to_the_device(tmp_path: Path) -> None:
    path = tmp_path / "cart.yaml"
    path.write_text("manual: gone.txt")
    with pytest.raises(ConfigErrors, match=r"cart\.yaml:1:9: manual must name a file that exists"):
        load_model(path, PathCart)
    path.write_text("manual: /gone/manual.txt")
    assert load_model(path, PathCart).manual == Path("/gone/manual.txt")


def test_a_home_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cart.yaml"
    path.write_text("manual: ~nobody-of-that-name/manual.txt")
    with pytest.raises(ConfigErrors, match=r"cart\.yaml:1:9: manual must begin with the home folder"):
        load_model(path, PathCart)


def test_a_path_with_a_nul_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cart.yaml"
    path.write_text('manual: "a\\0b"')
    with pytest.raises(ConfigErrors, match=r"cart\.yaml:1:9: manual must have printable characters only"):
        load_model(path, PathCart)
