from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.frames import Frame
from firmware_cfg.errors import RemoteclipError, UsageError
from training.evaluation.count import by_bucket, evaluate_count
from training.evaluation.frames import frame_of
from training.evaluation.objects import object_task
from training.evaluation.operating import choose, larger_sizes, parse_size

SHIP = ("ship", (20, 20, 44, 40), 90)
FAINT = ("ship", (100, 20, 124, 40), 40)  # a false alarm where it is not annotated
SHIP_2 = ("ship", (200, 100, 230, 120), 80)
PLANE = ("plane", (60, 150, 100, 190), 70)


@pytest.fixture
def harbour(blob_set, drawn) -> Path:
    """Ships with false alarms that score less; planes only in the test images; no car anywhere."""
    return blob_set(
        "harbour",
        train=[drawn()],
        val=[drawn((SHIP, SHIP_2), (FAINT,)), drawn((SHIP,), (FAINT,)), drawn()],
        test=[drawn((SHIP, SHIP_2, PLANE), (FAINT,)), drawn((SHIP_2,)), drawn((), (FAINT,))],
    )


def test_every_class_is_counted_by_the_thresholds_of_validation(blob_subject, harbour: Path) -> None:
    report = evaluate_count(blob_subject(), harbour)
    assert (report.dataset, report.split, report.n) == ("harbour", "test", 3)
    ship, plane, car = (report.classes[name] for name in ("ship", "plane", "car"))
    assert (ship.mae, ship.exact, ship.total, ship.truth, ship.total_error) == (0, 1, 3, 3, 0)
    assert ship.threshold_from == "validation"
    # Never shown on validation: asked for all the same, with the middle of the others' thresholds.
    assert (plane.threshold_from, plane.threshold) == ("other classes", ship.threshold)
    assert (plane.total, plane.truth, plane.n_1_10) == (1, 1, 1)
    assert (car.total, car.truth, car.total_error, car.exact_1_10) == (0, 0, None, None)
    assert (report.exact_1_10, report.n_1_10) == (1, 3)
    assert set(report.buckets) == {"0", "1-2"}
    assert sum(bucket.n for bucket in report.buckets.values()) == 9
    document = report.as_json()
    assert document["classes"]["ship"]["buckets"]["1-2"]["n"] == 2
    assert "counted" not in document


def test_what_it_counts_is_what_the_drones_pipeline_counts(blob_subject, harbour: Path) -> None:
    subject = blob_subject()
    task = object_task(harbour, "test")
    point = choose(subject, task, harbour)
    report = evaluate_count(subject, harbour)
    with subject.pipeline(point.prompts(task.dataset), point.image_size) as pipeline:
        for number, sample in enumerate(task.samples):
            frame: Frame = frame_of(sample.path, number)
            counts = pipeline.process(frame).counts.prompts
            assert [counts[name].count for name in task.names] == report.counted[number].tolist()


def test_two_calibrations_of_one_model_count_the_same(blob_subject, harbour: Path) -> None:
    one = evaluate_count(blob_subject(platt=(1.0, 0.0)), harbour)
    other = evaluate_count(blob_subject(platt=(0.4, -1.5)), harbour)
    assert one.classes["ship"].threshold != pytest.approx(other.classes["ship"].threshold, abs=0.05)
    assert np.array_equal(one.counted, other.counted)


def test_what_lies_in_an_ignored_region_is_neither_right_nor_wrong(blob_subject, blob_set, drawn) -> None:
    region = (90, 10, 140, 60)
    image = drawn((SHIP,), (("ship", (100, 20, 124, 40), 95),), (region,))
    report = evaluate_count(blob_subject(), blob_set("open", val=[image], test=[image, drawn((SHIP,))]))
    assert report.classes["ship"].mae == 0
    assert report.counted[:, 0].tolist() == [1, 1]


def test_places_in_the_padding_never_count(blob_subject, blob_set, drawn) -> None:
    wide = [drawn((SHIP,), size=(320, 100)), drawn((), size=(320, 100))]
    report = evaluate_count(blob_subject(), blob_set("wide", val=wide, test=wide), image_size=(320, 256))
    assert report.counted[:, 0].tolist() == [1, 0]


def test_it_says_where_the_graph_had_no_more_places_to_give(blob_subject, blob_set, drawn) -> None:
    crowd = tuple(("car", (x, y, x + 12, y + 12), 90) for x in range(4, 636, 32) for y in range(4, 636, 32))
    assert len(crowd) > 300
    images = [drawn(crowd, size=(640, 640)), drawn((SHIP,), size=(640, 640))]
    report = evaluate_count(blob_subject(), blob_set("crowd", val=images, test=images), image_size=(640, 640))
    assert report.classes["car"].total == 300
    assert report.limited == 1


def test_a_larger_model_input_is_taken_where_it_counts_better(blob_subject, blob_set, drawn) -> None:
    small = [drawn((("car", (50, 50, 58, 58), 90), ("car", (150, 50, 158, 58), 90))), drawn()]
    folder = blob_set("small", val=small, test=small)
    shy = blob_subject(smallest=11)  # at 1.5 times its size such a car is seen, at its own it is not
    report = evaluate_count(shy, folder)
    assert report.image_size == (480, 384)
    assert report.classes["car"].mae == 0
    assert report.tried == {"suited": 1.0, "480x384": 0.0, "640x512": 0.0}
    assert evaluate_count(blob_subject(), folder).image_size is None
    for size in ((320, 256), "suited"):
        assert evaluate_count(shy, folder, image_size=size).classes["car"].mae == 1.0


def test_windows_of_the_frame_show_what_is_too_small_in_the_whole(blob_subject, blob_set, drawn) -> None:
    # The second one lies where all four windows overlap, and is one car.
    small = [drawn((("car", (50, 50, 58, 58), 90), ("car", (156, 124, 164, 132), 90))), drawn()]
    folder = blob_set("small", val=small, test=small)
    shy = blob_subject(smallest=11)
    assert evaluate_count(shy, folder, image_size="suited").classes["car"].total == 0
    report = evaluate_count(shy, folder, image_size="suited", tiles=(2, 2))
    assert (report.classes["car"].total, report.classes["car"].mae) == (2, 0)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((256, 256), [(384, 384), (512, 512)]),
        ((640, 384), [(960, 576), (1280, 768)]),
        ((640, 512), [(960, 768), (1280, 1024)]),
        ((1280, 384), []),
        ((1024, 512), [(1280, 640)]),
    ],
)
def test_larger_inputs_keep_the_shape_and_stay_below_the_limit(size, expected) -> None:
    assert larger_sizes(size) == expected


def test_classes_can_be_chosen_and_thresholds_taken_from_the_null_bank(blob_subject, harbour: Path) -> None:
    alone = evaluate_count(blob_subject(), harbour, classes=["plane"], thresholds="default")
    assert list(alone.classes) == ["plane"]
    assert alone.classes["plane"].threshold_from == "null bank"
    assert alone.tried == {}
    named = evaluate_count(blob_subject(), harbour, by_name=["ship"])
    assert named.classes["ship"].threshold_from == "null bank"
    assert named.classes["ship"].threshold == pytest.approx(0.5)  # what the blobs' null bank says


def test_validation_can_be_reported_on(blob_subject, harbour: Path) -> None:
    report = evaluate_count(blob_subject(), harbour, "val")
    assert (report.split, report.n, report.classes["ship"].truth) == ("val", 3, 3)


def test_splits_that_number_their_classes_differently_are_read_by_name(blob_subject, harbour: Path) -> None:
    file = harbour / "instances_test.json"
    text = file.read_text()
    start = text.index('"categories"')
    swapped = text[start:].replace('"ship"', '"?"').replace('"plane"', '"ship"').replace('"?"', '"plane"')
    file.write_text(text[:start] + swapped)
    task = object_task(harbour, "test")
    assert task.names == ("plane", "ship", "car")
    assert task.truth(task.samples)[0].tolist() == [2, 1, 0]
    assert task.truth(task.validation)[0].tolist() == [0, 2, 0]


def test_no_image_is_both_chosen_on_and_reported(blob_set, drawn) -> None:
    # A set that is divided nowhere: every eighth training image is set aside.
    folder = blob_set("whole", train=[drawn((SHIP,)) for _ in range(16)])
    task = object_task(folder, "train")
    assert (len(task.validation), len(task.samples)) == (2, 14)
    assert not {s.path for s in task.validation} & {s.path for s in task.samples}
    assert len(object_task(folder, "val").samples) == 2


def test_a_set_may_be_named_by_an_annotation_file(blob_subject, harbour: Path) -> None:
    assert evaluate_count(blob_subject(), harbour / "instances_test.json").dataset == "harbour"
    with pytest.raises(UsageError, match="annotates split val, not test"):
        evaluate_count(blob_subject(), harbour / "instances_val.json")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "night"}, "instances_night.json: no such file"),
        ({"classes": ["shipp"]}, r"no class shipp in this set \(did you mean ship\?\)"),
        ({"by_name": ["tree"]}, "tree is none of the classes asked for"),
        ({"thresholds": "best"}, "validation or default, not best"),
    ],
)
def test_what_cannot_be_asked_is_refused(blob_subject, harbour: Path, settings, message: str) -> None:
    with pytest.raises(RemoteclipError, match=message):
        evaluate_count(blob_subject(), harbour, **settings)


def test_thresholds_need_validation_images_or_a_null_bank(blob_subject, blob_set, drawn, harbour) -> None:
    folder = blob_set("alone", test=[drawn((SHIP,))])
    with pytest.raises(RemoteclipError, match=r"no validation images .*--thresholds default"):
        evaluate_count(blob_subject(), folder)
    assert evaluate_count(blob_subject(), folder, thresholds="default").n == 1
    for settings in ({"thresholds": "default"}, {"by_name": ["ship"]}):
        with pytest.raises(UsageError, match="this is a checkpoint"):
            evaluate_count(blob_subject("checkpoint"), harbour, **settings)


def test_buckets_tell_easy_counts_from_hard_ones() -> None:
    truth = np.array([0, 0, 1, 4, 12, 40])
    buckets = by_bucket(np.array([0, 1, 1, 3, 12, 50]), truth)
    assert {name: (b.n, b.mae, b.exact, b.within_one) for name, b in buckets.items()} == {
        "0": (2, 0.5, 0.5, 1.0),
        "1-2": (1, 0, 1, 1),
        "3-5": (1, 1, 0, 1),
        "11-30": (1, 0, 1, 1),
        "31+": (1, 10, 0, 0),
    }


def test_the_figure_is_drawn(blob_subject, harbour: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    evaluate_count(blob_subject(), harbour).plot(tmp_path / "count.png")
    assert (tmp_path / "count.png").read_bytes().startswith(b"\x89PNG")


def test_sizes_are_read_as_written() -> None:
    assert parse_size(None) is None
    assert parse_size("640x384") == (640, 384)
    assert parse_size("suited") == "suited"
    with pytest.raises(UsageError, match="expected WIDTHxHEIGHT"):
        parse_size("640")
    with pytest.raises(UsageError, match="multiples of 32"):
        parse_size("640x400")
