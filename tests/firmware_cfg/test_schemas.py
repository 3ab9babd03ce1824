"""The committed JSON Schemas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from firmware_cfg.schemas import MODELS, SCHEMA_DIR, __main__, schema_texts, stale_schemas


def test_the_committed_schemas_are_current() -> None:
    assert stale_schemas() == []


@pytest.mark.parametrize("name", MODELS)
def test_schemas_forbid_unknown_keys_and_describe_every_field(name: str) -> None:
    schema = json.loads((SCHEMA_DIR / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert schema["additionalProperties"] is False
    assert schema["description"]
    # A section that is described by its own definition is not described again where it is used.
    described = {key for key, value in schema["properties"].items() if {"description", "$ref"} & value.keys()}
    assert described == set(schema["properties"])
    assert all(part["description"] for part in schema.get("$defs", {}).values())


def test_a_missing_a_changed_and_an_orphaned_schema_are_stale(tmp_path: Path) -> None:
    for name, text in schema_texts().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert stale_schemas(tmp_path) == []
    (tmp_path / "status.schema.json").unlink()
    (tmp_path / "event.schema.json").write_text("{}", encoding="utf-8")
    (tmp_path / "old.schema.json").write_text("{}", encoding="utf-8")
    assert stale_schemas(tmp_path) == ["event.schema.json", "old.schema.json", "status.schema.json"]


def test_the_command_writes_what_check_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(__main__, "SCHEMA_DIR", tmp_path)
    (tmp_path / "old.schema.json").write_text("{}", encoding="utf-8")
    assert __main__.main(["--check"]) == 1
    assert "status.schema.json: not current (run python -m firmware_cfg.schemas)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["old.schema.json"]
    assert __main__.main([]) == 0
    assert __main__.main(["--check"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(schema_texts())
