"""Contrastive pre-training of towers small enough for a test, as a program of its own.

`python run_tiny.py SHARDS OUT [SCHEDULE_JSON] [--resume] [--kill-at STEP]`; torchrun starts it as well.
Killed at a step, it ends itself with SIGKILL the moment that step is logged.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from training.contrastive.recipe import ContrastRecipe
from training.contrastive.run import contrast_pretrain
from training.contrastive.sources import open_sources
from training.contrastive.start import Start
from training.loop import RunLog
from training.processes import joined
from training.towers.base import Towers, unit

WIDTH = 8
SCHEDULE: dict[str, Any] = {
    "steps": 6,
    "warmup": 2,
    "batch": 8,
    "learning_rate": 0.01,
    "precision": "float32",
    "evaluate_every": 3,
    "save_every": 2,
    "seed": 5,
}


class TinyTowers(Towers):
    """A convolution with batch norm, and a bag of letters; a part that no embedding depends on."""

    name = "tiny"
    embedding_width = WIDTH
    image_size = 16

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6 * 7 * 7, WIDTH)
        self.letters = nn.Embedding(128, WIDTH)
        self.dropout = nn.Dropout(dropout)
        self.unused = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.tensor(2.0))

    @property
    def logit_scale(self) -> Tensor:
        return self.scale

    def encode_image(self, image: Tensor) -> Tensor:
        pixels = image.float().permute(0, 3, 1, 2) / 127.5 - 1.0
        return unit(self.head(self.dropout(self.norm(self.conv(pixels)).relu().flatten(1))))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        tokens = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.int64)
        for row, text in zip(tokens, texts, strict=True):
            row[: len(text)] = torch.tensor([ord(letter) % 128 for letter in text])
        return tokens

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        known = (tokens != 0).float()[:, :, None]
        return unit((self.dropout(self.letters(tokens)) * known).sum(1) / known.sum(1))


def recipe(shards: Path, **schedule: Any) -> ContrastRecipe:
    return ContrastRecipe.model_validate(
        {"model": "tiny", "shards": str(shards), "schedule": {**SCHEDULE, **schedule}}
    )


def train(
    shards: Path, out: Path, resume: bool = False, towers: TinyTowers | None = None, **schedule: Any
) -> tuple[dict[str, Any], TinyTowers]:
    """A run, or this process's part of one; its best validation and the towers as they ended."""
    towers = towers or TinyTowers()
    chosen = recipe(shards, **schedule)

    def save(folder: Path, metrics: Mapping[str, Any], card: str) -> None:
        folder.mkdir(exist_ok=True)
        torch.save(towers.state_dict(), folder / "weights.pt")
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "card.md").write_text(card)

    with joined() as processes:
        sources = open_sources(chosen, None)
        console = Console(stderr=True, quiet=not processes.main)
        start = Start(towers, "drawn at random", save)
        best = contrast_pretrain(chosen, sources, start, out, resume, processes, console)
    return best, towers


class _Killed(RunLog):
    at = 0

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        super().write(step, figures)
        if step == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("shards", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("schedule", type=json.loads, nargs="?", default={})
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--kill-at", type=int)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.kill_at is not None:
        import training.contrastive.run as module

        _Killed.at = asked.kill_at
        module.RunLog = _Killed  # type: ignore[misc]
    train(asked.shards, asked.out, asked.resume, **asked.schedule)
