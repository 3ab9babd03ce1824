from __future__ import annotations

import logging
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sources import open_source
from edge.sources.images import natural_key
from firmware_cfg.errors import SourceError

RED = (220, 40, 30)


def write_picture(path: Path, colour=RED, width=40, height=24) -> Path:
    picture = np.full((height, width, 3), colour, np.uint8)
    assert cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return path


def exif_with_orientation(orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 0)
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp", ".tif", ".tiff", ".bmp"])
def test_a_single_image_is_a_source_of_one_frame(tmp_path, suffix):
    source = open_source(write_picture(tmp_path / f"field{suffix}"))
    frames = list(source)
    assert (source.length, source.fps, source.independent) == (1, None, True)
    (frame,) = frames
    assert (frame.name, frame.number, frame.time_s) == (f"field{suffix}", 0, 0.0)
    assert (frame.width, frame.height) == (40, 24)
    assert np.abs(frame.image.rgb().astype(int) - RED).max() <= 4
    assert frame.captured_at.utcoffset().total_seconds() == 0


def test_a_folder_is_read_in_natural_order_and_other_files_are_left_alone(tmp_path):
    for name in ("frame10.png", "frame9.png", "Frame1.PNG", "frame02.png", "._frame9.png"):
        write_picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "more").mkdir()
    write_picture(tmp_path / "more" / "frame3.png")
    source = open_source(tmp_path)
    frames = list(source)
    assert [frame.name for frame in frames] == ["Frame1.PNG", "frame02.png", "frame9.png", "frame10.png"]
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert source.length == 4
    assert not source.skipped


def test_images_of_a_folder_are_unrelated_unless_said_to_be_a_sequence(tmp_path):
    write_picture(tmp_path / "a.png")
    assert open_source(tmp_path).independent
    assert not open_source(tmp_path, sequence=True).independent


def test_images_of_different_sizes_and_depths(tmp_path):
    write_picture(tmp_path / "1.png", width=31, height=17)
    cv2.imwrite(str(tmp_path / "2.png"), np.full((5, 9), 120, np.uint8))
    cv2.imwrite(str(tmp_path / "3.tif"), np.full((5, 9), 40000, np.uint16))
    cv2.imwrite(str(tmp_path / "4.png"), np.full((5, 9, 4), 90, np.uint8))
    first, grey, deep, clear = [frame.image.rgb() for frame in open_source(tmp_path)]
    assert first.shape == (17, 31, 3)
    assert grey.shape == deep.shape == clear.shape == (5, 9, 3)
    assert [picture.dtype for picture in (grey, deep, clear)] == [np.uint8] * 3
    assert set(grey.ravel()) == {120}
    assert set(deep.ravel()) == {156}
    assert set(clear.ravel()) == {90}


def test_exif_orientation_is_applied(tmp_path):
    picture = np.zeros((24, 40, 3), np.uint8)
    picture[:, :20] = 255
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    path = tmp_path / "turned.jpg"
    path.write_bytes(jpeg[:2] + exif_with_orientation(6) + jpeg[2:])  # 6: turn a quarter clockwise to view
    (frame,) = open_source(path)
    assert (frame.width, frame.height) == (24, 40)
    pixels = frame.image.rgb()
    assert pixels[:16].min() > 240
    assert pixels[-16:].max() < 15


@pytest.mark.parametrize("damage", ["empty", "cut off", "noise"])
def test_a_damaged_image_is_counted_logged_and_passed_over(tmp_path, caplog, capfd, damage):
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        write_picture(tmp_path / name)
    bad = tmp_path / "2.jpg"
    data = bad.read_bytes()
    bad.write_bytes({"empty": b"", "cut off": data[: len(data) // 2], "noise": bytes(range(256)) * 4}[damage])
    source = open_source(tmp_path)
    with caplog.at_level(logging.WARNING, "edge.sources"):
        frames = list(source)
    assert [(frame.name, frame.number) for frame in frames] == [("1.jpg", 0), ("3.jpg", 2)]
    assert [frame.time_s for frame in frames] == [0.0, 2.0]
    assert source.skipped == {"unreadable image": 1}
    (record,) = caplog.records
    assert "2.jpg" in record.getMessage()
    assert capfd.readouterr().out == ""


def test_a_cut_off_png_says_nothing_but_our_one_line(tmp_path, capfd):
    path = write_picture(tmp_path / "1.png", width=200, height=200)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"1\.png: damaged"):
        list(open_source(path))
    assert capfd.readouterr() == ("", "")


def test_a_single_damaged_image_is_an_error(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n and nothing else")
    with pytest.raises(SourceError, match=r"broken\.png: damaged, or not an image") as caught:
        list(open_source(path))
    assert "\n" not in str(caught.value)


def test_a_folder_in_which_nothing_can_be_read_is_an_error(tmp_path):
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(b"")
    source = open_source(tmp_path)
    with pytest.raises(SourceError, match=r"not one of 2 images can be read; the last: .*2\.jpg: .* 0 bytes"):
        list(source)
    assert source.skipped == {"unreadable image": 2}


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(SourceError, match="no images in this folder"):
        open_source(tmp_path)


def test_an_image_without_read_permission_is_passed_over(open_folder, as_nobody):
    write_picture(open_folder / "1.png")
    write_picture(open_folder / "2.png").chmod(0)
    source = open_source(open_folder)
    with as_nobody():
        frames = list(source)
    assert [frame.name for frame in frames] == ["1.png"]
    assert source.skipped == {"unreadable image": 1}


@given(st.lists(st.text("aB01 9_.é²", min_size=1, max_size=8), max_size=8, unique=True))
def test_natural_order_is_total_and_puts_numbers_by_size(names):
    ordered = sorted(names, key=natural_key)
    assert sorted(set(names), key=natural_key) == ordered
    numbered = sorted([f"x{n}y" for n in (100, 20, 3, 1)] + names, key=natural_key)
    assert [n for n in numbered if n in {"x1y", "x3y", "x20y", "x100y"}] == ["x1y", "x3y", "x20y", "x100y"]


def test_real_image_folder(data_root):
    source = open_source(data_root / "aerial_cars" / "images" / "test")
    frames = [(frame.number, frame.name, frame.image.rgb().shape) for frame in source]
    assert len(frames) == source.length == 20
    assert [name for _, name, _ in frames] == [f"MunichStreet02-MOS{n}.webp" for n in range(74, 94)]
    assert {shape[2] for *_, shape in frames} == {3}
