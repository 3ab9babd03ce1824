from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compile.cli import app
from firmware_cfg.errors import UsageError
from training.recipe import DEFAULT_CHECKPOINT


def test_a_bundle_with_a_damaged_variant_exits_1_and_says_what_it_lost(
    damaged: Path, tiny_probe: Path, tmp_path: Path
) -> None:
    call = ["gate", damaged, DEFAULT_CHECKPOINT, "--data", tiny_probe, "--precision", "fp32"]
    call += ["--precision", "int8", "--report", tmp_path / "report", "--json"]
    result = CliRunner().invoke(app, [str(word) for word in call], catch_exceptions=False)
    assert result.exit_code == 1
    document = json.loads(result.stdout.strip().splitlines()[-1])
    assert not document["ok"]
    assert document["n"] == 3
    assert {name: gate["passed"] for name, gate in document["gates"].items()} == {"fp32": True, "int8": False}
    assert "int8: mean cosine of images is" in result.stderr
    assert "fp32:" not in result.stderr
    page = (tmp_path / "report" / "report.html").read_text()
    assert "FAILED" in page
    assert "<svg" in page


def test_the_shipped_bundle_passes_and_exits_0(tiny_probe: Path) -> None:
    call = ["gate", "default", str(DEFAULT_CHECKPOINT), "--data", str(tiny_probe), "--precision", "fp32"]
    result = CliRunner().invoke(app, call, catch_exceptions=False)
    assert result.exit_code == 0
    assert "passed" in result.stdout
    assert "FAILED" not in result.stdout


def test_a_precision_that_the_bundle_lacks_is_a_wrong_use(damaged: Path, tiny_probe: Path) -> None:
    call = ["gate", str(damaged), str(DEFAULT_CHECKPOINT), "--data", str(tiny_probe), "--precision", "int4"]
    result = CliRunner().invoke(app, call)
    assert isinstance(result.exception, UsageError)


@pytest.mark.parametrize("wrong", ["--split=test", "--data=nowhere"])
def test_a_set_that_is_not_there_is_named_before_anything_runs(
    damaged: Path, tiny_probe: Path, wrong: str
) -> None:
    call = ["gate", str(damaged), str(DEFAULT_CHECKPOINT), f"--data={tiny_probe}", wrong]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 1
    assert result.exception is not None
    assert str(wrong.split("=")[1]) in str(result.exception)
