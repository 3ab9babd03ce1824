"""The recorder's files: whole or absent, in time, and never in the way of the frame loop."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge.demo.recording import SHEET_TILE, ContactSheet, Recorder, VideoWriter
from firmware_cfg.errors import RemoteclipError


def grey_picture(level: int, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), level, dtype=np.uint8)


def test_a_recording_has_every_frame_at_its_time(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        for index in range(5):
            recorder.add(partial(grey_picture, 40 * index), index * 0.5)
    with av.open(str(tmp_path / "annotated.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])
    levels = [frame.to_ndarray(format="rgb24").mean() for frame in frames]
    assert levels == pytest.approx([0, 40, 80, 120, 160], abs=6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["annotated.mp4", "contact_sheet.png"]


def test_images_without_times_and_of_several_sizes_still_make_a_video(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "v.mp4")
    for size in ((65, 49), (32, 80), (200, 20)):
        writer.write(grey_picture(128, *size), 0.0)
    writer.close()
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [(64, 48)] * 3


def test_an_empty_recording_leaves_nothing(tmp_path: Path) -> None:
    with Recorder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_once_and_adding_never_blocks(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    recorder = Recorder(missing)
    recorder.__enter__()
    for index in range(50):
        recorder.add(partial(grey_picture, 1), float(index))
    with pytest.raises(RemoteclipError, match=f"{missing}: cannot record"):
        recorder.__exit__(None, None, None)


def test_a_picture_that_cannot_be_drawn_fails_the_recording_and_leaves_no_part_of_it(tmp_path: Path) -> None:
    def fail() -> np.ndarray:
        raise cv2.error("no such colour")

    recorder = Recorder(tmp_path)
    recorder.__enter__()
    for draw in (partial(grey_picture, 1), fail, *[partial(grey_picture, 2)] * 20):
        recorder.add(draw, 0.0)
    with pytest.raises(RemoteclipError, match="cannot record: no such colour"):
        recorder.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frames", [1, 2, 8, 17, 18, 250])
def test_the_sheet_spreads_over_the_whole_run(frames: int) -> None:
    sheet = ContactSheet(tiles=9)
    for index in range(frames):
        sheet.add(grey_picture(index, *SHEET_TILE))
    picture = sheet.render()
    assert picture is not None
    width, height = SHEET_TILE
    tiles = [
        int(picture[top + height // 2, left + width // 2, 0])
        for top in range(0, picture.shape[0], height)
        for left in range(0, picture.shape[1], width)
    ][: min(frames, 9)]
    assert tiles == sorted(set(tiles))
    assert tiles[0] == 0
    assert tiles[-1] >= frames * 0.7 - 1


def test_the_sheet_of_a_run_is_a_png(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.add(partial(grey_picture, 7), 0.0)
    assert cv2.imread(str(tmp_path / "contact_sheet.png")).shape == (SHEET_TILE[1], SHEET_TILE[0], 3)
