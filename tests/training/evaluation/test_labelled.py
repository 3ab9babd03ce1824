from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from firmware_cfg.errors import RemoteclipError
from training.errors import DataError
from training.evaluation.labelled import dataset_name, divide, read_labelled


def class_folders(folder: Path, **counts: int) -> Path:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number:03}.png").touch()
    return folder


def captioned(folder: Path, entries: list[tuple[str, str, str]]) -> Path:
    folder.mkdir()
    images = [
        {"filename": name, "split": split, "label": label, "sentences": [{"raw": "a picture"}]}
        for name, split, label in entries
    ]
    (folder / "dataset.json").write_text(json.dumps({"images": images}))
    return folder


def test_class_folders_are_divided_by_class_and_always_alike(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "one", forest=50, river=10)
    division = divide(folder)
    assert division.names == ("forest", "river")
    counts = [Counter(s.label for s in part) for part in (division.train, division.val, division.test)]
    assert counts == [{"forest": 30, "river": 6}, {"forest": 10, "river": 2}, {"forest": 10, "river": 2}]
    paths = [s.path for part in (division.train, division.val, division.test) for s in part]
    assert len(set(paths)) == 60
    assert division.labels(division.test).tolist() == [0] * 10 + [1] * 2
    # Images that come or go leave the lots of the others as they are.
    elsewhere = class_folders(tmp_path / "two", forest=50, river=10, lake=20)
    again = divide(elsewhere)
    assert {s.path.name for s in again.test if s.label != "lake"} == {s.path.name for s in division.test}


def test_zero_shot_may_look_at_the_same_test_images_as_the_probe(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "set", forest=10, river=10)
    assert len(read_labelled(folder)) == 20
    assert [s.path for s in read_labelled(folder, "test")] == [s.path for s in divide(folder).test]


def test_folders_of_splits_are_the_sets_own_division(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    class_folders(folder / "train", forest=8, river=7)
    class_folders(folder / "valid", forest=2, river=3)
    class_folders(folder / "test", forest=1, river=4)
    division = divide(folder)
    assert [len(part) for part in (division.train, division.val, division.test)] == [15, 5, 5]
    assert division.names == ("forest", "river")
    assert {s.path.parts[-3] for s in division.val} == {"valid"}
    assert len(read_labelled(folder)) == 25


def test_a_caption_set_keeps_its_splits_and_lends_what_is_missing(tmp_path: Path) -> None:
    entries = [(f"beach{i:02}.png", "train", "") for i in range(10)]
    entries += [(f"port{i:02}.png", "train", "") for i in range(10)]
    entries += [("beach_90.png", "test", ""), ("x.png", "test", "port")]
    folder = captioned(tmp_path / "caps", entries)
    division = divide(folder)
    assert division.names == ("beach", "port")
    assert [len(part) for part in (division.train, division.val, division.test)] == [16, 4, 2]
    assert len(read_labelled(folder)) == 22
    named = divide(folder / "dataset.json")
    assert (named.dataset, named.test) == ("caps", division.test)
    assert dataset_name(folder) == "caps"


def test_what_has_no_classes_or_too_few_images_says_so(tmp_path: Path) -> None:
    nameless = captioned(tmp_path / "nameless", [("001.png", "train", "")])
    with pytest.raises(DataError, match=r"001\.png: no class, neither as label nor"):
        read_labelled(nameless)
    with pytest.raises(RemoteclipError, match=r"no images in split night \(choose all, train, val, test\)"):
        read_labelled(class_folders(tmp_path / "set", forest=3), "night")
    with pytest.raises(RemoteclipError, match=r"no images for val"):
        divide(class_folders(tmp_path / "few", forest=2))
    unseen = captioned(
        tmp_path / "unseen", [*((f"a{i}.png", "train", "") for i in range(5)), ("b1.png", "test", "")]
    )
    with pytest.raises(DataError, match="no training images of class b"):
        divide(unseen)
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    (boxes / "data.yaml").write_text("names: [car]\n")
    with pytest.raises(RemoteclipError, match="yolo has no whole-image classes"):
        read_labelled(boxes)
