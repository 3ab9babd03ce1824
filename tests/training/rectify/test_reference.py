"""The reference prompt against the text tower itself: tokens that are words say what those words say."""

from __future__ import annotations

import pytest
import torch

from training.checkpoint import AnyCheckpoint, open_checkpoint
from training.recipe import DEFAULT_CHECKPOINT
from training.rectify.reference import ReferencePrompt
from training.torch_engine import TorchTextEncoder, text_tower


@pytest.fixture(scope="module", params=["minilm", "clip"])
def checkpoint(request: pytest.FixtureRequest, tiny_clip: AnyCheckpoint) -> AnyCheckpoint:
    return tiny_clip if request.param == "clip" else open_checkpoint(DEFAULT_CHECKPOINT)


def test_tokens_that_are_words_give_the_embedding_of_the_sentence(checkpoint: AnyCheckpoint) -> None:
    encoder = TorchTextEncoder(checkpoint)
    _, *shared, _ = encoder.token_ids("a photo of")
    reference = ReferencePrompt(checkpoint, tokens=len(shared))
    with torch.no_grad():
        reference.tokens.copy_(reference._table()[shared])
        found = reference(reference.read(["a red car", "trees beside the long road"]))
    wanted = encoder.encode(["a photo of a red car", "a photo of trees beside the long road"])
    assert torch.allclose(found, torch.from_numpy(wanted), atol=1e-5)


def test_the_text_tower_stays_as_it_is_while_tokens_learn(checkpoint: AnyCheckpoint) -> None:
    reference = ReferencePrompt(checkpoint)
    before = [value.clone() for value in text_tower(checkpoint).parameters()]
    optimizer = torch.optim.SGD(reference.parameters(), 1.0)
    tokens = reference.tokens.detach().clone()
    reference(reference.read(["a car", "a tree"]))[:, 0].sum().backward()
    optimizer.step()
    assert not torch.equal(reference.tokens, tokens)
    after = text_tower(checkpoint).parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_sentence_too_long_beside_the_tokens_is_cut_before_its_end(
    checkpoint: AnyCheckpoint,
) -> None:
    encoder = TorchTextEncoder(checkpoint)
    sentence = "a " + "very " * (encoder.max_tokens - 8) + "old car"
    reference = ReferencePrompt(checkpoint)
    ids = reference.read([sentence])
    assert ids.shape == (1, encoder.max_tokens - len(reference.tokens))
    assert ids[0, -1] == encoder.token_ids(sentence)[-1]
    assert reference(ids).norm().item() == pytest.approx(1.0, abs=1e-4)
