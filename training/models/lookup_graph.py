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
    logit everywhere, and decide only in what order cells without any peak fill up the M of a quiet image.
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
        cells = torch.cat((dense.cell, position), dim=1).flatten(2)
        # A map a row, as the convolutions lay them out: transposing hundreds of maps costs more than filling
        # them. The scale is taken in where it meets rows, not maps.
        rows = self.tower.logit_scale.exp() * prompts
        offset = (self.tower.logit_bias + bias).view(1, -1, 1)
        maps = (rows @ cells + offset).reshape(n, -1, h, w)
        counts = (maps >= F.max_pool2d(maps, 3, 1, 1)) | (bias.view(1, -1, 1, 1) <= SILENT_BIAS)
        claims = torch.where(counts, maps, NO_PEAK)
        index = claims.amax(dim=1).flatten(1).topk(self.places, dim=1).indices
        boxes = decode_boxes(dense.box).gather(1, index.unsqueeze(2).expand(-1, -1, 4))
        scene = dense.embedding @ prompts[:, :width].T
        return scene, dense.embedding, boxes, _taken(cells, index), _taken(claims.flatten(2), index)


def _taken(values: Tensor, index: Tensor) -> Tensor:
    """Of values (N, C, cells) those at cells `index` (N, M): (N, M, C)."""
    return values.gather(2, index.unsqueeze(1).expand(-1, values.shape[1], -1)).transpose(1, 2)
