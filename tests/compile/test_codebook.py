from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import openvino
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from scipy.stats import norm

from compile.codebook import BLOCK, LEVELS, PackedTable, lookup_nodes, pack_table, table_tensors
from firmware_cfg.errors import RemoteclipError

RNG = np.random.default_rng(0)


def unpack_table(table: PackedTable) -> np.ndarray:
    """(R, C) float32, as a graph with `lookup_nodes` reads it."""
    codes = np.concatenate((table.packed % 16, table.packed // 16), axis=2)
    return (LEVELS[codes] * table.scale.astype(np.float32)).reshape(len(codes), -1)


def test_levels_are_quantiles_of_a_normal_distribution() -> None:
    # QLoRA, appendix E: 8 levels above zero, 7 below, zero itself, made to end at -1 and 1.
    offset = 0.5 * ((1 - 1 / 32) + (1 - 1 / 30))
    above = norm.ppf(np.linspace(offset, 0.5, 9)[:-1])
    below = -norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
    wanted = np.sort(np.concatenate((above, [0.0], below)))
    np.testing.assert_allclose(LEVELS, wanted / wanted.max(), atol=1e-6)


def test_normal_numbers_lose_less_than_a_hundredth_of_their_power() -> None:
    table = RNG.normal(size=(300, 2 * BLOCK)).astype(np.float32) * RNG.uniform(0.01, 3, (300, 1))
    packed = pack_table(table.astype(np.float32))
    assert packed.packed.dtype == np.uint8
    assert packed.packed.nbytes + packed.scale.nbytes == table.size // 2 + table.size // BLOCK * 2
    error = np.square(unpack_table(packed) - table).sum() / np.square(table).sum()
    assert 0.001 < error < 0.01


@given(
    st.lists(
        st.sampled_from([0.0, 1e-9, -1e-4, 0.02, -0.3, 1.0, -7.0, 58000.0]), min_size=BLOCK, max_size=BLOCK
    )
)
@settings(max_examples=60)
def test_every_number_takes_the_level_that_is_nearest(numbers: list[float]) -> None:
    table = np.array([numbers], np.float32)
    packed = pack_table(table)
    scale = np.float32(packed.scale[0, 0, 0])
    assert np.isfinite(scale)
    assert scale > 0
    found = unpack_table(packed)
    nearest = np.abs(LEVELS * scale - table[0][:, None]).min(axis=1)
    np.testing.assert_allclose(np.abs(found - table)[0], nearest, atol=1e-6 * scale)
    # A scale that reaches the largest number was among those tried.
    reach = np.float32(np.float16(np.abs(table).max()))
    if reach:
        plain = np.square(np.abs(LEVELS * reach - table[0][:, None]).min(axis=1)).sum()
        assert np.square(found - table).sum() <= plain * 1.001 + 1e-12
    assert np.all(found[table == 0] == 0)


def test_numbers_beyond_half_precision_are_refused() -> None:
    with pytest.raises(RemoteclipError, match="embedding table: numbers beyond what float16 holds"):
        pack_table(np.full((2, BLOCK), 1e6, np.float32))


@pytest.mark.parametrize("shape", [(7,), (2, 5)])
def test_both_runtimes_read_the_rows_as_they_were_packed(tmp_path: Path, shape: tuple[int, ...]) -> None:
    table = RNG.normal(size=(90, 3 * BLOCK)).astype(np.float32)
    packed = pack_table(table)
    gather = helper.make_node("Gather", ["table", "ids"], ["out"])
    dimensions = [f"d{axis}" for axis in range(len(shape))]
    graph = helper.make_graph(
        lookup_nodes(gather),
        "drawn",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, dimensions)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [*dimensions, 3 * BLOCK])],
        table_tensors("table", packed),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(tmp_path / "lookup.onnx"))
    ids = RNG.integers(0, 90, shape)
    wanted = unpack_table(packed)[ids]
    session = ort.InferenceSession(str(tmp_path / "lookup.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"ids": ids})[0], wanted)
    compiled = openvino.Core().compile_model(
        tmp_path / "lookup.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    np.testing.assert_array_equal(compiled({"ids": ids})["out"], wanted)
