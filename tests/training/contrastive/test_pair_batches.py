from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from training.contrastive.batches import PairBatch, PairBatches, text_number
from training.data.reader import ShardSamples
from training.errors import DataError
from training.processes import Processes

BATCH, AN_EPOCH = 8, 4  # 33 captioned images


def batches(
    tiny: ModuleType, shards: Path, rank: int = 0, count: int = 1, towers: Any = None, **schedule: Any
) -> PairBatches:
    peers = Processes(rank, count, torch.device("cpu"))
    recipe = tiny.recipe(shards, **{"batch": BATCH, **schedule})
    return PairBatches(ShardSamples(shards), towers or tiny.TinyTowers(), recipe, peers)


def same(one: PairBatch, other: PairBatch) -> bool:
    """Whether batches hold the same pairs; tokens may be padded to different lengths."""
    return torch.equal(one.image, other.image) and torch.equal(one.pair, other.pair)


def joined(parts: Sequence[PairBatch]) -> PairBatch:
    return PairBatch(
        torch.cat([part.image for part in parts]), parts[0].tokens, torch.cat([part.pair for part in parts])
    )


def test_an_epoch_shows_an_image_once_and_the_next_in_another_order(tiny: ModuleType, shards: Path) -> None:
    """Every caption of the drawn set says either the image's number or only its colour."""
    made = batches(tiny, shards, shared_captions="negative")
    seen = []
    read = made._pair
    made._pair = lambda index, epoch: (seen.append(index), read(index, epoch))[1]  # type: ignore[method-assign]
    for number in range(2 * AN_EPOCH):
        made.batch(number)
    first, second = seen[: BATCH * AN_EPOCH], seen[BATCH * AN_EPOCH :]
    assert len(set(first)) == len(first)
    assert len(set(second)) == len(second)
    assert first != second
    silent = [i for i in range(34) if not made.samples.captions(i)]
    assert len(silent) == 1
    assert not set(silent) & {*first, *second}


def test_processes_share_the_batch_of_one(tiny: ModuleType, shards: Path) -> None:
    whole = batches(tiny, shards)
    parts = [batches(tiny, shards, rank, 4) for rank in range(4)]
    for number in (0, 3, 9):
        assert same(joined([part.batch(number) for part in parts]), whole.batch(number))


def test_a_stream_may_begin_anywhere(tiny: ModuleType, shards: Path) -> None:
    made = batches(tiny, shards)
    whole = list(made.stream(0, 7, workers=3))
    for found, wanted in zip(made.stream(5, 7, workers=1), whole[5:], strict=True):
        assert same(found, wanted)
    assert list(made.stream(4, 4, workers=2)) == []
    assert same(whole[6], made.batch(6))


def test_an_image_returns_with_another_crop_in_the_next_epoch_and_another_seed(
    tiny: ModuleType, shards: Path
) -> None:
    first, other = batches(tiny, shards), batches(tiny, shards, seed=6)
    crops = [made._pair(3, epoch)[0] for made, epoch in ((first, 0), (first, 1), (other, 0))]
    assert len({crop.tobytes() for crop in crops}) == 3
    np.testing.assert_array_equal(first._pair(3, 0)[0], crops[0])


def test_equal_sentences_are_one_number_unless_the_recipe_takes_them_for_negatives(
    tiny: ModuleType, shards: Path
) -> None:
    spoken: list[str] = []

    class Listening(tiny.TinyTowers):  # type: ignore[name-defined,misc]
        def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
            spoken.extend(texts)
            found: torch.Tensor = super().tokenize(texts)
            return found

    shared = batches(tiny, shards, towers=Listening(), batch=24).batch(0)
    assert len(set(spoken)) < len(spoken) == 24
    assert shared.pair.tolist() == [text_number(text) for text in spoken]
    assert len(set(shared.pair.tolist())) == len(set(spoken))
    apart = batches(tiny, shards, 1, 2, shared_captions="negative").batch(0)
    assert apart.pair.tolist() == [4, 5, 6, 7]


def test_a_batch_that_the_images_cannot_fill_is_refused(tiny: ModuleType, shards: Path) -> None:
    with pytest.raises(DataError, match=r"33 captioned images, fewer than a batch of 34 \(lower"):
        batches(tiny, shards, batch=34)
