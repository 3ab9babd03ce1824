"""The work of a graph is counted from its nodes, and bounds its time."""

from __future__ import annotations

from pathlib import Path

import pytest

from compile.bench.roofline import GraphWork, graph_work
from compile.bench.rooflines import graph_rows
from edge.bundle.load import Bundle
from firmware_cfg.errors import EngineError
from firmware_cfg.prompt_list import GRAPH_ROWS, Prompt, PromptList


def test_products_are_counted_for_the_tile_and_the_prompts(tiny_bundle: Bundle) -> None:
    work = graph_work(tiny_bundle.file("image.onnx"), (64, 64), prompts=3)
    # scene: (1, 6) x (6, 3); dense: (3, 8) x (8, 64 cells)
    assert work.operations == 2 * (3 * 6) + 2 * (3 * 8 * 64)
    assert work.bytes >= 64 * 64 * 3 + 3 * 8 * 4


def test_convolutions_are_counted_with_their_groups(tmp_path: Path) -> None:
    import onnx

    graph = """
        <ir_version: 10, opset_import: ["" : 20]>
        g (float[1, H, W, 3] image, float[P, 8] prompts, float[P] bias) => (float[1, 8, h, w] y)
        <float[8, 3, 3, 3] full = {FULL}, float[8, 1, 3, 3] depth = {DEPTH}>
        {
            planes = Transpose <perm = [0, 3, 1, 2]> (image)
            a = Conv <pads = [1, 1, 1, 1]> (planes, full)
            y = Conv <pads = [1, 1, 1, 1], group = 8> (a, depth)
        }
    """
    for name, count in (("FULL", 8 * 3 * 9), ("DEPTH", 8 * 9)):
        graph = graph.replace(name, ", ".join(["1.0"] * count))
    onnx.save(onnx.parser.parse_model(graph), tmp_path / "g.onnx")
    work = graph_work(tmp_path / "g.onnx", (32, 16), prompts=2)
    pixels = 32 * 16
    assert work.operations == 2 * pixels * 8 * (3 * 9) + 2 * pixels * 8 * 9
    weights, moved = 4 * (8 * 3 * 9 + 8 * 9), 4 * (pixels * 3 + 2 * 8 + 2 + pixels * 8)
    assert weights + moved <= work.bytes < weights + moved + 100  # and the graph's small integers


@pytest.mark.parametrize(("operations", "moved", "least"), [(100, 1, 10.0), (1, 100, 20.0)])
def test_computing_or_moving_bounds_a_pass(operations: float, moved: float, least: float) -> None:
    assert GraphWork(operations, moved).least_seconds(10, 5) == least


def test_a_file_that_is_no_graph_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_text("no")
    with pytest.raises(EngineError, match=r"g\.onnx: its work cannot be counted"):
        graph_work(tmp_path / "g.onnx", (64, 64), 1)


@pytest.mark.parametrize(("objects", "scenes", "rows"), [(3, 2, 5), (300, 2, GRAPH_ROWS), (100, 200, 100)])
def test_rows_are_those_that_the_daemon_gives_its_graph(objects: int, scenes: int, rows: int) -> None:
    kinds = [("object", objects), ("scene", scenes)]
    prompts = tuple(
        Prompt.model_validate({"id": f"{kind}{number}", "text": f"{kind} {number}", "kind": kind})
        for kind, count in kinds
        for number in range(count)
    )
    assert graph_rows(PromptList(prompts=prompts)) == rows
