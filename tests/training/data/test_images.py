from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from training.data.images import examine, pack, stored_size
from training.duplicates import phash
from training.errors import DataError


def _picture(path: Path, size: tuple[int, int] = (60, 40)) -> Path:
    rng = np.random.default_rng(3)
    small = rng.integers(40, 215, (2, 3, 3), np.uint8)
    Image.fromarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)).save(path)
    return path


def test_examine_tells_size_and_hash(tmp_path: Path) -> None:
    path = _picture(tmp_path / "a.jpg")
    seen = examine(tmp_path, "a.jpg")
    assert (seen.file, seen.width, seen.height, seen.problem) == ("a.jpg", 60, 40, "")
    assert (seen.bits() == phash(path)).all()
    assert (seen.size, seen.modified) == (path.stat().st_size, path.stat().st_mtime_ns)


def test_the_size_is_that_of_the_turned_image(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # show it turned by 90 degrees
    Image.open(_picture(tmp_path / "a.jpg")).save(tmp_path / "turned.jpg", exif=turned)
    seen = examine(tmp_path, "turned.jpg")
    assert (seen.width, seen.height) == (40, 60)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda data: data[: len(data) // 2], "cannot be decoded"),
        (lambda data: b"", "is empty"),
        (lambda data: b"GIF89a, or so it says", r"cannot be decoded \(not an image\)"),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_what_is_wrong_with_an_image_is_told(
    damage: Callable[[bytes], bytes], problem: str, suffix: str, tmp_path: Path
) -> None:
    path = _picture(tmp_path / f"a.{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    assert re.match(problem, examine(tmp_path, path.name).problem)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert examine(tmp_path, "none.jpg").problem == "cannot be opened (No such file or directory)"


def test_an_image_too_large_to_be_hashed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _picture(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "decompression bomb" in examine(tmp_path, "a.png").problem


@pytest.mark.parametrize(
    ("size", "stored"),
    [((60, 40), (60, 40)), ((200, 100), (100, 50)), ((101, 100), (100, 99)), ((5000, 1), (100, 1))],
)
def test_stored_sizes_keep_the_shape(size: tuple[int, int], stored: tuple[int, int]) -> None:
    assert stored_size(*size, 100) == stored


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_an_image_that_fits_is_kept_to_the_byte(suffix: str, tmp_path: Path) -> None:
    path = _picture(tmp_path / f"named.{suffix}")
    wrongly_named = path.rename(tmp_path / "named.tif")
    assert pack(wrongly_named, (60, 40), 90) == (f".{suffix}", wrongly_named.read_bytes())


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_other_sizes_and_formats_become_jpeg(suffix: str, tmp_path: Path) -> None:
    path = _picture(tmp_path / f"a.{suffix}")
    size = (30, 20) if suffix == "png" else (60, 40)
    kind, data = pack(path, size, 95)
    assert kind == ".jpg"
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    wanted = cv2.resize(cv2.imread(str(path)), size, interpolation=cv2.INTER_AREA)
    assert decoded.shape == wanted.shape
    assert np.abs(decoded.astype(int) - wanted).mean() < 6


def test_a_file_that_has_changed_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"text now")
    with pytest.raises(DataError, match=r"a\.jpg: has changed since it was examined"):
        pack(path, (60, 40), 90)
