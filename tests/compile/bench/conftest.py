"""The tiny bundle of the daemon's tests, a prompt list for it, and a clip."""

from __future__ import annotations

from pathlib import Path

import pytest

from compile.bench.clips import made_up_clip
from tests.edge.conftest import (  # noqa: F401 - fixtures
    _bundle_files,
    _own_caches,
    manifest_fields,
    tiny_bundle,
)


@pytest.fixture(scope="session")
def prompt_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words that the tiny bundle knows."""
    file = tmp_path_factory.mktemp("prompts") / "colours.yaml"
    file.write_text("prompts: [{id: red, text: red, threshold: 0.5}]\nbackground: [grey]\n")
    return file


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames of 128 x 72."""
    return made_up_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", (128, 72), 5)
