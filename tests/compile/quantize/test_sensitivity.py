from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from rich.console import Console

from compile.quantize.images import CalibrationImages
from compile.quantize.layers import body_of
from compile.quantize.ranges import measure_activations
from compile.quantize.run import QuantizeOptions, quantize_image_graph
from compile.quantize.sensitivity import Judge, search
from firmware_cfg.errors import UsageError

SIZES = ((256, 256),)
HURTS = "hurts"  # the layer that conftest.py makes so
QUIET = Console(quiet=True)


def quantized(source: Path, out: Path, pictures: Path, options: QuantizeOptions):
    images = CalibrationImages.from_folder(pictures, SIZES)
    return quantize_image_graph(source, out, images, options, QUIET)


def test_the_layer_that_hurts_and_no_other_stays_float(
    small_graph: Path, pictures: Path, tmp_path: Path
) -> None:
    found = quantized(small_graph, tmp_path / "out.onnx", pictures, QuantizeOptions(target=0.999)).sensitivity
    assert found.everything.worse < 0.9
    assert found.floats == (HURTS,)
    assert found.chosen.worse > 0.999
    assert {rank.layer for rank in found.ranks} == {"easy", HURTS, "fine", "box"}
    assert found.ranks[0].layer == HURTS
    losses = [1 - rank.left_float.worse for rank in found.ranks]
    assert losses == sorted(losses)
    assert losses[0] < losses[1] / 50


def test_nothing_is_searched_where_all_is_well_or_nobody_asks(
    small_graph: Path, pictures: Path, tmp_path: Path
) -> None:
    for options in (QuantizeOptions(target=-1.0), QuantizeOptions(most_float=0)):
        found = quantized(small_graph, tmp_path / "out.onnx", pictures, options).sensitivity
        assert (found.floats, found.ranks) == ((), ())
        assert found.chosen == found.everything


def test_a_layer_that_wins_too_little_stays_int8(small_graph: Path, pictures: Path) -> None:
    images = CalibrationImages.from_folder(pictures, SIZES)
    body = body_of(onnx.load(str(small_graph)))
    judge = Judge(body, measure_activations(body, images), [images.tile(path) for path in images.paths])
    patient = search(judge, body, (), target=1.0, most=4, least_win=0.9)
    assert patient.floats == (HURTS,)
    assert patient.chosen.worse == pytest.approx(judge.closeness(("conv_2",)).worse)
    eager = search(judge, body, (), target=1.0, most=4, least_win=0.0)
    assert len(eager.floats) > 1
    assert eager.chosen.worse >= patient.chosen.worse


def test_layers_that_are_named_stay_float_and_need_no_search(
    small_graph: Path, pictures: Path, tmp_path: Path
) -> None:
    named = QuantizeOptions(floats=(HURTS,), most_float=0)
    found = quantized(small_graph, tmp_path / "out.onnx", pictures, named).sensitivity
    assert (found.floats, found.ranks) == ((HURTS,), ())
    assert found.chosen.worse > 0.999 > found.everything.worse
    with pytest.raises(UsageError, match=r"image\.onnx: no layer hurst to leave float \(hurts"):
        quantized(small_graph, tmp_path / "out.onnx", pictures, QuantizeOptions(floats=("hurst",)))
