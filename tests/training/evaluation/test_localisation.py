from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.localisation import evaluate_localisation, match

pytest.importorskip("pycocotools")

SHIP = ("ship", (20, 20, 44, 40), 90)
SHIP_2 = ("ship", (200, 100, 230, 120), 80)
ELSEWHERE = ("ship", (100, 200, 124, 220), 70)
PLANE = ("plane", (60, 150, 100, 190), 70)
POINT = st.tuples(st.integers(0, 30), st.integers(0, 30))


@pytest.fixture
def harbour(blob_set, drawn) -> Path:
    """In the second test image one ship is where none is annotated, and one is not to be seen."""
    images = [drawn((SHIP, SHIP_2, PLANE)), drawn((SHIP_2,), (ELSEWHERE,))]
    return blob_set("harbour", val=[drawn((SHIP, SHIP_2, PLANE, ELSEWHERE))], test=images)


def test_places_are_matched_with_things(blob_subject, harbour: Path) -> None:
    report = evaluate_localisation(blob_subject(), harbour)
    ship, plane, car = (report.classes[name] for name in ("ship", "plane", "car"))
    assert (ship.truth, ship.found, ship.matched) == (3, 4, 3)
    assert (ship.precision, ship.recall) == (0.75, 1.0)
    assert ship.distance == pytest.approx(0, abs=1.5)
    assert ship.precision_interval == (0.5, 1.0)
    assert (plane.precision, plane.recall) == (1.0, 1.0)
    assert (car.precision, car.recall, car.ap50, car.truth) == (None, None, None, 0)
    assert report.precision == pytest.approx(4 / 5)
    assert report.recall == 1.0
    # Three ships score 9, 8, 8 and the false one 7: none of the recall is lost before it.
    assert ship.ap50 == pytest.approx(1.0)
    assert report.map50 == pytest.approx(1.0)
    document = report.as_json()
    assert document["n"] == 2
    assert document["classes"]["ship"]["recall"] == 1.0


def test_a_false_place_that_scores_best_costs_average_precision(blob_subject, blob_set, drawn) -> None:
    loud = ("ship", (100, 200, 124, 220), 99)
    folder = blob_set("loud", val=[drawn((SHIP,))], test=[drawn((SHIP,), (loud,))])
    ship = evaluate_localisation(blob_subject(), folder).classes["ship"]
    assert ship.ap50 == pytest.approx(0.5)


def test_places_in_ignored_regions_cost_nothing(blob_subject, blob_set, drawn) -> None:
    loud = ("ship", (100, 200, 124, 220), 99)
    images = [drawn((SHIP,), (loud,), ((90, 190, 140, 240),))]
    ship = evaluate_localisation(blob_subject(), blob_set("open", val=images, test=images)).classes["ship"]
    assert (ship.found, ship.matched, ship.precision) == (1, 1, 1.0)
    assert ship.ap50 == pytest.approx(1.0)


def test_a_box_that_is_too_large_is_in_the_right_place_and_no_right_box(
    blob_subject, blob_set, drawn
) -> None:
    folder = blob_set("boxes", val=[drawn((SHIP,))], test=[drawn((SHIP,))])
    file = folder / "instances_test.json"
    file.write_text(file.read_text().replace("[20, 20, 24, 20]", "[20, 20, 60, 60]"))
    ship = evaluate_localisation(blob_subject(), folder).classes["ship"]
    assert (ship.matched, ship.ap50) == (1, 0.0)


def test_points_are_matched_within_the_radius(blob_subject, synthetic_root: Path) -> None:
    report = evaluate_localisation(blob_subject(), synthetic_root / "point_set")
    point = report.classes["point"]
    assert (point.truth, point.matched, point.recall) == (1, 1, 1.0)
    assert (point.ap50, report.map50) == (None, None)  # of points there are no boxes to compare
    assert match([(0, 0), (50, 50)], [(7, 7), (50, 61)], np.zeros((2, 2)), 10.0) == pytest.approx([98**0.5])


@given(st.lists(POINT, max_size=4), st.lists(POINT, max_size=4), st.integers(2, 20))
def test_as_many_pairs_as_can_be_and_of_those_the_nearest(places, things, size: int) -> None:
    found = match(places, things, np.full((len(things), 2), size), 0.0)
    best = (0, 0.0)
    few, many = sorted((places, things), key=len)
    for chosen in itertools.permutations(many, len(few)):
        offsets = [(a[0] - b[0], a[1] - b[1]) for a, b in zip(few, chosen, strict=True)]
        near = [(x * x + y * y) ** 0.5 for x, y in offsets if max(abs(x), abs(y)) <= size / 2]
        best = max(best, (len(near), -sum(near)))
    assert (len(found), float(found.sum())) == (best[0], pytest.approx(-best[1]))


def test_the_figure_is_drawn(blob_subject, harbour: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    evaluate_localisation(blob_subject(), harbour).plot(tmp_path / "places.png")
    assert (tmp_path / "places.png").stat().st_size > 1000
