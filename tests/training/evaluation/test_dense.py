"""`eval dense`: overlaps worked by hand, masks of both kinds, and maps that agree with the drone's graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge.frames import RgbImage
from edge.lookup import place_logits
from edge.prompts.rectification import Rectification
from firmware_cfg.errors import UsageError
from firmware_cfg.prompt_list import PromptList
from training.checkpoint import Checkpoint, ModelSpec
from training.errors import DataError
from training.evaluation.dense import DenseOptions, evaluate_dense
from training.evaluation.dense_model import DenseModel
from training.evaluation.dense_overlap import confusion, overlaps
from training.evaluation.dense_truth import dense_task, file_name
from training.models.lite import LiteImageTower
from training.models.text import TextTower
from training.torch_engine import TorchImageEngine

TABLE = "name,r,g,b\nroof,7,7,7\ncar,0,0,200\nunlabeled,0,0,0\nsky,9,9,9\n"
PROMPTS = PromptList.model_validate(
    {
        "prompts": [{"id": "roof", "text": ["a roof"]}, {"id": "car", "text": ["a car"]}],
        "background": ["grass"],
    }
)


def coloured_set(folder: Path, colours: tuple[tuple[int, int, int], ...] = ((7, 7, 7), (0, 0, 200))) -> Path:
    """Two 64 x 64 images, the left half of each mask of the first colour, the right half of the second."""
    (folder / "images" / "test").mkdir(parents=True)
    (folder / "masks" / "test").mkdir(parents=True)
    (folder / "class_dict.csv").write_text(TABLE)
    for number in range(2):
        rng = np.random.default_rng(number)
        picture = rng.integers(0, 255, (64, 64, 3), np.uint8)
        cv2.imwrite(str(folder / "images" / "test" / f"{number}.png"), picture)
        mask = np.zeros((64, 64, 3), np.uint8)
        mask[:, :32], mask[:, 32:] = colours[0][::-1], colours[1][::-1]
        cv2.imwrite(str(folder / "masks" / "test" / f"{number}.png"), mask)
    return folder


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    image = LiteImageTower(32, 16, pretrained=False).eval()
    text = TextTower(32).eval()
    spec = ModelSpec(1, "remoteclip-lite0", "lite0", "minilm", 32, 16, "none")
    return Checkpoint(spec, image, text, "0" * 64, {}, "")


@pytest.fixture(scope="module")
def rectification() -> Rectification:
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(32, 17)).astype(np.float32)
    return Rectification(weight, rng.normal(size=17).astype(np.float32))


def test_overlaps_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1], [2, 2, -1, 0]], np.int16)
    found = np.array([[0, 1, 1, 1], [2, 0, 0, 0]], np.int16)
    counted = confusion(truth, found, 2)
    assert counted.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 1]]
    result = overlaps(counted[None], ("roof", "car", "background"))
    # roof: 2 of 3 true + 3 found - 2; car: 2 of 2 + 3 - 2; background: 1 of 2 + 1 - 1
    assert [result.classes[name].iou for name in result.classes] == pytest.approx([2 / 4, 2 / 3, 1 / 2])
    assert result.miou == pytest.approx((1 / 2 + 2 / 3 + 1 / 2) / 3)
    assert result.accuracy == pytest.approx(5 / 7)
    assert result.low == result.high == pytest.approx(result.miou)  # one image has no spread


def test_a_class_that_no_image_shows_counts_for_no_mean() -> None:
    counted = np.array([[[4, 0, 0], [0, 0, 0], [0, 0, 0]]])
    result = overlaps(counted, ("roof", "car", "background"))
    assert result.miou == 1
    assert result.classes["car"].iou is None


def test_masks_become_class_numbers(tmp_path: Path) -> None:
    task = dense_task(coloured_set(tmp_path), "test", ("car", "roof"), {})
    assert (task.names, task.others) == ((("car",), ("roof",)), ("sky",))
    truth = task.truth(0)
    assert (truth[:, :32] == 1).all()
    assert (truth[:, 32:] == 0).all()
    merged = dense_task(tmp_path, "test", ("roof",), {"roof": ["roof", "sky"]})
    assert merged.truth(0)[0, [0, 63]].tolist() == [0, 1]  # the car is something else


def test_pixels_that_were_left_open_are_not_asked_about(tmp_path: Path) -> None:
    task = dense_task(coloured_set(tmp_path, ((0, 0, 0), (9, 9, 9))), "test", ("car", "roof"), {})
    assert task.truth(0)[0, [0, 63]].tolist() == [-1, 2]


def test_binary_masks_have_one_class(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((64, 64, 3), np.uint8))
    mask = np.zeros((32, 32), np.uint8)  # half the image's resolution
    mask[:8] = 255
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), mask)
    task = dense_task(tmp_path, "test", ("road",), {})
    assert task.truth(0).shape == (32, 32)
    assert task.truth(0)[[0, 31], 0].tolist() == [0, 1]
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.zeros((32, 64), np.uint8))
    with pytest.raises(DataError, match=r"a\.png: 64 x 32 pixels, its image 64 x 64"):
        task.truth(0)


def test_unknown_colours_and_missing_masks_are_named(tmp_path: Path) -> None:
    task = dense_task(coloured_set(tmp_path, ((7, 7, 7), (1, 2, 3))), "test", ("roof",), {})
    with pytest.raises(DataError, match=r"0\.png: unknown colours #010203 on 2048 pixels .*class_dict\.csv"):
        task.truth(0)
    task.masks[1].unlink()
    with pytest.raises(DataError, match=r"1\.png: no such file"):
        task.truth(1)


def test_prompts_that_stand_for_nothing_are_refused(tmp_path: Path) -> None:
    folder = coloured_set(tmp_path)
    with pytest.raises(UsageError, match=r"prompt lawn stands for no class .*--class lawn=NAME"):
        dense_task(folder, "test", ("lawn",), {})
    with pytest.raises(UsageError, match="two prompts stand for the class car"):
        dense_task(folder, "test", ("roof", "car"), {"roof": ["car"]})
    with pytest.raises(UsageError, match=r"no class rof in this set .did you mean roof"):
        dense_task(folder, "test", ("car",), {"car": ["rof"]})


def test_images_that_the_model_was_rectified_on_are_left_out(tmp_path: Path) -> None:
    folder = coloured_set(tmp_path)
    first = folder / "images" / "test" / "0.png"
    task = dense_task(folder, "test", ("car",), {}, seen={file_name(first)})
    assert [path.name for path in task.images] == ["1.png"]
    assert task.left_out == 1


def test_maps_are_the_graphs_logits(checkpoint: Checkpoint, rectification: Rectification) -> None:
    """Both with their rectification: what the drone reads at its places stands in the map at that cell."""
    model = DenseModel(checkpoint)
    bank = model.bank(PROMPTS, rectification)
    assert bank.row_bias.any()
    assert bank.rows[:, 32:].any()
    picture = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    seen = model.look(RgbImage(picture), (256, 256))
    maps = model.logits(seen, bank).reshape(3, -1)
    output = TorchImageEngine(checkpoint, (256, 256)).infer(picture[None], bank.graph_rows, bank.graph_bias)
    logits = place_logits(output, 0, bank)
    cells = seen.cell.reshape(seen.cell.shape[0], -1).numpy().T
    at = np.array([np.abs(cells - one).sum(axis=1).argmin() for one in output.place_embedding[0][:40]])
    peaks = logits[:40] > -1e3
    assert peaks[:, 2].all()
    assert peaks[:, :2].any()
    np.testing.assert_allclose(logits[:40][peaks], maps.T[at][peaks], atol=1e-3)


def test_a_map_at_pixels_is_interpolated(checkpoint: Checkpoint) -> None:
    from training.evaluation.dense_model import resampled

    seen = DenseModel(checkpoint).look(RgbImage(np.zeros((64, 64, 3), np.uint8)), (64, 64))
    ramp = np.tile(np.arange(8, dtype=np.float32), (1, 8, 1))
    found = resampled(ramp, seen, (64, 64), slice(0, 64))
    # Pixel x has its centre at cell (x + 0.5) / 8 - 0.5; beyond the outermost centres the map is flat.
    expected = np.clip((np.arange(64) + 0.5) / 8 - 0.5, 0, 7)
    np.testing.assert_allclose(found[0, 5], expected, atol=1e-5)
    np.testing.assert_array_equal(found[:, 20:30], resampled(ramp, seen, (64, 64), slice(20, 30)))


def test_before_and_after(tmp_path: Path, checkpoint: Checkpoint, rectification: Rectification) -> None:
    options = DenseOptions({}, image_size=(64, 64), plot=tmp_path, maps=1)
    folder = coloured_set(tmp_path / "set")
    report = evaluate_dense(checkpoint, folder, "test", PROMPTS, options, rectification)
    document = report.as_json()
    assert document["rectified"]
    assert document["others"] == "background"
    assert document["n"] == 2
    assert document["gain"] == pytest.approx(document["miou"] - document["miou_before"])
    assert (tmp_path / "classes.png").is_file()
    assert (tmp_path / "0.png").is_file()
    # Of zeros, it changes nothing.
    never = Rectification(np.zeros((32, 17), np.float32), np.zeros(17, np.float32))
    plain = evaluate_dense(checkpoint, folder, "test", PROMPTS, options, never)
    assert plain.chosen.before == plain.chosen.after
    assert plain.chosen.gain == 0
    nothing = replace(options, least=1.0)
    assert evaluate_dense(checkpoint, folder, "test", PROMPTS, nothing, None).chosen.after.miou == 0


def test_scene_prompts_have_no_map(tmp_path: Path, checkpoint: Checkpoint) -> None:
    prompts = PromptList.model_validate({"prompts": [{"id": "roof", "kind": "scene", "text": ["a roof"]}]})
    with pytest.raises(UsageError, match="prompt roof is of kind scene"):
        evaluate_dense(checkpoint, coloured_set(tmp_path), "test", prompts, DenseOptions({}), None)
