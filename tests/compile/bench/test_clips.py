"""Clips are taken from a data root, enlarged, or made up."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from compile.bench import clips
from compile.bench.contenders.base import pictures_of
from edge.sources import open_source


def test_a_made_up_clip_moves(clip: Path) -> None:
    assert clips.size_of(clip) == "128x72"
    with open_source(clip) as source:
        pictures = [frame.image.rgb() for frame in source]
    assert len(pictures) == 5
    assert abs(pictures[0].astype(int) - pictures[4]).mean() > 1


def test_recorded_clips_come_with_a_large_one(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "video").mkdir()
    shutil.copy(clip, tmp_path / "video" / "boat1.mp4")
    monkeypatch.setattr(clips, "LARGE", (256, 144))
    found = clips.recorded_clips(tmp_path, tmp_path)
    assert {name: clips.size_of(path) for name, path in found.items()} == {
        "boat1": "128x72",
        "boat1 at 4K": "256x144",
    }


@pytest.mark.parametrize("data", [None, Path("/nonexistent")])
def test_without_data_there_are_no_recorded_clips(data: Path | None, tmp_path: Path) -> None:
    assert clips.recorded_clips(data, tmp_path) == {}


def test_pictures_never_end(clip: Path) -> None:
    pictures = pictures_of(str(clip))
    seen = [next(pictures) for _ in range(6)]
    assert seen[5].shape == (72, 128, 3)
    assert (seen[5] == seen[0]).all()
