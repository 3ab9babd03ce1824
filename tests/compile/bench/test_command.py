"""`remoteclip bench` runs, reports and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compile.bench.cli import app
from compile.bench.plan import Plan
from compile.bench.process import BenchError
from compile.bench.spec import FLAT_OUT, FRAME
from edge.bundle.load import Bundle
from firmware_cfg.errors import UsageError

ROUND = ("--quick", "--only", "daemon", "--only", "engine", "--only", "ceiling", "--only", "gpu")


def test_a_quick_run_measures_and_writes_its_report(
    tiny_bundle: Bundle, prompt_file: Path, tmp_path: Path
) -> None:
    options = ["--bundle", str(tiny_bundle.path), "--prompts", str(prompt_file), "--out", str(tmp_path)]
    done = CliRunner().invoke(app, [*ROUND, *options, "--json"])
    assert done.exit_code == 0, (done.stderr, done.exception)
    report = json.loads(done.stdout)
    found = {(r["kind"], r["variant"], r["task"]): r for r in report["results"]}
    assert {("daemon", "fp32", FLAT_OUT), ("engine", "onnxruntime fp32", FRAME)} <= found.keys()
    daemon = found["daemon", "fp32", FLAT_OUT]
    assert daemon["times"]["frame"]["n"] >= 1
    assert 0 < daemon["times"]["frame"]["p50_ms"] <= daemon["times"]["frame"]["p99_ms"]
    assert {"stage engine", "stage lookup", "stage tracking"} <= daemon["times"].keys()
    assert daemon["peak_mib"] > 10
    assert {start["subject"] for start in report["start_up"]} >= {"daemon, float32", "remoteclip count"}
    assert 0 < report["rooflines"]["fp32"]["fraction"] < 1
    assert report["machine"]["cpu"]
    assert report["versions"]["openvino"]
    assert json.loads((tmp_path / "bench.json").read_text())["results"] == report["results"]
    assert "daemon, float32" in (tmp_path / "bench.txt").read_text()
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "engines"), "--only engines: no such part"),
        (("--precision", "fp64"), "--precision fp64: not in"),
        (("--weights", "nowhere.pt"), r"nowhere\.pt: no such file"),
        (("--threads", "4096"), "--threads 4096: this process has"),
        (("--data", "nowhere"), "nowhere: no such folder"),
        (("--image-size", "big"), "--image-size must be"),
    ],
)
def test_wrong_use_is_one_line(options: tuple[str, str], message: str) -> None:
    done = CliRunner().invoke(app, [*ROUND, *options])
    assert isinstance(done.exception, UsageError)
    with pytest.raises(UsageError, match=message):
        raise done.exception


def test_where_nothing_runs_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(plan: Plan, *rest: object) -> str:
        return ""

    monkeypatch.setattr("compile.bench.run._tower", refuse)
    done = CliRunner().invoke(app, ["--quick", "--only", "tower"])
    assert isinstance(done.exception, BenchError)
    assert "nothing could be measured: RemoteCLIP, onnxruntime: RemoteCLIP's tower" in str(done.exception)
