"""A model bundle small enough to make in a test: it knows four colours, and finds 8 pixel cells of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Colours as the tiny towers see them: (r, g, b, 1 - r, 1 - g, 1 - b), made unit.
WORDS = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "grey": (114 / 255, 114 / 255, 114 / 255),
}
DIMENSION, POSITION = 6, 2
SCALE, BIAS = 30.0, -25.0
MAX_TOKENS = 8

IMAGE_GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
colours (uint8[N, H, W, 3] image, float[P, 8] prompts, float[P] bias)
    => (float[N, P] scene, float[N, 6] embedding, float[N, M, 4] place_box,
        float[N, M, 8] place_embedding, float[N, M, P] place_logit)
<
    float grey_levels = {255.0}, float one = {1.0}, float nothing = {0.0}, float far = {-100000.0},
    float scale = {30.0}, float offset = {-25.0}, float stride = {8.0}, float middle = {4.0},
    float half = {6.0}, int64[1] channels = {1}, int64[1] last = {2}, int64[2] plane = {2, 3},
    int64[1] zero = {0}, int64[1] six = {6}, int64[3] flat = {0, 8, -1}, int64[2] to_row = {0, -1},
    int64 places = {300}, int64[1] three = {3}, int64[1] four = {4}, int64[1] two = {2}
>
{
    pixels = Cast <to = 1> (image)
    planes = Transpose <perm = [0, 3, 1, 2]> (pixels)
    cells = AveragePool <kernel_shape = [8, 8], strides = [8, 8]> (planes)
    colour = Div (cells, grey_levels)
    inverse = Sub (one, colour)
    both = Concat <axis = 1> (colour, inverse)
    length = ReduceL2 <keepdims = 1> (both, channels)
    unit = Div (both, length)
    mean = ReduceMean <keepdims = 0> (unit, plane)
    mean_length = ReduceL2 <keepdims = 1> (mean, channels)
    embedding = Div (mean, mean_length)
    words = Slice (prompts, zero, six, channels)
    words_t = Transpose <perm = [1, 0]> (words)
    scene = MatMul (embedding, words_t)

    some = Slice (unit, zero, two, channels)
    position = Mul (some, nothing)
    grid = Concat <axis = 1> (unit, position)
    columns = Reshape (grid, flat)
    cosine = MatMul (prompts, columns)
    scaled = Mul (cosine, scale)
    shifted = Add (scaled, offset)
    bias_column = Unsqueeze (bias, channels)
    logits = Add (shifted, bias_column)
    shape = Shape (grid)
    batch = Slice (shape, zero, channels)
    high_wide = Slice (shape, two, four)
    minus = Sub (channels, two)
    map_shape = Concat <axis = 0> (batch, minus, high_wide)
    maps = Reshape (logits, map_shape)
    highest = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (maps)
    peak = Equal (maps, highest)
    peaks = Where (peak, maps, far)
    best = ReduceMax <keepdims = 0> (peaks, channels)
    strength = Reshape (best, to_row)
    cell_count = ReduceProd <keepdims = 1> (high_wide)
    most = Min (cell_count, places)
    values, index = TopK <axis = 1> (strength, most)
    index_column = Unsqueeze (index, last)
    rows = Transpose <perm = [0, 2, 1]> (columns)
    place_embedding = GatherND <batch_dims = 1> (rows, index_column)
    logit_rows = Transpose <perm = [0, 2, 1]> (logits)
    place_logit = GatherND <batch_dims = 1> (logit_rows, index_column)
    wide = Slice (shape, three, four)
    column = Mod (index_column, wide)
    row = Div (index_column, wide)
    column_f = Cast <to = 1> (column)
    row_f = Cast <to = 1> (row)
    x = Mul (column_f, stride)
    y = Mul (row_f, stride)
    cx = Add (x, middle)
    cy = Add (y, middle)
    x1 = Sub (cx, half)
    y1 = Sub (cy, half)
    x2 = Add (cx, half)
    y2 = Add (cy, half)
    place_box = Concat <axis = 2> (x1, y1, x2, y2)
}
"""

TEXT_GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
words (int64[B, L] input_ids, int64[B, L] attention_mask) => (float[B, 6] embedding)
<float[6, 6] table = {TABLE}, int64[1] tokens = {1}, int64[1] last = {2}, int64[1] channels = {1}>
{
    vectors = Gather (table, input_ids)
    counts = Cast <to = 1> (attention_mask)
    column = Unsqueeze (counts, last)
    kept = Mul (vectors, column)
    total = ReduceSum <keepdims = 0> (kept, tokens)
    length = ReduceL2 <keepdims = 1> (total, channels)
    embedding = Div (total, length)
}
"""


def colour_embedding(colour: tuple[float, float, float]) -> np.ndarray:
    """(6,) float32 unit embedding of an RGB colour (0 to 1)."""
    vector = np.array([*colour, *(1 - level for level in colour)], np.float32)
    return vector / np.linalg.norm(vector)


@pytest.fixture(scope="session")
def word_embedding() -> Callable[[str], np.ndarray]:
    """The embedding that the tiny text tower must give a word of its vocabulary."""
    return lambda word: colour_embedding(WORDS[word])


@pytest.fixture(scope="session")
def manifest_fields() -> dict[str, Any]:
    """The tiny bundle's manifest, less what `write_manifest` fills in."""
    return {
        "model": "tiny-colours",
        "tower": "average-pool",
        "image_sizes": [[64, 64], [128, 64]],
        "embedding_width": DIMENSION,
        "position_width": POSITION,
        "logit_scale": SCALE,
        "logit_bias": BIAS,
        "opset": 20,
        "variants": {"fp32": "image.onnx"},
        "text": {"max_tokens": MAX_TOKENS, "cosine_to_float": 1.0},
        "checkpoint_sha256": "0" * 64,
        "licence": "Apache-2.0",
        "created_by": "tests",
    }


@pytest.fixture(scope="session")
def _bundle_files(tmp_path_factory: pytest.TempPathFactory, manifest_fields: dict[str, Any]) -> Path:
    import onnx
    from tokenizers import Tokenizer, models, pre_tokenizers

    from edge.bundle.calibration import Calibration
    from edge.bundle.golden import Golden
    from edge.bundle.load import load_bundle, write_manifest
    from edge.engines import create_image_engine

    folder = tmp_path_factory.mktemp("tiny") / "bundle"
    folder.mkdir()
    vocabulary = {"[UNK]": 0, "[PAD]": 1, **{word: number for number, word in enumerate(WORDS, start=2)}}
    table = np.stack([colour_embedding((0.5, 0.5, 0.5))] * 2 + [colour_embedding(c) for c in WORDS.values()])
    numbers = ", ".join(f"{number:.8f}" for number in table.ravel())
    onnx.save(onnx.parser.parse_model(IMAGE_GRAPH), folder / "image.onnx")
    onnx.save(onnx.parser.parse_model(TEXT_GRAPH.replace("TABLE", numbers)), folder / "text.onnx")
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # As exporters leave it: the encoder must neither cut sentences short nor pad them.
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding(pad_id=1, pad_token="[PAD]", length=MAX_TOKENS)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "card.md").write_text("A bundle for tests.\n")

    chance = np.random.default_rng(0)
    greys = [colour_embedding(tuple(level)) for level in chance.uniform(0.35, 0.55, (400, 3))]
    null_cells = np.zeros((400, DIMENSION + POSITION), np.float32)
    null_cells[:, :DIMENSION] = greys
    Calibration(null_cells, np.stack(greys), (1.0, 0.0), (20.0, -18.0), 0.01, 0.01).save(
        folder / "calibration.npz"
    )

    image = chance.integers(0, 256, (2, 64, 64, 3), np.uint8)
    prompts = np.zeros((3, DIMENSION + POSITION), np.float32)
    prompts[:, :DIMENSION] = [colour_embedding(WORDS[word]) for word in ("red", "green", "grey")]
    bias = np.array([0, 0, -1000], np.float32)
    (folder / "golden.npz").write_bytes(b"not yet")
    write_manifest(folder, manifest_fields)
    bundle = load_bundle(folder)
    engine = create_image_engine(bundle, "onnxruntime", image_size=(64, 64))
    expected = engine.infer(image, prompts, bias)
    texts = ("red", "green blue")
    mixed = colour_embedding(WORDS["green"]) + colour_embedding(WORDS["blue"])
    text_embedding = np.stack([colour_embedding(WORDS["red"]), mixed / np.linalg.norm(mixed)])
    Golden(image, prompts, bias, expected, texts, text_embedding).save(folder / "golden.npz")
    write_manifest(folder, manifest_fields)
    return folder


@pytest.fixture(autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the caches of whoever runs it."""
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def tiny_bundle(_bundle_files: Path) -> Any:
    """The tiny bundle, loaded. Its files are shared: never change them."""
    from edge.bundle.load import load_bundle

    return load_bundle(_bundle_files)


@pytest.fixture
def bundle_copy(_bundle_files: Path, tmp_path: Path) -> Path:
    """A folder with a tiny bundle that the test may damage."""
    return Path(shutil.copytree(_bundle_files, tmp_path / "bundle"))
