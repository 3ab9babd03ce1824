"""Distillation as a program of its own: `run_distill.py TEACHER DATA OUT UNLABELLED RESUME`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from compile.distill.options import DistillOptions
from compile.distill.run import distill
from training import splits
from training.recipe import load_recipe

if __name__ == "__main__":
    teacher, data, out, images = map(Path, sys.argv[1:5])
    splits.FOLDER = data / "lists"
    options = DistillOptions(round=4, unlabelled=2)
    recipe = load_recipe(data / "recipe.yaml")
    distill(teacher, recipe, options, data, out, sys.argv[5] == "resume", Console(quiet=True), [images])
