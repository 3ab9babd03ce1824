"""`make bench` gives comparable numbers for every engine and for both ways to the tile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def benchmark(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The benchmark in a process of its own, as make runs it."""
    return subprocess.run(
        [sys.executable, "benchmarks/engine_latency.py", *arguments],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_every_contender_is_timed(repository: Path, bundle_copy: Path) -> None:
    done = benchmark(repository, "--bundle", str(bundle_copy), "--rounds", "2", "--prompts", "3", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    graph = [row for row in report["rows"] if row["task"].startswith("image graph 64x64")]
    assert [row["with"] for row in graph] == ["openvino fp32", "onnxruntime fp32"]
    assert graph[0]["ratio"] == pytest.approx(1.0)
    ways = {row["with"] for row in report["rows"] if row["task"].startswith("I420 1920x1080")}
    assert "opencv" in ways
    for row in report["rows"]:
        assert row["n"] == 2
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert report["machine"]


def test_a_damaged_bundle_is_one_line(repository: Path, bundle_copy: Path) -> None:
    (bundle_copy / "card.md").write_text("tampered")
    done = benchmark(repository, "--bundle", str(bundle_copy), "--rounds", "1")
    assert done.returncode == 1
    assert "card.md" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_use_is_exit_code_2(repository: Path) -> None:
    assert benchmark(repository, "--rounds", "0").returncode == 2
