from __future__ import annotations

from pathlib import Path

import pytest

from firmware_cfg.errors import MissingExtra, UsageError
from training.data_root import data_root as find_root
from training.errors import require_extra


def test_the_named_folder_comes_before_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTECLIP_DATA", str(tmp_path))
    assert find_root() == tmp_path
    (tmp_path / "other").mkdir()
    assert find_root(tmp_path / "other") == tmp_path / "other"


def test_a_missing_root_says_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTECLIP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"nowhere: no such folder .*--data.*REMOTECLIP_DATA"):
        find_root()


def test_a_missing_package_names_its_extra() -> None:
    require_extra("train", "json", "math")
    with pytest.raises(MissingExtra) as caught:
        require_extra("train", "json", "no_such_module_here")
    assert (caught.value.module, caught.value.extra) == ("no_such_module_here", "train")
