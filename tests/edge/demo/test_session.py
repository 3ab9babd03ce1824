"""Where a demo leaves its results."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.demo.session import new_folder
from firmware_cfg.errors import RemoteclipError


def test_every_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folders = {new_folder(tmp_path / "runs") for _ in range(5)}
    assert len(folders) == 5
    assert set((tmp_path / "runs").iterdir()) == folders


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(RemoteclipError, match=f"{tmp_path / 'runs'}"):
        new_folder(tmp_path / "runs")
