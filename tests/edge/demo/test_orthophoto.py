"""The demo's orthophoto: found without importing its package, and damaged files are named."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.demo.orthophoto import load_orthophoto, read_orthophoto
from firmware_cfg.errors import SourceError

VOC = (
    "<annotation><object><bndbox>"
    "<xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4.5</ymax>"
    "</bndbox></object></annotation>"
)


def write_photo(folder: Path) -> Path:
    photo = folder / "photo.png"
    pixels = np.zeros((6, 8, 3), dtype=np.uint8)
    pixels[..., 0] = 200  # blue, as OpenCV orders it
    assert cv2.imwrite(str(photo), pixels)
    return photo


def test_reads_rgb_pixels_and_boxes(tmp_path: Path) -> None:
    photo = write_photo(tmp_path)
    annotation = tmp_path / "photo.xml"
    annotation.write_text(VOC)
    ground = read_orthophoto(photo, annotation, 0.1)
    np.testing.assert_array_equal(ground.pixels[0, 0], [0, 0, 200])
    np.testing.assert_allclose(ground.boxes, [[1, 2, 3, 4.5]])


@pytest.mark.parametrize(
    ("photo", "annotation", "message"),
    [
        (None, VOC, r"photo\.png: No such file"),
        (b"", VOC, r"photo\.png: not a readable image"),
        (b"\x89PNG garbage", VOC, r"photo\.png: not a readable image"),
        ("real", None, r"photo\.xml: No such file"),
        ("real", "<annotation>", r"photo\.xml: not a PASCAL VOC file"),
        ("real", VOC.replace("4.5", "four"), r"photo\.xml: not a PASCAL VOC file"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    tmp_path: Path, photo: bytes | str | None, annotation: str | None, message: str
) -> None:
    path = tmp_path / "photo.png"
    if photo == "real":
        write_photo(tmp_path)
    elif isinstance(photo, bytes):
        path.write_bytes(photo)
    if annotation is not None:
        path.with_suffix(".xml").write_text(annotation)
    with pytest.raises(SourceError, match=message) as caught:
        read_orthophoto(path, path.with_suffix(".xml"), 0.1)
    assert "\n" not in str(caught.value)


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.demo.orthophoto.PACKAGE", "no_such_package_of_photos")
    with pytest.raises(SourceError, match="pip install --no-deps deepforest"):
        load_orthophoto()


@pytest.mark.skipif(find_spec("deepforest") is None, reason="pip install --no-deps deepforest==2.1.0")
def test_the_wheels_orthophoto_has_its_trees_and_its_package_stays_unimported() -> None:
    script = (
        "import sys; from edge.demo.orthophoto import load_orthophoto; photo = load_orthophoto();"
        "print(photo.pixels.shape, len(photo.boxes), 'deepforest' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[0] == "(2472, 2299, 3) 574 False"
