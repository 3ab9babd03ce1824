"""The formats that test_readers.py does not hold, on good files with answers worked by hand."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from training.errors import DataError, MissingSplit
from training.readers import OBJECT_READERS, Findings, detect_format
from training.samples import ObjectSample


def picture(path: Path, width: int = 100, height: int = 80) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def only(form: str, folder: Path, split: str = "all") -> ObjectSample:
    _, (sample,) = OBJECT_READERS[form](folder, split)
    return sample


def voc_object(name: str, box: tuple[float, ...], difficult: int = 0) -> str:
    edges = "".join(f"<{e}>{v}</{e}>" for e, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{edges}</bndbox></object>"


def voc_set(folder: Path, stem: str, *objects: str, size: tuple[int, int] = (100, 80)) -> Path:
    picture(folder / "JPEGImages" / f"{stem}.jpg")
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    text(folder / f"Annotations/{stem}.xml", f"<annotation>{stated}{''.join(objects)}</annotation>")
    return folder


def test_voc_counts_pixels_from_one_and_includes_the_last(tmp_path: Path) -> None:
    voc_set(tmp_path, "a", voc_object("ship", (1, 1, 100, 80)), voc_object("car", (11, 21, 20, 40), 1))
    names, (sample,) = OBJECT_READERS["voc"](tmp_path, "all")
    assert detect_format(tmp_path) == "voc"
    assert names == ("car", "ship")
    assert sample.path == tmp_path / "JPEGImages/a.jpg"
    assert sample.boxes().tolist() == [[0, 0, 100, 80], [10, 20, 20, 40]]
    assert sample.labels.tolist() == [1, 0]
    assert sample.difficult is not None
    assert sample.difficult.tolist() == [False, True]


def test_voc_splits_number_the_classes_of_the_whole_set(tmp_path: Path) -> None:
    voc_set(tmp_path, "a", voc_object("ship", (1, 1, 9, 9)))
    voc_set(tmp_path, "b", voc_object("car", (1, 1, 9, 9)))
    voc_set(tmp_path, "c")
    text(tmp_path / "ImageSets/Main/train.txt", "a\n\n")
    text(tmp_path / "ImageSets/Main/val.txt", "b  1\nc.jpg -1\n")
    train, val = (OBJECT_READERS["voc"](tmp_path, split) for split in ("train", "val"))
    assert train[0] == val[0] == ("car", "ship")
    assert [sample.path.stem for sample in train[1]] == ["a"]
    assert [(sample.path.stem, len(sample.labels)) for sample in val[1]] == [("b", 1), ("c", 0)]
    with pytest.raises(MissingSplit, match=r"ImageSets/Main/test\.txt: no such file"):
        OBJECT_READERS["voc"](tmp_path, "test")


def test_voc_as_dior_lays_it_out(tmp_path: Path) -> None:
    voc_set(tmp_path, "00001", voc_object("dam", (1, 1, 9, 9)))
    (tmp_path / "JPEGImages").rename(tmp_path / "JPEGImages-trainval")
    inner = tmp_path / "Annotations" / "Horizontal Bounding Boxes"
    inner.mkdir()
    (tmp_path / "Annotations/00001.xml").rename(inner / "00001.xml")
    text(tmp_path / "ImageSets/Main/train.txt", "00001\n")
    assert detect_format(tmp_path) == "voc"
    assert only("voc", tmp_path, "train").boxes().tolist() == [[0, 0, 9, 9]]


def test_voc_without_a_stated_size_measures_the_image(tmp_path: Path) -> None:
    voc_set(tmp_path, "a", voc_object("car", (91, 71, 130, 120)), size=(0, 0))
    assert only("voc", tmp_path).boxes().tolist() == [[90, 70, 100, 80]]


def test_a_class_list_is_the_vocabulary_of_a_voc_set(tmp_path: Path) -> None:
    voc_set(tmp_path, "a", voc_object("car", (1, 1, 9, 9)), voc_object("kar", (1, 1, 9, 9)))
    text(tmp_path / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:::\nship:::\ncar:9,9,9::\n")
    with pytest.raises(DataError, match=r"a\.xml: object\[1\]: class 'kar' is not in"):
        OBJECT_READERS["voc"](tmp_path, "all")
    findings = Findings()
    names, (sample,) = OBJECT_READERS["voc"](tmp_path, "all", findings)
    assert names == ("ship", "car")
    assert sample.labels.tolist() == [1]
    assert findings.counts() == {"unknown_class": 1}


DOTA = """imagesource:GoogleEarth
gsd:0.146
50 10 90 30 80 50 40 30 ship 0
10.0 10.0 20.0 10.0 20.0 30.0 10.0 30.0 small-vehicle 1
"""


def test_dota_keeps_the_corners_and_boxes_them_upright(tmp_path: Path) -> None:
    picture(tmp_path / "train/images/P1.png")
    text(tmp_path / "train/labelTxt-v1.5/P1.txt", DOTA)
    assert detect_format(tmp_path) == "dota"
    names, (sample,) = OBJECT_READERS["dota"](tmp_path, "train")
    assert [names[label] for label in sample.labels] == ["ship", "small-vehicle"]
    assert sample.boxes().tolist() == [[40, 10, 90, 50], [10, 10, 20, 30]]
    assert sample.corners is not None
    assert sample.corners[0].tolist() == [[50, 10], [90, 30], [80, 50], [40, 30]]
    assert sample.difficult is not None
    assert sample.difficult.tolist() == [False, True]
    with pytest.raises(MissingSplit):
        OBJECT_READERS["dota"](tmp_path, "val")


def test_dota_with_classes_of_its_own_lists_them(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    text(tmp_path / "labelTxt/a.txt", "1 1 9 1 9 9 1 9 kite\n")
    with pytest.raises(DataError, match=r"a\.txt:1: class 'kite' is none of DOTA's"):
        OBJECT_READERS["dota"](tmp_path, "all")
    text(tmp_path / "classes.txt", "gull\nkite\n")
    assert only("dota", tmp_path).labels.tolist() == [1]


def test_dota_with_two_versions_of_labels_asks_which(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    for version in ("v1.0", "v1.5"):
        text(tmp_path / f"labelTxt-{version}/a.txt", "")
    with pytest.raises(DataError, match=r"labelTxt-v1\.0, labelTxt-v1\.5: rename the one to use"):
        OBJECT_READERS["dota"](tmp_path, "all")


VISDRONE = """10,20,30,40,1,4,0,1
0,0,50,10,0,0,0,0
60,60,10,10,0,11,0,0
50,50,20,10,1,1,0,0,
"""


@pytest.mark.parametrize(
    ("images", "tables", "split"),
    [
        ("images", "annotations", "all"),
        ("images", "annotations", "test"),
        ("images/val", "annotations/val", "val"),
        ("VisDrone2019-DET-val/images", "VisDrone2019-DET-val/annotations", "val"),
        ("VisDrone2019-DET-test-dev/images", "VisDrone2019-DET-test-dev/annotations", "test"),
    ],
)
def test_visdrone_in_its_layouts(tmp_path: Path, images: str, tables: str, split: str) -> None:
    picture(tmp_path / images / "a.jpg")
    text(tmp_path / tables / "a.txt", VISDRONE)
    assert detect_format(tmp_path) == "visdrone"
    names, (sample,) = OBJECT_READERS["visdrone"](tmp_path, split)
    assert [names[label] for label in sample.labels] == ["car", "pedestrian"]
    assert sample.boxes().tolist() == [[10, 20, 40, 60], [50, 50, 70, 60]]
    assert sample.ignored.tolist() == [[0, 0, 50, 10], [60, 60, 70, 70]]
    with pytest.raises(MissingSplit):
        OBJECT_READERS["visdrone"](tmp_path, "train")


def test_a_folder_named_after_its_split_is_that_split(tmp_path: Path) -> None:
    folder = tmp_path / "VisDrone2019-DET-train"
    picture(folder / "images/a.jpg")
    text(folder / "annotations/a.txt", VISDRONE)
    assert only("visdrone", folder, "train").labels.tolist() == [3, 0]


FRAME: dict[str, Any] = {
    "image_name": "f.jpg",
    "image_width": 100.0,
    "image_height": 80.0,
    "time": {"year": 2019, "month": 8, "day": 29, "hour": 9, "min": 11, "sec": 11, "ms": 394400.0},
    "longtitude": 10.18,
    "latitude": 56.2,
    "altitude": 19921.6,
    "linear_x": 0.5,
    "linear_y": -0.25,
    "linear_z": 0.0,
    "angle_phi": -0.067,
    "angle_theta": 0.068,
    "angle_psi": 1.116,
    "bbox": [{"top": 20, "left": 10, "height": 30, "width": 40, "class": 1}],
}


def auair_set(folder: Path, **changed: Any) -> Path:
    picture(folder / "images/f.jpg")
    frame = {key: value for key, value in {**FRAME, **changed}.items() if value is not None}
    document = {"categories": ["Human", "Car"], "annotations": [frame]}
    text(folder / "annotations.json", json.dumps(document))
    return folder


def test_auair_gives_boxes_and_telemetry_in_si_units(tmp_path: Path) -> None:
    auair_set(tmp_path)
    assert detect_format(tmp_path) == detect_format(tmp_path / "annotations.json") == "auair"
    names, (sample,) = OBJECT_READERS["auair"](tmp_path, "all")
    assert names == ("Human", "Car")
    assert sample.boxes().tolist() == [[10, 20, 50, 50]]
    assert sample.labels.tolist() == [1]
    told = sample.telemetry
    assert told is not None
    assert (told.latitude, told.longitude, told.altitude) == (56.2, 10.18, pytest.approx(19.9216))
    assert (told.roll, told.pitch, told.yaw) == (-0.067, 0.068, 1.116)
    assert told.velocity == (0.5, -0.25, 0.0)
    assert told.time == datetime(2019, 8, 29, 9, 17, 45, 400_000)  # 394.4 s after 9:11:11
    with pytest.raises(MissingSplit, match="its one split is `all`"):
        OBJECT_READERS["auair"](tmp_path, "train")
    assert len(only("auair", tmp_path / "annotations.json").labels) == 1


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"altitude": -2000.0}, "altitude -2 m cannot be"),
        ({"altitude": 9.1e6}, "altitude 9100 m cannot be"),
        ({"latitude": 91.0}, "position 91, 10.18 cannot be"),
        ({"latitude": 0.0, "longtitude": 0.0}, "position 0, 0 cannot be"),
        ({"angle_phi": 57.0}, "attitude 57"),
        ({"linear_x": 400.0}, "velocity 400"),
        ({"altitude": "high"}, "not what the format says"),
        ({"altitude": None}, "'altitude' is missing"),
        ({"time": {"year": 2019}}, "'month' is missing"),
    ],
)
def test_telemetry_that_cannot_be_is_left_out_and_listed(
    tmp_path: Path, changed: dict[str, Any], problem: str
) -> None:
    findings = Findings()
    _, (sample,) = OBJECT_READERS["auair"](auair_set(tmp_path, **changed), "all", findings)
    assert sample.telemetry is None
    assert sample.labels.tolist() == [1]
    assert findings.counts() == {"bad_telemetry": 1}
    assert problem in findings.listed[0].problem
    assert only("auair", tmp_path).telemetry is None


def index_set(folder: Path, mask: Image.Image, table: str | None) -> Path:
    picture(folder / "images/a.jpg", *mask.size)
    (folder / "masks").mkdir()
    mask.save(folder / "masks/a.png")
    if table is not None:
        text(folder / "classes.csv", table)
    return folder


def indices(*areas: tuple[int, int, int, int, int]) -> np.ndarray:
    values = np.zeros((60, 60), np.uint8)
    for value, x1, y1, x2, y2 in areas:
        values[y1:y2, x1:x2] = value
    return values


TABLE = "name, index\nbackground, 0\nroof, 2\nroad, 7\nignore, 255\n"


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "RGB"])
def test_index_masks_are_boxed_by_their_table(tmp_path: Path, mode: str) -> None:
    values = indices((7, 5, 10, 25, 20), (2, 40, 40, 50, 52), (2, 30, 30, 33, 33), (255, 50, 0, 60, 10))
    mask = Image.fromarray(values.astype(np.uint16) if mode == "I;16" else values)
    if mode == "P":
        mask.putpalette([17, 99, 3] * 256)  # the colours say nothing, the indices all
    index_set(tmp_path, mask.convert("RGB") if mode == "RGB" else mask, TABLE)
    assert detect_format(tmp_path) == "index_masks"
    names, (sample,) = OBJECT_READERS["index_masks"](tmp_path, "all")
    assert names == ("background", "roof", "road")
    objects = sample.labels != 0
    assert sample.boxes()[objects].tolist() == [[40, 40, 50, 52], [5, 10, 25, 20]]
    assert sample.labels[objects].tolist() == [1, 2]
    assert sample.ignored.tolist() == [[50, 0, 60, 10]]


@pytest.mark.parametrize("foreground", [1, 255])
def test_binary_masks_need_no_table(tmp_path: Path, foreground: int) -> None:
    index_set(tmp_path, Image.fromarray(indices((foreground, 5, 10, 25, 20))), None)
    names, (sample,) = OBJECT_READERS["index_masks"](tmp_path, "all")
    assert names == ("foreground",)
    assert sample.boxes().tolist() == [[5, 10, 25, 20]]


def test_masks_of_several_values_without_a_table_say_what_is_missing(tmp_path: Path) -> None:
    index_set(tmp_path, Image.fromarray(indices((3, 5, 10, 25, 20))), None)
    with pytest.raises(
        DataError, match=r"a\.png: values 0, 3: not binary \(name the classes in classes\.csv"
    ):
        OBJECT_READERS["index_masks"](tmp_path, "all")
    findings = Findings()
    assert OBJECT_READERS["index_masks"](tmp_path, "all", findings)[1] == []
    assert findings.counts() == {"malformed_entry": 1}


def test_values_that_the_table_does_not_name_are_a_fault(tmp_path: Path) -> None:
    index_set(tmp_path, Image.fromarray(indices((2, 5, 10, 25, 20), (9, 40, 40, 50, 50))), TABLE)
    with pytest.raises(DataError, match="values 9 on 100 pixels are not in"):
        OBJECT_READERS["index_masks"](tmp_path, "all")
    findings = Findings()
    _, (sample,) = OBJECT_READERS["index_masks"](tmp_path, "all", findings)
    assert sample.boxes()[sample.labels == 1].tolist() == [[5, 10, 25, 20]]
    assert findings.counts() == {"unknown_class": 1}


@pytest.mark.parametrize(
    "table", ["index,name\n1,a\n1,b\n", "index,name\nx,a\n", "index\n1\n", "index,name\n", "index,name\n1,\n"]
)
def test_a_bad_class_table_is_named(tmp_path: Path, table: str) -> None:
    index_set(tmp_path, Image.fromarray(indices()), table)
    with pytest.raises(DataError, match=r"classes\.csv"):
        OBJECT_READERS["index_masks"](tmp_path, "all")


@pytest.mark.parametrize(
    ("file", "pictures", "split"),
    [
        ("instances_val.json", "images", "val"),
        ("annotations/instances_val.json", "images/val", "val"),
        ("annotations/instances_val2017.json", "val2017", "val"),
        ("valid/_annotations.coco.json", "valid", "val"),
        ("annotations/instances_default.json", "images/default", "all"),
        ("result.json", "images", "test"),
        ("annotations.json", ".", "all"),
    ],
)
def test_coco_in_the_layouts_that_tools_export(tmp_path: Path, file: str, pictures: str, split: str) -> None:
    picture(tmp_path / pictures / "a.jpg")
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}],
        "annotations": [{"image_id": 1, "category_id": 4, "bbox": [10, 20, 30, 40]}],
        "categories": [{"id": 4, "name": "ship"}],
    }
    text(tmp_path / file, json.dumps(document))
    assert detect_format(tmp_path) == detect_format(tmp_path / file) == "coco"
    for folder in (tmp_path, tmp_path / file):
        sample = only("coco", folder, split)
        assert sample.path.resolve() == (tmp_path / pictures / "a.jpg").resolve()
        assert sample.boxes().tolist() == [[10, 20, 40, 60]]
    with pytest.raises(MissingSplit):
        OBJECT_READERS["coco"](tmp_path, "train")


def test_a_yolo_outline_is_boxed(tmp_path: Path) -> None:
    picture(tmp_path / "valid/images/a.jpg")
    text(tmp_path / "valid/labels/a.txt", "0 0.1 0.25 0.5 0.25 0.3 0.75\n")
    text(tmp_path / "data.yaml", "names: [roof]\n")
    np.testing.assert_allclose(only("yolo", tmp_path, "val").boxes(), [[10, 20, 50, 60]], atol=1e-4)


def test_a_picture_folder_is_no_class_of_scenes(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    (tmp_path / "notes").mkdir()
    text(tmp_path / "labelTxt.zip", "not unpacked yet")
    with pytest.raises(DataError, match="no annotations that a reader knows"):
        detect_format(tmp_path)


@pytest.mark.parametrize("document", ["[]", "{}", '{"categories": [1]}', '{"images": [], "a": 0}'])
def test_a_json_file_of_another_kind_is_not_guessed_at(tmp_path: Path, document: str) -> None:
    with pytest.raises(DataError, match=r"x\.json: no annotations that a reader knows"):
        detect_format(text(tmp_path / "x.json", document))
