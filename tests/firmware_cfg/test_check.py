"""`remoteclip check`: every file in tests/data/bad_*.yaml is a mistake that an engineer makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.cli import app
from firmware_cfg.check import check_file, remark_of

DATA = Path(__file__).resolve().parents[1] / "data"

#: File -> the beginning of each error, in order.
MISTAKES: dict[str, list[str]] = {
    "bad_device.yaml": [
        '2:9: device must be an identifier, got "Drone 1" (use 1 to 64 of',
        '5:9: drop must be auto, oldest or never, got "newest"',
        '6:10: prompts must name a file that exists, got "no_such_list.yaml" (looked for ',
        "8:9: name must be openvino, onnxruntime, tensorrt, onnxruntime-cuda or onnxruntime-tensorrt, got",
        "9:21: image_size[1] must be a multiple of 32 between 32 and 4096, got 360 (",
        "11:8: url must not carry a user name or password (use username and password_env or password_file)",
        "12:3: unknown key password (passwords do not belong into this file: use password_env or",
        "13:14: keepalive must be a duration, got 30 (a number and ms, s, min or h",
    ],
    "bad_device_signature.yaml": [
        "1:1: the default bundle is not signed (sign it with your key and name its folder here)",
        "3:20: require_signature needs trusted_keys (list the public keys that may sign bundles)",
    ],
    "bad_device_tls.yaml": [
        "5:14: keepalive must be between 5s and 1h",
        "6:8: tls needs a url that begins with mqtts://",
        "8:18: password_env is given too (keep one of them)",
    ],
    "bad_duplicate_id.yaml": ["6:9: prompt id boat is already taken (every prompt needs an id of its own)"],
    "bad_duplicate_key.yaml": [
        "4:5: key text is given twice (first on line 3)",
        "6:1: key background is given twice (first on line 5)",
    ],
    "bad_duration.yaml": [
        "6:14: for must be a duration, got 3 (a number and ms, s, min or h: 500ms, 3s, 2min, 1h)",
        '7:19: cooldown must be a duration, got "1:30" (',
        '9:14: for must be a duration, got "5m" (',
        '10:19: cooldown must be between 0s and 168h, got "400h"',
    ],
    "bad_empty_text.yaml": [
        '3:35: text[1] must not be empty, got "  " (write what to look for in plain words)',
        '5:11: text must not be empty, got ""',
        "7:11: text must have 1 to 32 texts, got a list of 0",
        "9:10: text must be a text or a list of texts, got nothing",
    ],
    "bad_neither.yaml": ["1:1: cannot tell whether this is a prompt list or a device file ("],
    "bad_polygon.yaml": [
        "6:9: gate must have 3 to 64 points, got a list of 2 (a zone is a polygon)",
        "7:9: the edges of this zone cross (write its points in order around the zone)",
        "8:10: this zone has no area (its points lie on one line)",
        "10:8: pixels[0][0] must be between 0 and 1, got 120 (fractions of the frame, not pixels)",
        "10:13: pixels[0][1] must be between 0 and 1, got 80",
        "11:8: pixels[1][0] must be between 0 and 1, got 640",
        "11:13: pixels[1][1] must be between 0 and 1, got 80",
        "12:8: pixels[2][0] must be between 0 and 1, got 640",
        "12:13: pixels[2][1] must be between 0 and 1, got 360",
        "14:9: this line has no length (its two points are the same)",
    ],
    "bad_quotes.yaml": [
        "3:17: not valid YAML: mapping values are not allowed here (put a text that contains"
    ],
    "bad_rule.yaml": [
        "5:31: unknown term 'cuont' in rule (did you mean count?)",
        "6:21: rule needs a comparison here, got '=>' (write >=)",
        "7:24: rule needs a number here, got 'five'",
        "8:24: score in rule must be compared with 0 to 1, got 35",
        "10:16: clear and when both hold at count = 5: this would flicker (the default for clear is",
        "11:15: this rule can never hold",
    ],
    "bad_scene.yaml": [
        "6:32: a scene prompt has no count (use score, or kind: object)",
        "7:16: a scene prompt has no zones (remove zones, or use kind: object)",
    ],
    "bad_syntax.yaml": ["4:5: not valid YAML: expected ',' or ']', but got '<scalar>' (close the bracket"],
    "bad_tab.yaml": ["3:1: a tab where YAML wants spaces (indent with spaces)"],
    "bad_threshold.yaml": [
        "7:16: threshold must be between 0 and 1, got 3.5",
        "11:19: review_below 0.4 is below threshold 0.6 (",
    ],
    "bad_type.yaml": [
        "1:10: version must be 1, got 2",
        "3:9: id must be text, got 7 (put it in quotes)",
        '5:16: threshold must be a number, got "high"',
        "7:7: alerts must be a list, got a mapping",
        '8:5: prompts[1] must be a mapping, got "boat"',
        '9:13: background must be a list, got "bare ground"',
        "10:8: zones must be a mapping, got a list of 1",
    ],
    "bad_unknown_key.yaml": [
        "5:5: unknown key treshold (did you mean threshold?)",
        "8:9: unknown key cool_down (did you mean cooldown?)",
    ],
    "bad_unknown_zone.yaml": [
        "5:39: there is no zone gatte (did you mean gate?)",
        "6:17: there is no zone yard (known: gate)",
        "7:25: there is no line rode (did you mean road?)",
    ],
}


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_has_a_line_a_column_and_a_clear_sentence(name: str) -> None:
    lines = [str(error).removeprefix(f"{DATA / name}:") for error in check_file(DATA / name)]
    assert len(lines) == len(MISTAKES[name])
    for line, beginning in zip(lines, MISTAKES[name], strict=True):
        assert line.startswith(beginning)


def test_every_bad_file_is_listed_here_and_shows_a_line_number() -> None:
    paths = sorted(DATA.glob("bad_*.yaml"))
    assert [path.name for path in paths] == sorted(MISTAKES)
    for path in paths:
        for error in check_file(path):
            assert re.match(rf"{re.escape(str(path))}:[1-9]\d*:[1-9]\d*: \S", str(error))


def test_the_readmes_list_is_good_and_its_slip_reads_as_shown(tmp_path: Path) -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(listed)
    assert check_file(path) == []
    path.write_text(listed.replace("cooldown", "cooldwon"))
    (error,) = check_file(path)
    assert str(error).removeprefix(f"{tmp_path}/") in readme


def shipped_files() -> list[Path]:
    root = Path(__file__).resolve().parents[2] / "firmware_cfg"
    return sorted([*root.glob("prompts/*.yaml"), *root.glob("devices/*.yaml")])


@pytest.mark.parametrize("path", shipped_files(), ids=lambda path: path.stem)
def test_shipped_files_are_good(path: Path) -> None:
    assert check_file(path) == []


def test_the_files_that_users_are_promised_are_there() -> None:
    names = {path.stem for path in shipped_files()}
    assert {"traffic", "search_and_rescue", "coast", "cpu", "orin-nano"} <= names


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("promts: [{id: a, text: b}]\nzones: {}", "1:1: unknown key promts (did you mean prompts?)"),
        ("devise: d\nsource: {uri: demo}", "1:1: unknown key devise (did you mean device?)"),
        ("prompts: gone.yaml\nsource: {uri: demo}\ndevice: d", "1:10: prompts must name a file that exists"),
        ("prompts: [{id: a, text: b}]\nmqtt: {}\nsource: {}", "2:1: unknown key mqtt"),
    ],
)
def test_the_kind_of_file_is_told_from_its_keys_even_when_misspelt(
    tmp_path: Path, text: str, line: str
) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    assert any(str(error).startswith(f"{path}:{line}") for error in check_file(path))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("- a\n- b", "1:1: is not a mapping of keys ("),
        ("# c\nversion: 1", "2:1: cannot tell whether"),
        ("", "1:1: is empty"),
    ],
)
def test_a_file_of_neither_kind(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    (error,) = check_file(path)
    assert str(error).startswith(f"{path}:{line}")


def test_the_prompt_list_of_a_device_is_checked_with_it(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("prompts:\n  - id: a\n    text: ''\n")
    path = tmp_path / "d.yaml"
    path.write_text("device: d\nsource: {uri: demo}\nprompts: p.yaml")
    (error,) = check_file(path)
    assert str(error).startswith(f"{tmp_path / 'p.yaml'}:3:11: text must not be empty")


def test_a_list_with_too_many_rows_is_found(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("prompts:\n" + "".join(f"  - {{id: p{number}, text: a}}\n" for number in range(1001)))
    (error,) = check_file(path)
    assert str(error).startswith(f"{path}:1002:5: this list needs 1001 rows, a list has at most 1000")


def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    (error,) = check_file(tmp_path / "gone.yaml")
    assert str(error) == f"{tmp_path / 'gone.yaml'}: cannot be read: No such file or directory"


def test_a_list_that_is_looked_for_in_part_is_good_with_a_remark(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    for count in (256, 257):
        path.write_text("prompts:\n" + "".join(f"- {{id: p{n}, text: a car}}\n" for n in range(count)))
        assert check_file(path) == []
        remark = remark_of(path)
        assert (remark is None) == (count == 256)
    assert remark is not None
    assert remark.startswith("has 257 object rows, and only the 256 most general are looked for")
    result = CliRunner().invoke(app, ["check", str(path)])
    assert (result.exit_code, result.stdout) == (0, f"{path}: ok, but {remark}\n")
