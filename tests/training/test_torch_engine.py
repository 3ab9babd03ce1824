from __future__ import annotations

import numpy as np
import pytest
import torch

from edge.prompts.text_encoder import TextTooLong
from training.checkpoint import (
    AnyCheckpoint,
    ModelSpec,
    open_checkpoint,
    save_checkpoint,
)
from training.models.lite import POSITION_WIDTH, LiteImageTower
from training.models.lookup_graph import NO_PEAK
from training.models.text import TextTower
from training.torch_engine import TorchImageEngine, TorchTextEncoder, model_facts

WIDTH = 24
SIZE = (96, 64)  # 12 x 8 cells of 8 px


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> AnyCheckpoint:
    folder = tmp_path_factory.mktemp("lite") / "c"
    torch.manual_seed(3)
    spec = ModelSpec(1, "remoteclip-lite0", "tf_efficientnet_lite0", "all-MiniLM-L6-v2", WIDTH, 16, "drawn")
    save_checkpoint(folder, spec, LiteImageTower(WIDTH, 16, pretrained=False), TextTower(WIDTH), {}, "")
    return open_checkpoint(folder)


def test_clip_cells_are_the_places_of_the_drones_lookup(tiny_clip: AnyCheckpoint) -> None:
    facts = model_facts(tiny_clip)
    image = np.random.default_rng(0).integers(0, 256, (2, SIZE[1], SIZE[0], 3), np.uint8)
    rows = np.zeros((3, facts.row_width), np.float32)
    rows[:, :WIDTH] = TorchTextEncoder(tiny_clip).encode(["a car", "a ship", "bare ground"])
    bias = np.array([0.0, 1.5, -1000.0], np.float32)
    found = TorchImageEngine(tiny_clip, SIZE).infer(image, rows, bias)
    cells = tiny_clip.towers.dense(torch.from_numpy(image)).detach().numpy()  # (2, D, 8, 12)
    assert found.place_box.shape == (2, 96, 4)
    assert found.place_embedding.shape == (2, 96, WIDTH + POSITION_WIDTH)
    for n in range(2):
        corner = found.place_box[n, :, :2]
        np.testing.assert_array_equal(found.place_box[n, :, 2:] - corner, 8)
        column, row = (corner / 8).astype(int).T
        assert len(set(zip(row.tolist(), column.tolist(), strict=True))) == 96
        wanted = cells[n][:, row, column].T
        np.testing.assert_allclose(found.place_embedding[n, :, :WIDTH], wanted, atol=1e-6)
        logit = facts.logit_scale * wanted @ rows[:, :WIDTH].T + facts.logit_bias + bias
        read = found.place_logit[n]
        peak = read > NO_PEAK / 2
        assert peak[:, :2].any(axis=0).all()
        np.testing.assert_allclose(read[peak], logit[peak], rtol=1e-4, atol=1e-3)
    scene = tiny_clip.towers.encode_image(torch.from_numpy(image)).detach().numpy() @ rows[:, :WIDTH].T
    np.testing.assert_allclose(found.scene, scene, atol=1e-5)


def test_a_usual_cosine_of_clip_gives_a_logit_around_zero(tiny_clip: AnyCheckpoint) -> None:
    facts = model_facts(tiny_clip)
    assert facts.logit_scale * 0.25 + facts.logit_bias == pytest.approx(0, abs=1e-5)


def test_the_facts_name_tiles_that_the_tower_takes(tiny_clip: AnyCheckpoint, lite: AnyCheckpoint) -> None:
    assert model_facts(tiny_clip).image_sizes == ((32, 32), (640, 384))
    for checkpoint in (tiny_clip, lite):
        facts = model_facts(checkpoint)
        assert facts.row_width == facts.embedding_width + POSITION_WIDTH == WIDTH + 16
        assert all(side % facts.stride == 0 for size in facts.image_sizes for side in size)
    assert model_facts(lite).image_sizes[0] == (640, 384)


@pytest.mark.parametrize(("family", "limit"), [("tiny_clip", 77), ("lite", 64)])
def test_a_sentence_too_long_for_the_tower_is_named_and_a_long_one_is_read(
    family: str, limit: int, request: pytest.FixtureRequest
) -> None:
    encoder = TorchTextEncoder(request.getfixturevalue(family))
    longest = " ".join(["boat"] * (limit - 2))
    assert len(encoder.token_ids(longest)) == limit
    found = encoder.encode(["a boat", longest])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    with pytest.raises(TextTooLong, match=f"has {limit + 1} tokens, the text tower reads {limit}"):
        encoder.encode(["a boat", longest + " boat"])


def test_a_sentences_embedding_does_not_depend_on_its_company(tiny_clip: AnyCheckpoint) -> None:
    encoder = TorchTextEncoder(tiny_clip)
    together = encoder.encode(["a boat", "a long row of boats"])
    np.testing.assert_array_equal(together[:1], encoder.encode(["a boat"]))
