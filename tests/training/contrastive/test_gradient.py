from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from training.contrastive.batches import PairBatch
from training.contrastive.gradient import Contrast, Encoders
from training.contrastive.loss import info_nce
from training.contrastive.state import training_mode
from training.processes import Processes

ALONE = Processes(0, 1, torch.device("cpu"))
PAIRS = 7


@pytest.fixture
def batch(tiny: ModuleType) -> PairBatch:
    numbers = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (PAIRS, 16, 16, 3), generator=numbers, dtype=torch.uint8)
    texts = [f"sentence {i}" * (1 + i % 3) for i in range(PAIRS)]
    return PairBatch(image, tiny.TinyTowers().tokenize(texts), torch.tensor([0, 1, 2, 3, 3, 4, 5]))


def scaler(enabled: bool = False) -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", enabled=enabled)


def gradients(towers: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in towers.named_parameters() if p.grad is not None}


def taken(
    tiny: ModuleType, batch: PairBatch, dropout: float = 0.0, **how: object
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradient of a batch, by Contrast with these options."""
    towers = tiny.TinyTowers(dropout)
    training_mode(towers, tiny.recipe("-").schedule)
    contrast = Contrast(Encoders(towers), ALONE, **{"scaler": scaler(), **how})
    loss = contrast.accumulate(batch, 0.5, 21, True)
    return loss, gradients(towers)


@pytest.mark.parametrize("chunk", [1, 3, 6])
def test_chunks_give_the_gradient_of_the_whole_batch(tiny: ModuleType, batch: PairBatch, chunk: int) -> None:
    whole_loss, whole = taken(tiny, batch)
    loss, found = taken(tiny, batch, chunk=chunk)
    torch.testing.assert_close(loss, whole_loss)
    assert {"scale", "conv.weight", "norm.weight", "letters.weight"} <= found.keys()
    assert "unused.weight" not in found
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-6)


def test_a_chunks_second_pass_drops_out_what_its_first_did(tiny: ModuleType, batch: PairBatch) -> None:
    """Against autograd through all chunks at once, each under the random numbers of its seed."""
    chunk, seed = 3, 21
    towers = tiny.TinyTowers(dropout=0.4)
    training_mode(towers, tiny.recipe("-").schedule)
    image, text = [], []
    for i, piece in enumerate(zip(batch.image.split(chunk), batch.tokens.split(chunk), strict=True)):
        torch.manual_seed(seed + i)
        for features, found in zip((image, text), towers(*piece), strict=True):
            features.append(found)
    loss = info_nce(torch.cat(image), torch.cat(text), towers.scale.exp(), batch.pair, ALONE)
    (loss * 0.5).backward()
    chunked_loss, found = taken(tiny, batch, dropout=0.4, chunk=chunk)
    torch.testing.assert_close(chunked_loss, loss.detach())
    torch.testing.assert_close(found, gradients(towers), rtol=1e-4, atol=1e-6)
    assert not torch.equal(taken(tiny, batch)[0], loss)  # dropout did something


@pytest.mark.parametrize("chunk", [None, 2])
def test_a_scaled_loss_scales_the_gradient_alone(
    tiny: ModuleType, batch: PairBatch, chunk: int | None
) -> None:
    plain_loss, plain = taken(tiny, batch, chunk=chunk)
    scaling = torch.amp.GradScaler("cpu", init_scale=256.0)
    loss, found = taken(tiny, batch, chunk=chunk, scaler=scaling)
    torch.testing.assert_close(loss, plain_loss)
    torch.testing.assert_close({k: v / 256 for k, v in found.items()}, plain, rtol=1e-4, atol=1e-6)


def test_half_precision_gives_nearly_the_same_gradient(tiny: ModuleType, batch: PairBatch) -> None:
    loss, exact = taken(tiny, batch)
    half_loss, half = taken(tiny, batch, autocast=torch.bfloat16)
    assert half_loss.dtype == torch.float32
    assert not torch.equal(half_loss, loss)
    torch.testing.assert_close(half_loss, loss, rtol=0.02, atol=0.0)
    for name in ("conv.weight", "letters.weight"):
        alike = torch.cosine_similarity(half[name].flatten(), exact[name].flatten(), dim=0)
        assert alike > 0.98
