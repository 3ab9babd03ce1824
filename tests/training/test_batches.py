from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from training.batches import Batches
from training.errors import DataError
from training.pools import ObjectPool
from training.prompts import SentenceBank, sentences
from training.recipe import Recipe, load_recipe


@pytest.fixture(scope="module")
def recipe(small_recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    file = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    file.write_text(small_recipe)
    return load_recipe(file)


@pytest.fixture(scope="module")
def batches(recipe: Recipe, synthetic_root: Path) -> Batches:
    return Batches(synthetic_root, recipe)


@pytest.fixture(scope="module")
def bank(batches: Batches) -> SentenceBank:
    """Numbered embeddings: which sentence a row is can be read from it."""
    texts = list(dict.fromkeys(batches.all_sentences()))
    rows = torch.arange(len(texts), dtype=torch.float32)[:, None].repeat(1, 384)
    return SentenceBank({text: i for i, text in enumerate(texts)}, rows)


def texts_of(bank: SentenceBank, rows: torch.Tensor) -> list[str]:
    texts = list(bank.index)
    return [texts[int(row[0])] for row in rows]


def test_phrases_become_sentences_without_repetition() -> None:
    assert sentences(["ship", "boat", "ship"], ["{}", "a {}"]) == ["ship", "a ship", "boat", "a boat"]


def test_the_batch_of_a_step_is_always_the_same_and_the_next_is_another(
    batches: Batches, bank: SentenceBank
) -> None:
    first, again, other = batches.dense(5, bank), batches.dense(5, bank), batches.dense(6, bank)
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.heat, again.heat)
    assert torch.equal(first.sentence, again.sentence)
    assert not torch.equal(first.image, other.image)
    captions = [batches.captions(step, bank) for step in (5, 5, 6)]
    assert torch.equal(captions[0].image, captions[1].image)
    assert not torch.equal(captions[0].image, captions[2].image)


def test_the_stream_continues_where_it_is_told_to(batches: Batches, bank: SentenceBank) -> None:
    whole = list(batches.stream(0, 4, bank))
    rest = list(batches.stream(2, 4, bank))
    assert len(whole) == 4
    for (dense, captioned), (dense_again, captioned_again) in zip(whole[2:], rest, strict=True):
        assert torch.equal(dense.image, dense_again.image)
        assert torch.equal(captioned.image, captioned_again.image)
    assert list(batches.stream(4, 4, bank)) == []


@pytest.mark.parametrize("step", range(6))
def test_a_sentence_is_judged_only_on_images_annotated_for_it(
    batches: Batches, bank: SentenceBank, step: int
) -> None:
    batch = batches.dense(step, bank)
    n, prompts = batch.heat.shape[:2]
    assert batch.heat.shape == batch.weight.shape == (n, prompts, 12, 12)
    assert len(batch.sentence) == prompts
    words = texts_of(bank, batch.sentence)
    of_set = [{text for choice in pool.words for text in choice} for pool in batches.pools]
    distractors = set(batches.distractors)
    judged = batch.weight.flatten(2).amax(2) > 0
    for row in judged:
        seen = {words[column] for column in torch.nonzero(row)[:, 0].tolist()} - distractors
        assert sum(seen <= mine for mine in of_set) >= 1
        assert seen
    # Distractors are judged everywhere, and are nowhere.
    foreign = [i for i, word in enumerate(words) if word in distractors]
    assert foreign
    assert bool((batch.weight[:, foreign] == 1).all())
    assert not batch.heat[:, foreign].any()
    # Every object is a peak in its own image.
    peaks = (batch.heat == 1).sum()
    assert peaks <= len(batch.owner)
    assert bool((batch.heat.amax(1).flatten(1)[batch.owner, batch.cell] == 1).all())
    assert len(batch.box) == len(batch.sized) == len(batch.cell) == len(batch.owner)
    assert sum(rows.stop - rows.start for _, rows in batch.area_rows) == len(batch.area)


def test_captions_mark_every_pair_that_is_true(batches: Batches, bank: SentenceBank) -> None:
    for step in range(6):
        batch = batches.captions(step, bank)
        assert batch.same.shape == (3, 3 + 4)
        assert bool(batch.same[:, :3].diagonal().all())
        words = texts_of(bank, batch.sentence)
        for column, word in enumerate(words):
            owners = [i for i, sample in enumerate(batches.captioned) if word in sample.captions]
            if owners:  # a caption, not a scene label: it is true for one drawn image at most
                assert batch.same[:, column].sum() <= 1


def test_images_with_boxes_join_the_captioned_ones_with_sentences_about_their_boxes(
    recipe: Recipe, synthetic_root: Path
) -> None:
    schedule = recipe.schedule.model_copy(update={"box_captions": 2})
    joined = Batches(synthetic_root, recipe.model_copy(update={"schedule": schedule}))
    texts = list(dict.fromkeys(joined.all_sentences()))
    rows = torch.arange(len(texts), dtype=torch.float32)[:, None].repeat(1, 384)
    bank = SentenceBank({text: i for i, text in enumerate(texts)}, rows)
    batch = joined.captions(0, bank)
    assert len(batch.image) == 3 + 2
    assert bool(batch.same[:, :5].diagonal().all())
    own = {text for sample in joined.captioned[joined.scenes :] for text in sample.captions}
    assert {word in own for word in texts_of(bank, batch.sentence)[3:5]} == {True}
    assert {word in own for word in texts_of(bank, batch.sentence)[:3]} == {False}


def test_more_box_captions_than_images_with_boxes_are_refused(recipe: Recipe, synthetic_root: Path) -> None:
    schedule = recipe.schedule.model_copy(update={"box_captions": 5000})
    with pytest.raises(DataError, match="box_captions is more"):
        Batches(synthetic_root, recipe.model_copy(update={"schedule": schedule}))


def test_thermal_sets_speak_of_thermal_images(batches: Batches) -> None:
    pool = next(pool for pool in batches.pools if pool.spec.thermal)
    assert pool.words == [["a vehicle in thermal infrared"]]


def test_a_pool_holds_its_split_and_the_recipes_classes_in_the_recipes_order(
    recipe: Recipe, synthetic_root: Path
) -> None:
    spec = recipe.object_sets[0].model_copy(update={"objects": {"plane": ["plane"]}})
    pool = ObjectPool(synthetic_root, spec, "train", recipe.templates, recipe.thermal_templates)
    assert [sample.path.stem for sample in pool.samples] == ["train_0", "train_1", "train_2"]
    # Only seed 1 drew a plane.
    assert [sample.labels.tolist() for sample in pool.samples] == [[], [0], []]
    held = ObjectPool(synthetic_root, spec, "val", recipe.templates, recipe.thermal_templates)
    assert [sample.path.stem for sample in held.samples] == ["held_back"]


def changed_set(**changes: object) -> Callable[[Recipe], Recipe]:
    def change(recipe: Recipe) -> Recipe:
        first = recipe.object_sets[0].model_copy(update=changes)
        return recipe.model_copy(update={"object_sets": [first, *recipe.object_sets[1:]]})

    return change


def changed_schedule(**changes: int) -> Callable[[Recipe], Recipe]:
    return lambda recipe: recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update=changes)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed_set(objects={"submarine": ["submarine"]}), "coco_set: no class 'submarine'"),
        (changed_set(name="nowhere"), r"nowhere/instances_train\.json: no such file"),
        (changed_schedule(caption_batch=6), "5 captioned images, caption_batch is more"),
        (changed_schedule(extra_captions=11), "10 captions, extra_captions is more"),
    ],
)
def test_a_recipe_that_does_not_fit_the_data_says_what_to_change(
    recipe: Recipe, synthetic_root: Path, change: Callable[[Recipe], Recipe], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Batches(synthetic_root, change(recipe))


def test_rare_classes_are_looked_at(batches: Batches) -> None:
    pool = batches.pools[0]
    rng = np.random.default_rng(0)
    drawn = [pool.draw(rng) for _ in range(2000)]
    for i, focus in drawn:
        assert focus is None or (pool.samples[i].labels == focus).any()
    # One image in three shows the plane; looking at it is two draws in five (1 to the root of 2).
    looked = [focus for _, focus in drawn if focus is not None]
    share = looked.count(1) / len(looked)
    assert 0.37 < share < 0.46
