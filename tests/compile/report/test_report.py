"""The table and the page, from numbers that are made up here."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console

from compile.gate.result import GateResult
from compile.report.figures import recall_figure, svg
from compile.report.latency import Timing, time_variants
from compile.report.page import write_report
from compile.report.rows import Row, bundle_rows, graph_bytes, summary_table
from edge.bundle.golden import GoldenCheck
from edge.bundle.load import Bundle, load_bundle
from edge.bundle.manifest import Precision
from firmware_cfg.bundles import default_bundle_path


def result(precision: Precision, lost: int, names: tuple[str, ...] = ("car", "tree")) -> GateResult:
    """A gate over 40 images, in `lost` of which the variant counts one too many."""
    truth = np.tile(np.array([[3, 5]]), (40, 1))
    counted = truth.copy()
    counted[:lost, 0] += 1
    confusion = np.diag([120, 200])
    hits = np.ones((40, 6))
    return GateResult(
        precision=precision,
        engine="openvino",
        probe="made <up>",
        images=tuple(f"{number}.jpg" for number in range(40)),
        cosine=np.full(40, 0.9995, np.float32),
        places=320,
        place_cosine=np.full(320, 0.9993, np.float32),
        names=names,
        confusion=confusion,
        truth=truth,
        counted_reference=truth,
        counted=counted,
        hits_reference=hits,
        hits=hits,
    )


def timing(milliseconds: float) -> Timing:
    seconds = np.linspace(0.5, 1.5, 101) * milliseconds / 1e3
    return Timing("openvino", (640, 384), 16, seconds)


class Page(HTMLParser):
    """What a browser would fetch, what it would show, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.drawings = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.drawings += tag == "svg"
        links = [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.fetched += [link for link in links if not link.startswith(("#", "data:"))]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in ("meta", "br"):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_stands_alone_and_shows_everything(tmp_path: Path) -> None:
    gates: dict[Precision, GateResult] = {"fp16": result("fp16", 0), "int8": result("int8", 8)}
    timings: dict[Precision, Timing] = {"fp16": timing(30), "int8": timing(15)}
    checks = [
        GoldenCheck("openvino", "int8", {"scene": 0.01}, 100, 4, ("4 of 100 places are missing",)),
        GoldenCheck("openvino", "text", {"text_embedding": 0.004}, 0, 0, ()),
    ]
    rows = (Row("int8", 5_000_000, timings["int8"], 0.9995, 0.1, 1.0, "FAILED"),)
    path = tmp_path / "new" / "report.html"
    options = {"title": "a <model> & more", "facts": {"machine": "2 cores"}, "notes": ["let pass: <all>"]}
    write_report(path, rows, gates, checks, timings, **options)
    text = path.read_text("utf-8")
    page = Page(text)
    assert page.open == []
    assert page.fetched == []
    shown = " ".join(page.words)
    for words in (
        "a <model> & more",
        "let pass: <all>",
        "made <up>",
        "2 cores",
        "4 of 100 places are missing",
    ):
        assert words in shown
    assert "int8: counting error rose from 0.000 to 0.100" in shown
    assert page.drawings == 6  # cosines, counts, recalls, two of prompts, latency


def test_equal_figures_are_equal_text() -> None:
    gates: dict[Precision, GateResult] = {"int8": result("int8", 8)}
    assert svg(recall_figure(gates)) == svg(recall_figure(gates))


def test_a_page_without_measurements_is_a_table_alone(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", (Row("int8"),), {}, (), {}, title="bare")
    page = Page((tmp_path / "report.html").read_text())
    assert page.drawings == 0
    assert page.words.count("-") == 8


def test_rows_hold_what_was_measured(bundle: Bundle) -> None:
    rows = bundle_rows(bundle, {"fp32": result("fp32", 1)}, {"fp32": timing(20)})
    assert [row.name for row in rows] == ["checkpoint (torch)", *bundle.manifest.variants]
    assert rows[0].cells()[1:] == ("-", "-", "-", "-", "1.0000", "0.000", "100.0%", "reference")
    variant = next(row for row in rows if row.name == "fp32")
    _, megabytes, *rest = variant.cells()
    assert float(megabytes) == pytest.approx(graph_bytes(bundle, "fp32") / 1e6, abs=0.06)
    assert rest == ["20.0", "29.0", "50.0", "0.9995", "0.013", "100.0%", "passed"]
    assert json.loads(json.dumps(variant.as_json()))["p95_ms"] == pytest.approx(29.0)
    console = Console(width=200)
    with console.capture() as capture:
        console.print(summary_table(rows, "side by side"))
    assert "side by side" in capture.get()
    assert "images/s" in capture.get()


def test_size_counts_weights_that_lie_beside_the_graph(tmp_path: Path, bundle: Bundle) -> None:
    model = onnx.load(str(bundle.file(bundle.manifest.variants["fp32"])))
    name = bundle.manifest.variants["fp32"]
    beside = {"save_as_external_data": True, "location": "weights", "size_threshold": 1024}
    onnx.save(model, str(tmp_path / name), **beside)
    moved = replace(bundle, path=tmp_path)
    weights = (tmp_path / "weights").stat().st_size
    assert weights > 1_000_000
    assert graph_bytes(moved, "fp32") == weights + (tmp_path / name).stat().st_size


def test_every_variant_is_timed_as_often_on_the_same_tile(bundle: Bundle) -> None:
    timings = time_variants(bundle, "onnxruntime", rounds=2)
    assert set(timings) == set(bundle.manifest.variants)
    for found in timings.values():
        assert len(found.seconds) == 2
        assert found.image_size == bundle.manifest.image_sizes[0]
        assert found.milliseconds(95) >= found.milliseconds(50) > 0


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(default_bundle_path())
