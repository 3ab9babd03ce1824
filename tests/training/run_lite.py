"""Pre-training of remoteclip-lite as a program of its own: `run_lite.py RECIPE DATA OUT LISTS`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from rich.console import Console

from training import splits
from training.pretrain import pretrain
from training.processes import joined
from training.recipe import load_recipe

if __name__ == "__main__":
    torch.set_num_threads(1)
    recipe, data, out, lists = map(Path, sys.argv[1:])
    splits.FOLDER = lists
    with joined() as processes:
        pretrain(load_recipe(recipe), data, out, False, Console(quiet=True), processes)
