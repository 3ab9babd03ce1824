"""A clip of coloured squares, a list for it, and `remoteclip prompts` at work on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge.bundle.load import Bundle
from edge.cli import app

LIST = """\
version: 1
prompts:
  - id: red       # what is looked for
    text: red
    threshold: 0.5
  - {id: blue, text: blue, threshold: 0.5}
  - {id: haze, kind: scene, text: grey, threshold: 0.5}
background: [grey grey]
"""
FRAMES = 8

Run = Callable[..., Any]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A folder of FRAMES images, 128 x 64, each with squares from red to nearly grey, and one blue."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(FRAMES):
        pixels = np.full((64, 128, 3), 114, np.uint8)
        for column in range(1, 15, 2):
            share = 1 - (column + number / FRAMES) / 16
            colour = share * np.array([255, 0, 0]) + (1 - share) * 114
            pixels[24:32, 8 * column : 8 * column + 8] = colour
        pixels[48:56, 8:16] = (0, 0, 255)
        cv2.imwrite(str(folder / f"{number}.png"), pixels[:, :, ::-1])
    return folder


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """The list, in a file."""
    path = tmp_path / "colours.yaml"
    path.write_text(LIST)
    return path


@pytest.fixture
def remoteclip(tiny_bundle: Bundle) -> Run:
    """`remoteclip prompts COMMAND ...` with the tiny bundle; gives what typer's runner gives."""

    def run(command: str, *arguments: object) -> Any:
        words = ["prompts", command, *map(str, arguments), "--bundle", str(tiny_bundle.path)]
        return CliRunner().invoke(app, words)

    return run
