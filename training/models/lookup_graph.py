"""The graph that flies: image, prompts, bias -> scene, embedding and the strongest distinct places."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.lite import LiteImageTower, decode_boxes, position_features

PLACES = 300
NO_PEAK = -1e4  # below every logit, and still finite in half precision
SILENT_BIAS = (
    -500.0
)  # a row with at most this bias (background, scenes) creates no place, and is read at every one

INPUTS = ("image", "prompts", "bias")
OUTPUTS = ("scene", "embedding", "place_box", "place_embedding", "place_logit")


class LookupGraph(nn.Module):
    """Dense lookup, peaks and top-k around an image tower (design: the vocabulary is data).

    forward: image (N, H, W, 3) uint8, prompts (P, D + E) float32, bias (P,) float32 -> scene (N, P) cosine,
    embedding (N, D) unit, place_box (N, M, 4) input pixels, place_embedding (N, M, D + E), place_logit (N, M,
    P) with the bias included; M = 300 places, best first by their best prompt's logit.

    A row's logit at a place is NO_PEAK unless the row's own map peaks there: otherwise the slope of one
    object's hill would count again wherever another row has a weak peak. Rows below SILENT_BIAS keep their
    logit everywhere.
    """

    def __init__(self, tower: LiteImageTower, places: int = PLACES) -> None:
        super().__init__()
        self.tower = tower
        self.places = places

    def forward(
        self, image: Tensor, prompts: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        dense = self.tower(image)
        n, width, h, w = dense.cell.shape
        position = position_features(h, w, dense.cell).unsqueeze(0).expand(n, -1, h, w)
        cells = torch.cat((dense.cell, position), dim=1).flatten(2).transpose(1, 2)
        logits = self.tower.logit_scale.exp() * (cells @ prompts.T) + self.tower.logit_bias + bias
        maps = logits.transpose(1, 2).reshape(n, -1, h, w)
        own_peaks = torch.where(maps >= F.max_pool2d(maps, 3, 1, 1), maps, NO_PEAK)
        claims = torch.where(bias.view(1, -1, 1, 1) <= SILENT_BIAS, maps, own_peaks)
        index = own_peaks.amax(dim=1).flatten(1).topk(self.places, dim=1).indices.unsqueeze(2)
        boxes = decode_boxes(dense.box).gather(1, index.expand(-1, -1, 4))
        embeddings = cells.gather(1, index.expand(-1, -1, cells.shape[2]))
        places = claims.flatten(2).transpose(1, 2).gather(1, index.expand(-1, -1, claims.shape[1]))
        scene = dense.embedding @ prompts[:, :width].T
        return scene, dense.embedding, boxes, embeddings, places
