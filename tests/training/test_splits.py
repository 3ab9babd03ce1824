from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest

from training import splits
from training.errors import MissingSplit
from training.readers import coco
from training.splits import belongs, choose_validation, name_hash, read_part, write_lists


def test_a_name_hash_depends_on_the_name_alone() -> None:
    assert name_hash(Path("a/b.jpg")) == name_hash(Path("c/b.jpg")) != name_hash(Path("b.png"))
    assert len(name_hash(Path("b.jpg"))) == 16


def test_an_image_belongs_to_one_split_and_a_leak_to_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "FOLDER", tmp_path)
    held, leaking, rest = Path("held.jpg"), Path("leaking.jpg"), Path("rest.jpg")
    (tmp_path / "s.val.txt").write_text(name_hash(held) + "\n")
    (tmp_path / "s.leak.txt").write_text(name_hash(leaking) + "\n")
    of = {
        path.stem: [split for split in ("train", "val") if belongs("s", path, split)]
        for path in (held, leaking, rest)
    }
    assert of == {"held": ["val"], "leaking": [], "rest": ["train"]}
    assert belongs("a set without lists", held, "train")


def test_frames_that_follow_one_another_stay_together() -> None:
    names = ["5_1.jpg", "5_2.jpg", "6_1.jpg", "7_1.jpg", "15_1.jpg"]
    assert choose_validation("cats_vehicles", [Path(name) for name in names]) == [0, 1, 2]


def test_elsewhere_a_share_is_held_back_by_name() -> None:
    paths = [Path(f"{i}.jpg") for i in range(2000)]
    chosen = choose_validation("vhr10", paths)
    assert 180 < len(chosen) < 300  # 12%
    assert choose_validation("vhr10", paths[:1000]) == [i for i in chosen if i < 1000]
    assert choose_validation("an unknown set", paths) == []


def test_lists_hold_back_groups_and_remove_copies_of_evaluated_images(
    synthetic_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    cats = root / "cats_vehicles"
    shutil.copytree(synthetic_root / "yolo_set", cats)
    shutil.copytree(synthetic_root / "folder_set", root / "eurosat")
    (root / "unlabelled" / "images").mkdir(parents=True)
    (cats / "images/train/held_back.png").rename(cats / "images/train/5_1.png")
    # A training image that is a re-encoded test image, and one of an evaluated set of class folders.
    test_image = cv2.imread(str(cats / "images/test/test_0.png"))
    assert cv2.imwrite(str(cats / "images/train/copy.jpg"), test_image, [cv2.IMWRITE_JPEG_QUALITY, 70])
    scene = cv2.imread(str(root / "eurosat/beach/beach_0.jpg"))
    assert cv2.imwrite(str(cats / "images/train/scene.png"), scene)
    lists = tmp_path / "lists"
    monkeypatch.setattr(splits, "FOLDER", lists)
    write_lists(root)
    assert (lists / "cats_vehicles.val.txt").read_text() == name_hash(Path("5_1.png")) + "\n"
    leaks = set((lists / "cats_vehicles.leak.txt").read_text().split())
    assert leaks == {name_hash(Path("copy.jpg")), name_hash(Path("scene.png"))}
    assert sorted(file.name for file in lists.iterdir()) == [
        "cats_vehicles.leak.txt",
        "cats_vehicles.val.txt",
    ]


def listed_by(root: Path, split: str) -> list[str]:
    return [sample.path.stem for sample in read_part(coco.read, root, split)[1]]


def test_a_set_is_divided_by_its_list_else_by_its_own_validation_split_else_by_name(
    synthetic_root: Path, tmp_path: Path
) -> None:
    assert listed_by(synthetic_root / "coco_set", "val") == ["held_back"]
    assert listed_by(synthetic_root / "coco_set", "train") == ["train_0", "train_1", "train_2"]

    unknown = tmp_path / "unknown"
    shutil.copytree(synthetic_root / "coco_set", unknown)
    aside, kept = listed_by(unknown, "val"), listed_by(unknown, "train")
    assert len(aside) == 1  # one in eight, and never none
    assert sorted(aside + kept) == ["held_back", "train_0", "train_1", "train_2"]
    assert listed_by(unknown, "val") == aside

    (unknown / "instances_test.json").rename(unknown / "instances_val.json")
    assert listed_by(unknown, "val") == ["test_0"]
    assert listed_by(unknown, "train") == ["held_back", "train_0", "train_1", "train_2"]


def test_a_set_that_nobody_divided_is_divided_by_name(synthetic_root: Path, tmp_path: Path) -> None:
    whole = tmp_path / "exported"
    shutil.copytree(synthetic_root / "coco_set", whole)
    (whole / "instances_test.json").unlink()
    (whole / "instances_train.json").rename(whole / "annotations.json")
    aside, kept = listed_by(whole, "val"), listed_by(whole, "train")
    assert len(aside) == 1
    assert sorted(aside + kept) == ["held_back", "train_0", "train_1", "train_2"]
    file = whole / "annotations.json"
    assert (listed_by(file, "val"), listed_by(file, "train")) == (aside, kept)
    with pytest.raises(MissingSplit, match="instances_train"):
        read_part(coco.read, synthetic_root / "yolo_set", "train")
