from __future__ import annotations

import torch
from torch import Tensor, nn

from training.models.lite import POSITION_WIDTH, Dense, decode_boxes
from training.models.lookup_graph import NO_PEAK, SILENT_BIAS, LookupGraph

SIDE, WIDTH = 5, 4
SCALE, BIAS = 2.0, -1.0


class DrawnTower(nn.Module):
    """A tower whose cells are given: the graph around it is what is tested."""

    def __init__(self, cell: Tensor, box: Tensor) -> None:
        super().__init__()
        self.cell, self.box = cell, box
        self.logit_scale = nn.Parameter(torch.tensor(SCALE).log())
        self.logit_bias = nn.Parameter(torch.tensor(BIAS))

    def forward(self, image: Tensor) -> Dense:
        embedding = torch.nn.functional.normalize(self.cell.mean(dim=(2, 3)), dim=1)
        return Dense(self.cell, self.box, embedding)


def graph_of(maps: dict[int, dict[tuple[int, int], float]], places: int) -> tuple[LookupGraph, Tensor]:
    """A graph whose prompt k has the given similarities at (row, column), 0 elsewhere; and its prompts."""
    cell = torch.zeros(1, WIDTH, SIDE, SIDE)
    for prompt, values in maps.items():
        for (row, column), value in values.items():
            cell[0, prompt, row, column] = value
    box = torch.randn(1, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    prompts = torch.eye(WIDTH, WIDTH + POSITION_WIDTH)
    return LookupGraph(DrawnTower(cell, box), places).eval(), prompts  # type: ignore[arg-type]


IMAGE = torch.zeros(1, 8 * SIDE, 8 * SIDE, 3, dtype=torch.uint8)


@torch.inference_mode()
def test_a_place_is_a_rows_own_peak_and_the_slope_beside_it_is_not() -> None:
    # Prompt 0 peaks at (2, 2); prompt 1 peaks weakly at (2, 3), on the slope of prompt 0's hill.
    maps = {0: {(2, 2): 0.9, (2, 3): 0.7}, 1: {(2, 3): 0.3}}
    graph, prompts = graph_of(maps, 2)
    scene, embedding, box, cells, logit = graph(IMAGE, prompts, torch.zeros(WIDTH))
    assert scene.shape == (1, WIDTH)
    assert embedding.shape == (1, WIDTH)
    torch.testing.assert_close(logit[0, 0, 0], torch.tensor(SCALE * 0.9 + BIAS))
    assert logit[0, 0, 1] == NO_PEAK
    assert logit[0, 1, 0] == NO_PEAK
    torch.testing.assert_close(logit[0, 1, 1], torch.tensor(SCALE * 0.3 + BIAS))
    torch.testing.assert_close(cells[0, 0, :2], torch.tensor([0.9, 0.0]))
    decoded = decode_boxes(graph.tower.box)[0]
    torch.testing.assert_close(box[0, 0], decoded[2 * SIDE + 2])
    torch.testing.assert_close(box[0, 1], decoded[2 * SIDE + 3])


@torch.inference_mode()
def test_places_come_best_first_by_their_best_row() -> None:
    maps = {0: {(0, 0): 0.2, (4, 4): 0.8}, 1: {(0, 4): 0.5}}
    graph, prompts = graph_of(maps, 3)
    logit = graph(IMAGE, prompts, torch.zeros(WIDTH))[4]
    best = logit[0].amax(dim=1)
    torch.testing.assert_close(best, torch.tensor([0.8, 0.5, 0.2]) * SCALE + BIAS)


@torch.inference_mode()
def test_a_silent_row_creates_no_place_and_is_readable_at_every_place() -> None:
    maps = {0: {(1, 1): 0.5, (3, 3): 0.4}, 1: {(1, 1): 0.2, (1, 2): 0.9, (3, 4): 0.8}}
    graph, prompts = graph_of(maps, 2)
    bias = torch.tensor([0.0, 2 * SILENT_BIAS, 0.0, 0.0])
    _, _, _, cells, logit = graph(IMAGE, prompts, bias)
    # Both places are prompt 0's, though the silent row is stronger elsewhere.
    torch.testing.assert_close(cells[0, :, 0], torch.tensor([0.5, 0.4]))
    # Its own peak is at (1, 2), and its logit at (1, 1) is told all the same.
    read = logit[0, :, 1] - bias[1]
    torch.testing.assert_close(read, torch.tensor([0.2, 0.0]) * SCALE + BIAS, atol=1e-3, rtol=0)


@torch.inference_mode()
def test_a_bias_moves_a_row_against_the_others() -> None:
    maps = {0: {(0, 0): 0.5}, 1: {(4, 4): 0.4}}
    graph, prompts = graph_of(maps, 1)
    cells = graph(IMAGE, prompts, torch.tensor([0.0, 1.0, -9.0, -9.0]))[3]
    torch.testing.assert_close(cells[0, 0, :2], torch.tensor([0.0, 0.4]))


@torch.inference_mode()
def test_position_columns_of_a_prompt_weigh_where_a_cell_lies() -> None:
    graph, prompts = graph_of({0: {(0, 0): 0.5, (0, 4): 0.5}}, 1)
    plain = graph(IMAGE, prompts, torch.tensor([0.0, -9.0, -9.0, -9.0]))
    prompts[0, WIDTH + 2] = -1.0  # against cos(pi x), so for the right side
    right = graph(IMAGE, prompts, torch.tensor([0.0, -9.0, -9.0, -9.0]))
    decoded = decode_boxes(graph.tower.box)[0]
    torch.testing.assert_close(right[2][0, 0], decoded[4])
    torch.testing.assert_close(plain[0], right[0])  # scenes have no place
