"""Offline counting: the record of a frame and the table of a source."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.bundle.load import Bundle
from edge.count import CountTable, record
from edge.frames import Frame, RgbImage
from edge.pipeline import FrameResult, Pipeline
from firmware_cfg.prompt_list import load_prompt_bytes

LIST = load_prompt_bytes(
    b"prompts:\n"
    b"  - {id: red, text: red, threshold: 0.5}\n"
    b"  - {id: blue, text: blue, threshold: 0.5}\n"
    b"  - {id: haze, kind: scene, text: grey, threshold: 0.99}\n"
    b"background: [grey grey]\n",
    "colours.yaml",
)


def result_of(pipeline: Pipeline, number: int, *columns: int) -> FrameResult:
    """A frame with red squares in these columns of 8 pixels."""
    pixels = np.full((64, 128, 3), 114, np.uint8)
    for column in columns:
        pixels[24:32, 8 * column : 8 * column + 8] = (255, 0, 0)
    frame = Frame(RgbImage(pixels), number, number / 10, datetime.now(timezone.utc), 0, "flight.mp4")
    return pipeline.process(frame)


def test_a_record_has_the_documented_fields_in_pixels(tiny_bundle: Bundle) -> None:
    with Pipeline(tiny_bundle, LIST) as pipeline:
        line = record(result_of(pipeline, 12, 3, 9))
    assert list(line) == ["frame", "source", "time_s", "counts", "unique", "scene", "places"]
    assert (line["frame"], line["source"], line["time_s"]) == (12, "flight.mp4", 1.2)
    assert line["counts"] == {"red": 2, "blue": 0}
    assert line["unique"] == {"red": 0, "blue": 0}
    assert 0 < line["scene"]["haze"] <= 1
    centres = sorted((place["box"][0] + place["box"][2]) / 2 for place in line["places"])
    assert centres == pytest.approx([28, 76], abs=1)
    assert {place["prompt"] for place in line["places"]} == {"red"}
    assert len({place["track"] for place in line["places"]}) == 2


AREAS = load_prompt_bytes(
    b"prompts:\n"
    b"  - {id: red, text: red, threshold: 0.5}\n"
    b"  - {id: blue, text: blue, threshold: 0.5}\n"
    b"background: [grey grey]\n"
    b"zones:\n"
    b"  left: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]\n"
    b"  foot: [[0, 0.9], [1, 0.9], [1, 1], [0, 1]]\n"
    b"lines: {middle: [[0.5, 1], [0.5, 0]], bottom: [[0, 0.95], [1, 0.95]]}\n",
    "areas.yaml",
)


def test_zones_and_lines_are_in_the_record_and_the_table(tiny_bundle: Bundle) -> None:
    table = CountTable()
    with Pipeline(tiny_bundle, AREAS) as pipeline:
        results = [
            result_of(pipeline, number, *columns) for number, columns in enumerate([(2, 4), *[(6,)] * 4])
        ]
        results += [result_of(pipeline, 5 + step, column) for step, column in enumerate((7, 8, 9, 10))]
    for result in results:
        table.add(result)
    first, last = record(results[0]), record(results[-1])
    assert first["zones"] == {"red": {"left": 2, "foot": 0}, "blue": {"left": 0, "foot": 0}}
    still = {"in": 0, "out": 0}
    assert last["zones"]["red"] == {"left": 0, "foot": 0}
    assert last["crossings"] == {
        "red": {"middle": {"in": 1, "out": 0}, "bottom": still},
        "blue": {"middle": still, "bottom": still},
    }
    assert table.lines({})[3:7] == [
        "zone left: most in one frame 2 red",
        "zone foot: nothing in it",
        "line middle: red 1 in 0 out",
        "line bottom: nothing crossed it",
    ]


def test_refused_telemetry_is_no_skipped_frame() -> None:
    assert CountTable(frames=80).lines({}, {"not above the ground": 80}) == [
        "80 frames; no position: 80 not above the ground"
    ]
    both = CountTable(frames=8).lines({"corrupt": 2}, {"no fix": 3})
    assert both == ["8 frames; skipped: 2 corrupt; no position: 3 no fix"]


def test_the_table_sums_a_source_up(tiny_bundle: Bundle) -> None:
    table = CountTable()
    best = 0.0
    with Pipeline(tiny_bundle, LIST) as pipeline:
        for number in range(8):
            result = result_of(pipeline, number, *((3, 9) if number < 4 else (3,)))
            table.add(result)
            best = max(best, *(place.score for place in result.scores.places))
    lines = table.lines({"corrupt": 2})
    assert [line.split() for line in lines[:3]] == [
        ["prompt", "mean", "a", "frame", "most", "unique", "best", "score", "threshold"],
        ["red", "1.50", "2", "2", f"{best:.2f}", "0.50"],
        ["blue", "0.00", "0", "0", lines[2].split()[4], "0.50"],
    ]
    assert float(lines[2].split()[4]) < 0.5
    assert lines[3].split() == ["scene", "frames", "best", "score", "threshold"]
    assert lines[4].split()[:2] == ["haze", "0"]
    assert lines[5].startswith("never reached the threshold: blue, haze (")
    assert lines[-1] == "8 frames; skipped: 2 corrupt"
    assert len({len(line) for line in lines[:3]}) == 1


def test_unrelated_images_add_up(tiny_bundle: Bundle) -> None:
    table = CountTable()
    with Pipeline(tiny_bundle, LIST, independent=True) as pipeline:
        for number in range(3):
            table.add(result_of(pipeline, number, *((3, 9) if number < 2 else (3,))))
    assert table.lines({})[1].split()[:4] == ["red", "1.67", "2", "5"]


def test_a_list_of_scenes_only_has_no_table_of_objects() -> None:
    table = CountTable()
    empty: Any = SimpleNamespace(
        bank=SimpleNamespace(layout=SimpleNamespace(object_ids=()), thresholds={"haze": 0.3}),
        scores=SimpleNamespace(scene={"haze": 0.5}),
    )
    table.add(empty)
    assert [line.split() for line in table.lines({})] == [
        ["scene", "frames", "best", "score", "threshold"],
        ["haze", "1", "0.50", "0.30"],
        ["1", "frames"],
    ]
