"""Files broken as they are in the field: strict reading stops and names the place, a collector goes on."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from training.errors import DataError
from training.readers import OBJECT_READERS, Findings, captions, image_problem
from training.readers.pictures import image_size
from training.samples import ObjectSample

RNG = np.random.default_rng(5)


def picture(path: Path, width: int = 100, height: int = 80) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = RNG.integers(0, 256, (height, width, 3), np.uint8)
    assert cv2.imwrite(str(path), noise)
    return path


def text(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def tolerant(form: str, folder: Path, split: str = "all") -> tuple[list[ObjectSample], Findings]:
    findings = Findings()
    return OBJECT_READERS[form](folder, split, findings)[1], findings


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_an_image_cut_short_is_found(tmp_path: Path, suffix: str) -> None:
    path = picture(tmp_path / f"a{suffix}")
    assert image_problem(path) == ""
    whole = path.read_bytes()
    for kept in (len(whole) * 2 // 3, 30, 0):
        path.write_bytes(whole[:kept])
        assert image_problem(path) != "", f"{kept} of {len(whole)} bytes"


def test_a_jpeg_that_opencv_fills_with_grey_is_not_good_enough(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-500])
    assert cv2.imread(str(path)) is not None, "OpenCV says nothing"
    assert "does not decode to its end" in image_problem(path)


def test_a_page_saved_under_an_image_name_is_no_image(tmp_path: Path) -> None:
    path = text(tmp_path / "a.png", "<html>404</html>")
    assert image_problem(path) == "not an image that OpenCV reads"
    with pytest.raises(DataError, match=r"a\.png: not an image that OpenCV reads"):
        image_size(path)


def test_the_size_of_an_image_is_that_of_its_decoded_pixels(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    decoded = cv2.imread(str(path))
    assert decoded is not None
    assert image_size(path) == (30, 40) == (decoded.shape[1], decoded.shape[0])


def test_a_map_sheet_is_no_decompression_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = picture(tmp_path / "sheet.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_size(path) == (100, 80)
        assert image_problem(path) == ""


def coco_set(folder: Path) -> Path:
    """One good image, and one of every fault."""
    for name in ("good", "empty", "other_size", "cut"):
        picture(folder / f"images/{name}.jpg")
    picture(folder / "images/other_size.jpg", 50, 40)
    text(folder / "images/cut.jpg", b"\xff\xd8\xff")
    names = ("good", "empty", "other_size", "cut", "gone")
    images = [
        {"id": i, "file_name": f"{name}.jpg", "width": 100, "height": 80} for i, name in enumerate(names)
    ]
    images += [{"id": 7, "file_name": "x.jpg"}, {"id": 0, "file_name": "y.jpg", "width": 9, "height": 9}]
    boxes = [[10, 10, 20, 20], [90, 70, 50, 50], [300, 0, 5, 5], [5, 5, 0, 9], [1, 2, 3], [float("nan")] * 4]
    annotations = [{"image_id": 0, "category_id": 1, "bbox": box} for box in boxes]
    annotations.append({"image_id": 0, "category_id": 2, "bbox": [1, 1, 5, 5]})
    annotations.append({"image_id": 99, "category_id": 1, "bbox": [1, 1, 5, 5]})
    annotations.append({"category_id": 1, "bbox": [1, 1, 5, 5]})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]}
    text(folder / "instances_train.json", json.dumps(document))
    return folder


def test_coco_faults_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    samples, findings = tolerant("coco", coco_set(tmp_path), "train")
    assert [sample.path.stem for sample in samples] == ["empty", "good"]
    assert samples[1].boxes().tolist() == [[10, 10, 30, 30], [90, 70, 100, 80]]
    assert findings.counts() == {
        "corrupt_image": 1,
        "missing_image": 1,
        "size_mismatch": 1,
        "malformed_entry": 6,  # 2 bboxes, an image without size, one with another's id, 2 without an image
        "unknown_class": 1,
        "box_outside": 1,
        "box_clipped": 1,
        "box_empty": 1,
        "empty_annotation": 1,
    }
    places = {finding.entry for finding in findings.listed if finding.kind == "malformed_entry"}
    assert places == {"annotations[4]", "annotations[5]", "annotations[7]", "annotations[8]"} | {
        "images[5]",
        "images[6]",
    }


def yolo_set(folder: Path) -> Path:
    text(folder / "data.yaml", "names: [car]\n")
    for name in ("bare", "binary", "cut", "good"):
        picture(folder / f"images/{name}.jpg")
    text(folder / "images/cut.jpg", b"")
    lines = [
        "0 0.5 0.5 0.2 0.2",
        "1 0.5 0.5 0.2 0.2",
        "0 0.5 0.5 0.2",
        "0 1.2 0.5 0.2 0.2",
        "0 1 0.5 0.2 0.2",
    ]
    text(folder / "labels/good.txt", "\n".join(lines))
    text(folder / "labels/binary.txt", "0 0.5 0.5 0.2 0.2".encode("utf-16"))
    text(folder / "labels/stray.txt", "0 0.5 0.5 0.2 0.2")
    return folder


def dota_set(folder: Path) -> Path:
    for name in ("bare", "binary", "cut", "good", "unlabelled"):
        picture(folder / f"images/{name}.png")
    text(folder / "images/cut.png", b"\x89PNG")
    for name in ("bare", "cut"):
        text(folder / f"labelTxt/{name}.txt", "")
    square = "40 32 60 32 60 48 40 48"
    lines = [
        f"{square} ship 0",
        f"{square} sheep 0",
        "40 32 60 32 ship 0",
        "140 32 160 32 160 48 140 48 ship 0",
        "90 32 110 32 110 48 90 48 ship 0",
    ]
    text(folder / "labelTxt/good.txt", "\n".join(lines))
    text(folder / "labelTxt/binary.txt", b"\xff\xfe\x00\x01")
    text(folder / "labelTxt/stray.txt", lines[0])
    return folder


def visdrone_set(folder: Path) -> Path:
    for name in ("bare", "binary", "cut", "good", "unlabelled"):
        picture(folder / f"images/{name}.jpg")
    text(folder / "images/cut.jpg", b"GIF89a")
    for name in ("bare", "cut"):
        text(folder / f"annotations/{name}.txt", "")
    lines = [
        "40,32,20,16,1,4,0,0",
        "40,32,20,16,1,12,0,0",
        "40,32,20,16,1,4",
        "140,32,20,16,1,4,0,0",
        "90,32,20,16,1,4,0,0",
    ]
    text(folder / "annotations/good.txt", "\n".join(lines))
    text(folder / "annotations/binary.txt", b"\x80\x81")
    text(folder / "annotations/stray.txt", lines[0])
    return folder


def voc_set(folder: Path) -> Path:
    size = "<size><width>100</width><height>80</height></size>"

    def thing(name: str, *edges: object) -> str:
        tags = zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=False)
        box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
        return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"

    for name in ("bare", "binary", "cut", "good", "unlabelled"):
        picture(folder / f"JPEGImages/{name}.jpg")
    text(folder / "JPEGImages/cut.jpg", b"\xff\xd8")
    things = [
        thing("car", 41, 33, 60, 48),
        thing("cat", 41, 33, 60, 48),
        thing("car", 41, 33, 60),
        thing("car", 141, 33, 160, 48),
        thing("car", 91, 33, 110, 48),
    ]
    text(folder / "classes.txt", "car\n")
    text(folder / "Annotations/good.xml", f"<annotation>{size}{''.join(things)}</annotation>")
    for name in ("bare", "cut", "stray"):
        text(folder / f"Annotations/{name}.xml", f"<annotation>{size}</annotation>")
    text(folder / "Annotations/binary.xml", f"<annotation>\n{size}\n<object>")
    text(folder / "ImageSets/Main/all.txt", "bare\nbinary\ncut\ngood\nunlabelled\nstray\n")
    return folder


FOLDERS: list[tuple[str, Callable[[Path], Path]]] = [
    ("yolo", yolo_set),
    ("dota", dota_set),
    ("visdrone", visdrone_set),
    ("voc", voc_set),
]


@pytest.mark.parametrize(("form", "make"), FOLDERS)
def test_faults_of_one_file_an_image_are_counted_and_the_rest_is_read(
    tmp_path: Path, form: str, make: Callable[[Path], Path]
) -> None:
    samples, findings = tolerant(form, make(tmp_path))
    assert [sample.path.stem for sample in samples] == ["bare", "good"]
    np.testing.assert_allclose(samples[1].boxes(), [[40, 32, 60, 48], [90, 32, 100, 48]], atol=1e-3)
    expected = {
        "corrupt_image": 1,
        "missing_image": 1,
        "missing_annotation": 1,
        "malformed_entry": 2,
        "unknown_class": 1,
        "box_outside": 1,
        "box_clipped": 1,
        "empty_annotation": 1,
    }
    if form == "yolo":  # where an image without a label file shows nothing
        del expected["missing_annotation"]
    assert findings.counts() == expected


@pytest.mark.parametrize(
    ("form", "make", "where"),
    [
        ("dota", dota_set, r"labelTxt/binary\.txt: cannot be read as UTF-8 text"),
        ("visdrone", visdrone_set, r"annotations/binary\.txt: cannot be read as UTF-8 text"),
        ("voc", voc_set, r"Annotations/binary\.xml:3: not XML"),
        ("yolo", yolo_set, r"labels/binary\.txt: cannot be read as UTF-8 text"),
        ("coco", coco_set, r"instances_train\.json: annotations\[8\]: 'image_id' is missing"),
    ],
)
def test_strict_reading_stops_at_the_first_fault(
    tmp_path: Path, form: str, make: Callable[[Path], Path], where: str
) -> None:
    with pytest.raises(DataError, match=where):
        OBJECT_READERS[form](make(tmp_path), "train" if form == "coco" else "all")


@pytest.mark.parametrize(
    ("form", "make", "file", "where"),
    [
        ("dota", dota_set, "labelTxt/bare.txt", r"labelTxt/bare\.txt: no such file \(every image"),
        ("visdrone", visdrone_set, "annotations/bare.txt", r"annotations/bare\.txt: no such file"),
        ("voc", voc_set, "Annotations/bare.xml", r"Annotations/bare\.xml: no such file"),
        ("voc", voc_set, "JPEGImages/bare.jpg", r"bare\.xml: no image bare in .*JPEGImages"),
    ],
)
def test_a_missing_file_is_no_image_without_objects(
    tmp_path: Path, form: str, make: Callable[[Path], Path], file: str, where: str
) -> None:
    (make(tmp_path) / file).unlink()
    with pytest.raises(DataError, match=where):
        OBJECT_READERS[form](tmp_path, "all")


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ("<annotation>&nothing;</annotation>", r"a\.xml:1: not XML"),
        ('<?xml version="1.0" encoding="no-such"?><annotation/>', r"a\.xml"),
        ("<annotations/>", r"the root is <annotations>"),
        ("<annotation><size><width>wide</width></size></annotation>", r"a\.xml: size: not what"),
        ("", r"a\.xml:1: not XML"),
    ],
)
def test_an_xml_file_of_another_kind_is_named(tmp_path: Path, document: str, where: str) -> None:
    picture(tmp_path / "JPEGImages/a.jpg")
    text(tmp_path / "Annotations/a.xml", document)
    with pytest.raises(DataError, match=where):
        OBJECT_READERS["voc"](tmp_path, "all")
    samples, findings = tolerant("voc", tmp_path)
    assert samples == []
    assert findings.counts() == {"malformed_entry": 1}


def test_auair_faults_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    picture(tmp_path / "images/good.jpg")
    picture(tmp_path / "images/small.jpg", 50, 40)
    told = "longtitude latitude altitude linear_x linear_y linear_z angle_phi angle_theta angle_psi"
    telemetry = dict.fromkeys(told.split(), 1.0)
    mark = {"left": 10, "top": 10, "width": 20, "height": 20, "class": 0}
    marks = [mark, {**mark, "class": 1}, {**mark, "left": None}, {**mark, "left": 200}, {**mark, "top": 70}]
    frame = {"image_width:": 100.0, "image_height": 80.0, **telemetry, "bbox": []}
    frames = [
        {**frame, "image_name": "good.jpg", "bbox": marks},
        {**frame, "image_name": "small.jpg"},
        {**frame, "image_name": "gone.jpg"},
        {"image_name": "bare.jpg"},
        "frame.jpg",
    ]
    text(tmp_path / "annotations.json", json.dumps({"categories": ["Car"], "annotations": frames}))
    (sample,), findings = tolerant("auair", tmp_path)
    assert sample.boxes().tolist() == [[10, 10, 30, 30], [10, 70, 30, 80]]
    assert findings.counts() == {
        "missing_image": 1,
        "size_mismatch": 1,
        "malformed_entry": 3,
        "unknown_class": 1,
        "box_outside": 1,
        "box_clipped": 1,
    }
    with pytest.raises(DataError, match=r"annotations\[0\]\.bbox\[1\]: class 1 is not among"):
        OBJECT_READERS["auair"](tmp_path, "all")


@pytest.mark.parametrize("form", ["colour_masks", "index_masks"])
def test_faults_of_masks_are_counted_and_the_rest_is_read(tmp_path: Path, form: str) -> None:
    table = {"colour_masks": "class_dict.csv", "index_masks": "classes.csv"}[form]
    rows = {"colour_masks": "name,r,g,b\nroof,7,7,7\n", "index_masks": "index,name\n7,roof\n"}[form]
    text(tmp_path / table, rows)
    for name in ("cut", "good", "other_size", "unlabelled"):
        picture(tmp_path / f"images/{name}.jpg")
    mask = np.full((80, 100, 3), 3, np.uint8)
    mask[10:30, 20:60] = 7
    (tmp_path / "masks").mkdir()
    assert cv2.imwrite(str(tmp_path / "masks/good.png"), mask)
    assert cv2.imwrite(str(tmp_path / "masks/other_size.png"), mask[:40])
    assert cv2.imwrite(str(tmp_path / "masks/stray.png"), mask)
    whole = (tmp_path / "masks/good.png").read_bytes()
    text(tmp_path / "masks/cut.png", whole[: len(whole) // 2])
    (sample,), findings = tolerant(form, tmp_path)
    assert sample.boxes().tolist() == [[20, 10, 60, 30]]
    assert findings.counts() == {
        "corrupt_image": 1,
        "missing_image": 1,
        "missing_annotation": 1,
        "size_mismatch": 1,
        "unknown_class": 1,
    }
    with pytest.raises(DataError, match=r"masks/cut\.png: not an image"):
        OBJECT_READERS[form](tmp_path, "all")


def test_points_outside_the_frame_and_bad_rows_are_counted(tmp_path: Path) -> None:
    for name in ("bare", "cut", "good"):
        picture(tmp_path / f"images/{name}.jpg")
    text(tmp_path / "images/cut.jpg", b"\xff\xd8")
    text(tmp_path / "points/good.csv", "x,y\n5,6\n500,6\nfive,6\n7\n100,80\n")
    text(tmp_path / "points/stray.csv", "x,y\n")
    samples, findings = tolerant("points", tmp_path)
    assert [sample.centres.tolist() for sample in samples] == [[], [[5, 6], [100, 80]]]
    assert findings.counts() == {
        "corrupt_image": 1,
        "missing_image": 1,
        "malformed_entry": 2,
        "box_outside": 1,
        "empty_annotation": 1,
    }


def test_caption_faults_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    good = {"split": "train", "filename": "a.jpg", "sentences": [{"raw": "a port ."}]}
    images = [good, {**good, "filename": "gone.jpg"}, {**good, "sentences": []}, {"split": "train"}, 5]
    text(tmp_path / "dataset_x.json", json.dumps({"images": images}))
    findings = Findings()
    (sample,) = captions.read_karpathy(tmp_path, "train", findings)
    assert sample.captions == ("a port .",)
    assert findings.counts() == {"missing_image": 1, "malformed_entry": 2, "empty_annotation": 1}


def test_a_class_folder_without_images_is_listed(tmp_path: Path) -> None:
    picture(tmp_path / "beach/a.jpg")
    (tmp_path / "river").mkdir()
    findings = Findings()
    assert [sample.label for sample in captions.read_class_folders(tmp_path, findings)] == ["beach"]
    assert [finding.file.name for finding in findings.listed] == ["river"]


@pytest.mark.parametrize(
    "form", ["coco", "yolo", "dota", "visdrone", "voc", "auair", "points", "colour_masks"]
)
def test_what_leaves_nothing_to_read_is_an_error_with_a_collector_too(tmp_path: Path, form: str) -> None:
    with pytest.raises(DataError):
        OBJECT_READERS[form](tmp_path, "all", Findings())
