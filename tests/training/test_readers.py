from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from training.errors import DataError, MissingSplit
from training.readers import OBJECT_READERS, detect_format
from training.readers.captions import read_class_folders, read_karpathy
from training.readers.masks import class_mask, packed

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}
SHIP = {"id": 4, "name": "ship"}


def coco_folder(folder: Path, **changed: Any) -> Path:
    document = {"images": [IMAGE], "annotations": [], "categories": [SHIP], **changed}
    (folder / "instances_train.json").write_text(json.dumps(document))
    return folder


def yolo_folder(folder: Path, label: str, data: str = "names: [car, bus]\n") -> Path:
    for part in ("images", "labels"):
        (folder / part / "train").mkdir(parents=True)
    (folder / "data.yaml").write_text(data)
    assert cv2.imwrite(str(folder / "images/train/a.png"), np.zeros((80, 100, 3), np.uint8))
    (folder / "labels/train/a.txt").write_text(label)
    return folder


@pytest.mark.parametrize(
    ("name", "form", "classes"),
    [
        ("coco_set", "coco", ("ship", "plane")),
        ("yolo_set", "yolo", ("vehicle",)),
        ("mask_set", "colour_masks", ("unlabeled", "person", "grass")),
        ("point_set", "points", ("point",)),
    ],
)
def test_each_format_is_recognised_and_read(
    synthetic_root: Path, name: str, form: str, classes: tuple[str, ...]
) -> None:
    assert detect_format(synthetic_root / name) == form
    names, samples = OBJECT_READERS[form](synthetic_root / name, "train")
    assert names == classes
    assert [sample.path.stem for sample in samples] == ["held_back", "train_0", "train_1", "train_2"]
    assert all(sample.path.is_file() for sample in samples)
    # box_of(1) of the drawn root: x 17..41, y 25..41
    objects = samples[2].labels == {"coco": 1, "colour_masks": 1}.get(form, 0)
    np.testing.assert_allclose(samples[2].centres[objects], [[29, 33]], atol=0.01)
    expected = [[0, 0]] if form == "points" else [[24, 16]]
    np.testing.assert_allclose(samples[2].sizes[objects], expected, atol=0.01)


def test_caption_formats_are_recognised_and_read(synthetic_root: Path) -> None:
    assert detect_format(synthetic_root / "caps") == "karpathy"
    assert detect_format(synthetic_root / "folder_set") == "class_folders"
    first = read_karpathy(synthetic_root / "caps", "val")[0]
    assert first.path.name == "val_0.jpg"
    assert first.label == "Port"
    assert first.captions == ("val picture 0 shows a port .", "a port from above , number 0 .")
    assert [s.label for s in read_class_folders(synthetic_root / "folder_set")] == ["SeaLake"] * 2 + [
        "beach"
    ] * 2


def test_an_unknown_or_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no annotations that a reader knows"):
        detect_format(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        detect_format(tmp_path / "nowhere")


def test_coco_clips_boxes_drops_empty_ones_and_sets_open_regions_aside(tmp_path: Path) -> None:
    boxes = [[-10, 5, 30, 20], [90, 70, 30, 30], [10, 10, 0, 5], [200, 10, 5, 5]]
    annotations: list[dict[str, Any]] = [{"image_id": 1, "category_id": 4, "bbox": box} for box in boxes]
    annotations += [
        {"image_id": 1, "category_id": 5, "bbox": [0, 0, 10, 10]},
        {"image_id": 1, "category_id": 4, "bbox": [20, 20, 10, 10], "iscrowd": 1},
    ]
    folder = coco_folder(tmp_path, annotations=annotations, categories=[SHIP, {"id": 5, "name": "DontCare"}])
    names, (sample,) = OBJECT_READERS["coco"](folder, "train")
    assert names == ("ship",)
    np.testing.assert_array_equal(sample.centres, [[10, 15], [95, 75]])
    np.testing.assert_array_equal(sample.sizes, [[20, 20], [10, 10]])
    np.testing.assert_array_equal(sample.ignored, [[0, 0, 10, 10], [20, 20, 30, 30]])


def test_coco_without_the_split_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingSplit, match=r"instances_test\.json: no such file"):
        OBJECT_READERS["coco"](coco_folder(tmp_path), "test")


def test_coco_that_is_no_json_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "instances_train.json").write_text('{"images": [],\n "annotations": [,]}')
    with pytest.raises(DataError, match=r"instances_train\.json:2:18: not JSON"):
        OBJECT_READERS["coco"](tmp_path, "train")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": [{"id": 1, "width": 9, "height": 9}]}, r"images\[0\]: 'file_name' is missing"),
        ({"images": None}, "top level: not what the format says"),
        ({"annotations": [{"image_id": 1, "category_id": 4}]}, r"annotations\[0\]: 'bbox' is missing"),
        ({"annotations": [{"image_id": 1, "category_id": 4, "bbox": [1, 2, 3]}]}, r"annotations\[0\]"),
        (
            {"annotations": [{"image_id": 1, "category_id": 4, "bbox": [1, 2, 3, 1e999]}]},
            "not four finite numbers",
        ),
        (
            {"annotations": [{"image_id": 1, "category_id": 8, "bbox": [1, 2, 3, 4]}]},
            "category_id 8 is not among",
        ),
        (
            {"annotations": [{"image_id": 2, "category_id": 4, "bbox": [1, 2, 3, 4]}]},
            "image_id 2 is not among",
        ),
        ({"categories": [{"name": "ship"}]}, "top level: 'id' is missing"),
    ],
)
def test_coco_that_is_malformed_names_the_entry(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        OBJECT_READERS["coco"](coco_folder(tmp_path, **changed), "train")
    assert str(tmp_path / "instances_train.json") in str(caught.value)


def test_yolo_boxes_are_fractions_of_the_image(tmp_path: Path) -> None:
    names, (sample,) = OBJECT_READERS["yolo"](yolo_folder(tmp_path, "1 0.5 0.25 0.2 0.5\n\n"), "train")
    assert names == ("car", "bus")
    np.testing.assert_allclose(sample.centres, [[50, 20]], atol=1e-4)
    np.testing.assert_allclose(sample.sizes, [[20, 40]], atol=1e-4)
    assert sample.counts(2).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", "expected `class x y w h`"),
        ("car 0.5 0.5 0.1 0.1", "expected `class x y w h`"),
        ("2 0.5 0.5 0.1 0.1", r"class 2 is not in data\.yaml"),
        ("-1 0.5 0.5 0.1 0.1", r"class -1 is not in data\.yaml"),
        ("0.5 0.5 0.5 0.1 0.1", r"class 0\.5 is not in data\.yaml"),
        ("0 nan 0.5 0.1 0.1", "in fractions of the image"),
        ("0 50 25 20 40", "in fractions of the image"),
        ("0 0.5 0.5 -0.1 0.1", "in fractions of the image"),
    ],
)
def test_a_bad_yolo_label_names_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    folder = yolo_folder(tmp_path, f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(DataError, match=r"a\.txt:2: .*" + message):
        OBJECT_READERS["yolo"](folder, "train")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("names: [car\n", r"data\.yaml:\d: not YAML"),
        ("nc: 2\n", r"data\.yaml: names must list"),
        ("names: {1: car}\n", r"data\.yaml: names must list"),
        ("- car\n", r"data\.yaml: names must list"),
    ],
)
def test_a_bad_data_yaml_is_named(tmp_path: Path, data: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        OBJECT_READERS["yolo"](yolo_folder(tmp_path, "", data), "train")


def test_yolo_names_an_image_that_is_none_and_a_label_folder_that_is_missing(tmp_path: Path) -> None:
    folder = yolo_folder(tmp_path, "")
    (folder / "images/train/b.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.jpg: not an image"):
        OBJECT_READERS["yolo"](folder, "train")
    (folder / "images/train/b.jpg").unlink()
    (folder / "labels/train").rename(folder / "labels/Train")
    with pytest.raises(DataError, match="labels/train: no such folder"):
        OBJECT_READERS["yolo"](folder, "train")


def test_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    folder = yolo_folder(tmp_path, "")
    (folder / "images/train/.DS_Store").write_bytes(b"\0")
    assert len(OBJECT_READERS["yolo"](folder, "train")[1]) == 1


def test_a_class_is_its_exact_colour() -> None:
    mask = np.array([[[1, 2, 3], [3, 2, 1], [1, 2, 4]]], np.uint8)
    assert class_mask(packed(mask), (1, 2, 3)).tolist() == [[1, 0, 0]]


def mask_folder(folder: Path, table: str = "name, r, g, b\ndog, 9, 8, 7\n") -> Path:
    for part in ("images", "masks"):
        (folder / part / "train").mkdir(parents=True)
    (folder / "class_dict.csv").write_text(table)
    assert cv2.imwrite(str(folder / "images/train/a.jpg"), np.zeros((40, 40, 3), np.uint8))
    return folder


def test_specks_of_a_mask_are_no_objects(tmp_path: Path) -> None:
    folder = mask_folder(tmp_path)
    mask = np.zeros((40, 40, 3), np.uint8)
    mask[2:7, 2:20] = mask[10:16, 10:16] = (7, 8, 9)  # 5 px high, and 6 x 6
    assert cv2.imwrite(str(folder / "masks/train/a.png"), mask)
    _, (sample,) = OBJECT_READERS["colour_masks"](folder, "train")
    np.testing.assert_array_equal(sample.sizes, [[6, 6]])
    np.testing.assert_array_equal(sample.centres, [[13, 13]])


@pytest.mark.parametrize("row", ["cat, 1, 2", "cat, 1, 2, x", "cat, 1, 2, 256"])
def test_a_bad_colour_names_file_and_line(tmp_path: Path, row: str) -> None:
    folder = mask_folder(tmp_path, f"name, r, g, b\ndog, 9, 8, 7\n{row}\n")
    with pytest.raises(DataError, match=r"class_dict\.csv:3: "):
        OBJECT_READERS["colour_masks"](folder, "train")


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"masks/train/a\.png: not an image"):
        OBJECT_READERS["colour_masks"](mask_folder(tmp_path), "train")


@pytest.mark.parametrize("table", ["x,y\n1,2\n3\n", "x,y\n1,2\n3,four\n", "x,y\n1,2\n3,nan\n"])
def test_a_bad_point_names_file_and_line(tmp_path: Path, table: str) -> None:
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "points/train").mkdir(parents=True)
    (tmp_path / "images/train/a.jpg").write_bytes(b"x")
    (tmp_path / "points/train/a.csv").write_text(table)
    with pytest.raises(DataError, match=r"a\.csv:3: expected columns x, y with numbers"):
        OBJECT_READERS["points"](tmp_path, "train")


def test_a_bad_header_of_points_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "points/train").mkdir(parents=True)
    (tmp_path / "images/train/a.jpg").write_bytes(b"x")
    (tmp_path / "points/train/a.csv").write_text("lon,lat\n1,2\n")
    with pytest.raises(DataError, match=r"a\.csv:2: expected columns x, y"):
        OBJECT_READERS["points"](tmp_path, "train")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"split": "train", "sentences": [{"raw": "a"}]}, r"images\[0\]: 'filename' is missing"),
        ({"split": "train", "filename": "a.jpg", "sentences": [{}]}, r"images\[0\]: 'raw' is missing"),
        ({"split": "train", "filename": "a.jpg", "sentences": [{"raw": " "}]}, "none of them empty"),
        ({"split": "train", "filename": "a.jpg", "sentences": []}, "needs sentences"),
        ("a.jpg", r"images\[0\]: not what the format says"),
    ],
)
def test_bad_captions_name_the_entry(tmp_path: Path, image: Any, message: str) -> None:
    (tmp_path / "dataset_x.json").write_text(json.dumps({"images": [image]}))
    with pytest.raises(DataError, match=message):
        read_karpathy(tmp_path, "train")


def test_captions_of_another_split_are_left_out(tmp_path: Path) -> None:
    image = {"split": "val", "filename": "a.jpg", "sentences": [{"raw": " a port . "}]}
    (tmp_path / "dataset_x.json").write_text(json.dumps({"images": [image]}))
    assert read_karpathy(tmp_path, "train") == []
    assert read_karpathy(tmp_path, "val")[0].captions == ("a port .",)
