from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from firmware_cfg.errors import UsageError
from training.ablations.cached import HeadOptions
from training.ablations.images import AblationImages, Counted, collect
from training.ablations.report import table
from training.ablations.study import BASE, Figure, Result, Study, recall_by_image
from training.ablations.words import LastLayer, WordBank
from training.models.lite import LiteImageTower
from training.models.text import TextTower, encode_sentences
from training.recipe import load_recipe
from training.validation import mean_recall

OPTIONS = HeadOptions(steps=2, batch=6, all_sentences=False)
SMALL = replace(BASE, size=64)


@pytest.fixture(scope="module")
def text() -> TextTower:
    torch.manual_seed(0)
    return TextTower().eval()


@pytest.fixture(scope="module")
def images(
    synthetic_root: Path, small_recipe: str, tmp_path_factory: pytest.TempPathFactory
) -> AblationImages:
    file = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    file.write_text(small_recipe)
    return collect(synthetic_root, load_recipe(file))


def test_sentences_come_from_people_boxes_and_masks(images: AblationImages) -> None:
    assert {origin: len(samples) for origin, samples in images.train.items()} == {
        "people": 5,
        "boxes": 9,  # three training images each of the COCO, YOLO and point sets
        "masks": 3,
    }
    assert len(images.retrieval) == 2
    assert {origin: len(items) for origin, items in images.counted.items()} == {"boxes": 3, "masks": 1}
    asked = images.counted["masks"][0]
    assert asked.sentences[0] == "there is one person in the picture"
    assert asked.sentences[3] == "there are four people in the picture"
    assert (len(asked.sentences), asked.truth) == (10, 0)


def test_cached_states_and_the_last_layer_are_the_whole_encoder(text: TextTower, tmp_path: Path) -> None:
    texts = ["a ship", "there are four people in the picture", "grass"]
    layer = LastLayer(text.minilm, WordBank(text.minilm, texts, tmp_path / "words.npy"))
    # The states are kept in half precision.
    torch.testing.assert_close(layer.of(texts), encode_sentences(text.minilm, texts), rtol=0, atol=1e-3)


def test_parts_of_the_recall_average_to_it() -> None:
    similarity = torch.randn(30, 60, generator=torch.Generator().manual_seed(0))
    owner = torch.arange(30).repeat_interleave(2)
    assert recall_by_image(similarity, owner).mean() == pytest.approx(mean_recall(similarity, owner))


def test_variants_are_run_once_and_told_in_one_table(
    images: AblationImages, text: TextTower, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    study = Study(images, LiteImageTower().eval(), text, tmp_path, OPTIONS, runs=2)
    study.centre()
    variants = [
        SMALL,
        replace(SMALL, name="people alone", origins=("people",)),
        replace(SMALL, name="frozen", text="frozen"),
        replace(SMALL, name="last layer", text="last_layer"),
    ]
    before = {name: value.clone() for name, value in text.minilm.state_dict().items()}
    results = study.run_all(variants)
    assert [result.recall.n for result in results] == [2, 2, 2, 2]
    assert [(result.boxes.n, result.masks.n) for result in results] == [(3, 1)] * 4
    torch.testing.assert_close(text.minilm.state_dict(), before, rtol=0, atol=0)

    kept = json.loads((tmp_path / "results.json").read_text())["results"]
    kept["frozen"]["recall"]["values"] = [0.0, 0.5]
    document = json.loads((tmp_path / "results.json").read_text()) | {"results": kept}
    (tmp_path / "results.json").write_text(json.dumps(document))
    again = study.run_all(variants)
    assert again[2].recall.values == (0.0, 0.5)
    assert [again[i] for i in (0, 1, 3)] == [results[i] for i in (0, 1, 3)]
    assert "| frozen | 25.0 (0.0 to 50.0) |" in table(again, images)

    study.options = replace(OPTIONS, steps=3)
    with pytest.raises(UsageError, match="results of other options"):
        study.run_all(variants)


def test_variants_are_compared_item_by_item() -> None:
    def result(name: str, values: tuple[float, ...]) -> Result:
        return Result(replace(BASE, name=name), Figure(values), Figure(values), Figure(values), 1.0)

    asked = [Counted(Path("a.jpg"), ("one", "two"), truth) for truth in (0, 0, 1)]
    results = [
        result("base", (0.9, 0.4, 0.9, 0.4)),
        result("one better", (1.0, 0.5, 1.0, 0.5)),
        result("mixed", (1.0, 0.3, 0.9, 0.4)),
    ]
    text = table(results, AblationImages({}, [], {"boxes": asked, "masks": asked[1:]}))
    base, better, mixed, guess = text.splitlines()[2:]
    assert base.startswith("| base | 65.0 (40.0 to 90.0) |  | 65.0")
    assert "| **+10.0 (+10.0 to +10.0)** |" in better
    assert "| +0.0 (-7.5 to +7.5) |" in mixed
    assert guess == "| always the commonest number |  |  | 66.7 |  | 50.0 |  |"
