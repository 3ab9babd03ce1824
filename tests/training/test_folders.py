from __future__ import annotations

import os
from pathlib import Path

import pytest

from training.folders import recover_folder, replace_folder


def folder_of(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


def test_a_folder_takes_an_empty_place_and_an_old_ones(tmp_path: Path) -> None:
    target = tmp_path / "target"
    replace_folder(folder_of(tmp_path / "a", "first"), target)
    assert (target / "file").read_text() == "first"
    replace_folder(folder_of(tmp_path / "b", "second"), target)
    assert (target / "file").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_where_the_new_one_cannot_be_put_the_old_one_stays(tmp_path: Path) -> None:
    target = folder_of(tmp_path / "target", "old")
    with pytest.raises(OSError, match="nowhere"):
        replace_folder(tmp_path / "nowhere", target)
    assert (target / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("killed_before", [1, 2])
def test_a_replacement_killed_between_its_renames_is_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_before: int
) -> None:
    target = folder_of(tmp_path / "target", "old")
    new = folder_of(tmp_path / "new", "new")
    rename, calls = os.replace, []

    def killed(source: Path, goal: Path) -> None:
        calls.append(goal)
        if len(calls) == killed_before:
            raise KeyboardInterrupt
        rename(source, goal)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            replace_folder(new, target)
    recover_folder(target)
    assert (target / "file").read_text() == "old"
    replace_folder(new, target)
    assert (target / "file").read_text() == "new"


def test_nothing_is_recovered_over_a_finished_folder(tmp_path: Path) -> None:
    target = folder_of(tmp_path / "target", "new")
    aside = folder_of(tmp_path / ".target.replaced", "old")
    recover_folder(target)
    assert (target / "file").read_text() == "new"
    assert aside.exists()
