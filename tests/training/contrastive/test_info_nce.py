from __future__ import annotations

import math

import torch
from torch.nn.functional import normalize

import training.torchvision_ops  # noqa: F401  (must run before open_clip imports torchvision)
from training.contrastive.loss import info_nce
from training.processes import Processes

ALONE = Processes(0, 1, torch.device("cpu"))


def features(*shape: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(3)), dim=-1)


def test_different_sentences_give_the_loss_of_open_clip() -> None:
    from open_clip.loss import ClipLoss

    image, text = features(2, 7, 16)
    scale = torch.tensor(9.0)
    found = info_nce(image, text, scale, torch.arange(7), ALONE)
    torch.testing.assert_close(found, ClipLoss()(image, text, scale))


def test_images_under_one_sentence_share_the_target() -> None:
    """Three pairs, the first two under one sentence, with all cosines 0: every row is uniform over three."""
    image, text = torch.eye(6)[:3], torch.eye(6)[3:]
    found = info_nce(image, text, torch.tensor(5.0), torch.tensor([4, 4, 9]), ALONE)
    assert math.isclose(found.item(), math.log(3), rel_tol=1e-6)

    # Rows [s s 0], [s s 0], [0 0 s]: the best that the first two can do is log 2.
    image, text = torch.eye(3)[[0, 0, 1]], torch.eye(3)[[0, 0, 1]]
    found = info_nce(image, text, torch.tensor(30.0), torch.tensor([4, 4, 9]), ALONE)
    assert math.isclose(found.item(), 2 / 3 * math.log(2), rel_tol=1e-6)
    plain = info_nce(image, text, torch.tensor(30.0), torch.tensor([0, 1, 2]), ALONE)
    assert math.isclose(plain.item(), 2 / 3 * math.log(2), rel_tol=1e-6)


def test_a_shared_sentence_is_no_reason_to_push_its_images_away() -> None:
    image = normalize(torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.0]]), dim=1).requires_grad_()
    text = normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]), dim=1)
    pull = {}
    for name, pair in {"shared": [7, 7, 8], "apart": [1, 2, 3]}.items():
        loss = info_nce(image, text[[0, 2, 1]], torch.tensor(10.0), torch.tensor(pair), ALONE)
        pull[name] = torch.autograd.grad(loss, image)[0]
    # The second text is taken from the third image: with it shared, the first image is drawn there as well.
    assert pull["shared"][0, 0] > pull["apart"][0, 0]
