"""Questions from annotations: every statement is true of its image and false of the other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.blindpairs.asking import ImageLabels, ImageObjects, read_annotated
from training.blindpairs.questions import PATTERNS
from training.errors import DataError
from training.samples import CaptionSample, ObjectSample, object_sample

NAMES = ("ship", "storage_tank", "background")
SIZE = (200, 100)
SHARE = st.integers(0, 20).map(lambda step: step / 20)
THING = st.tuples(st.integers(0, 2), SHARE, SHARE)


@pytest.fixture(scope="module")
def frame_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("asking") / "frame.png"
    assert cv2.imwrite(str(path), np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    return path


@pytest.fixture
def frame(frame_once: Path) -> Path:
    return frame_once


def _sample(path: Path, *things: tuple[int, float, float], mask: Path | None = None) -> ObjectSample:
    """things: class, and centre as shares of width and height."""
    boxes = [(x * 200 - 2, y * 100 - 2, x * 200 + 2, y * 100 + 2) for _, x, y in things]
    return object_sample(path, boxes, [kind for kind, _, _ in things], mask=mask)


def _asked(first: ObjectSample, second: ObjectSample) -> dict[str, tuple[str, str]]:
    objects = ImageObjects("vhr10", NAMES, [first, second])
    there = {pattern: (a, b) for pattern, a, b in objects.ask(0, 1)}
    back = {pattern: (b, a) for pattern, a, b in objects.ask(1, 0)}
    assert there == back  # whichever comes first, each keeps its own statement
    return there


def test_labels_make_a_question_of_the_class() -> None:
    samples = [
        CaptionSample(Path(f"{i}.png"), (), label) for i, label in enumerate(("SeaLake", "Forest", "Forest"))
    ]
    labels = ImageLabels("eurosat", samples)
    assert labels.ask(0, 1) == [("class", "an aerial photo of a lake or sea", "an aerial photo of a forest")]
    assert labels.ask(1, 2) == []


def test_a_thing_in_one_image_alone_is_a_question_of_presence(frame: Path) -> None:
    asked = _asked(_sample(frame, (0, 0.5, 0.5), (0, 0.1, 0.1)), _sample(frame))
    assert asked == {"presence": ("an aerial photo with ships", "an aerial photo without ships")}


def test_different_things_are_a_question_of_class_and_the_commoner_one_of_presence(frame: Path) -> None:
    asked = _asked(_sample(frame, (0, 0.5, 0.5)), _sample(frame, (1, 0.5, 0.5), (1, 0.2, 0.5)))
    assert asked["class"] == ("an aerial photo of ships", "an aerial photo of storage tanks")
    assert asked["presence"] == (
        "an aerial photo without storage tanks",
        "an aerial photo with storage tanks",
    )


def test_numbers_are_asked_where_they_clearly_differ_and_can_be_counted(frame: Path) -> None:
    def ships(n: int) -> ObjectSample:
        return _sample(frame, *[(0, 0.5, 0.5)] * n)

    assert _asked(ships(2), ships(5))["count"] == (
        "an aerial photo of two ships",
        "an aerial photo of five ships",
    )
    assert _asked(ships(1), ships(2))["count"][0] == "an aerial photo of one ship"
    assert "count" not in _asked(ships(4), ships(5))  # too near to one another
    assert _asked(ships(3), ships(11)) == {  # too many to be a number in a caption
        "quantity": ("an aerial photo of a few ships", "an aerial photo of many ships")
    }
    assert _asked(ships(5), ships(11)) == _asked(ships(3), ships(3)) == {}


def test_of_several_things_the_clearest_difference_is_asked(frame: Path) -> None:
    first = _sample(frame, (0, 0.5, 0.5), (0, 0.5, 0.5), (1, 0.5, 0.5))
    second = _sample(frame, (0, 0.5, 0.5), *[(1, 0.5, 0.5)] * 4)
    assert _asked(first, second)["count"] == (
        "an aerial photo of one storage tank",
        "an aerial photo of four storage tanks",
    )


@pytest.mark.parametrize(
    ("first", "second", "sides"),
    [
        ([(0.1, 0.5)], [(0.8, 0.5)], ("on the left", "on the right")),
        ([(0.5, 0.9)], [(0.5, 0.1)], ("at the bottom", "at the top")),
        ([(0.1, 0.1)], [(0.9, 0.7)], ("on the left", "on the right")),  # the longer way
    ],
)
def test_things_on_opposite_sides_are_a_question_of_position(
    frame: Path,
    first: list[tuple[float, float]],
    second: list[tuple[float, float]],
    sides: tuple[str, str],
) -> None:
    asked = _asked(*(_sample(frame, *[(0, x, y) for x, y in at]) for at in (first, second)))
    assert asked == {"position": tuple(f"an aerial photo with one ship {side}" for side in sides)}


def test_what_lies_in_the_middle_or_on_both_sides_has_no_position(frame: Path) -> None:
    left = _sample(frame, (0, 0.1, 0.5))
    assert _asked(left, _sample(frame, (0, 0.55, 0.5))) == {}
    assert "position" not in _asked(left, _sample(frame, (0, 0.9, 0.5), (0, 0.1, 0.5)))
    both = _asked(_sample(frame, (0, 0.1, 0.5), (0, 0.2, 0.5)), _sample(frame, (0, 0.9, 0.5)))
    assert both["position"] == (
        "an aerial photo with ships on the left",
        "an aerial photo with one ship on the right",
    )


def test_a_thing_on_the_other_side_of_another_is_a_question_of_their_relation(frame: Path) -> None:
    left = _sample(frame, (0, 0.1, 0.5), (0, 0.3, 0.5), (1, 0.45, 0.5))
    right = _sample(frame, (0, 0.7, 0.5), (1, 0.5, 0.5))
    assert _asked(left, right)["relation"] == (
        "an aerial photo with ships to the left of one storage tank",
        "an aerial photo with one ship to the right of one storage tank",
    )
    above = _sample(frame, (0, 0.5, 0.1), (1, 0.5, 0.4))
    below = _sample(frame, (0, 0.5, 0.9), (1, 0.5, 0.7))
    assert _asked(above, below)["relation"][1] == "an aerial photo with one ship below one storage tank"
    among = _sample(frame, (0, 0.7, 0.5), (0, 0.4, 0.5), (1, 0.5, 0.5))
    beside = _sample(frame, (0, 0.55, 0.5), (1, 0.5, 0.5))
    assert all("relation" not in _asked(left, other) for other in (among, beside))


def test_things_together_and_far_apart_are_a_question_of_distance(frame: Path) -> None:
    together = _sample(frame, (0, 0.5, 0.5), (0, 0.55, 0.5), (0, 0.5, 0.6))
    apart = _sample(frame, (0, 0.1, 0.5), (0, 0.9, 0.5))
    assert _asked(together, apart)["distance"] == (
        "an aerial photo with ships close together",
        "an aerial photo with ships far apart",
    )
    # The longer side is the measure: 90% of the height are 45% of the width.
    upright = _sample(frame, (0, 0.5, 0.05), (0, 0.5, 0.95))
    middling = _sample(frame, (0, 0.1, 0.5), (0, 0.4, 0.5), (0, 0.9, 0.5))
    assert all("distance" not in _asked(together, other) for other in (upright, middling))
    assert "distance" not in _asked(together, _sample(frame, (0, 0.5, 0.5)))


@settings(max_examples=40)
@given(st.lists(THING, max_size=12), st.lists(THING, max_size=12))
def test_every_statement_keeps_its_image_whichever_comes_first(
    frame_once: Path, first: list[tuple[int, float, float]], second: list[tuple[int, float, float]]
) -> None:
    asked = _asked(_sample(frame_once, *first), _sample(frame_once, *second))
    assert set(asked) <= set(PATTERNS)
    assert all(a != b for a, b in asked.values())
    assert _asked(_sample(frame_once, *first), _sample(frame_once, *first)) == {}


def test_areas_are_neither_counted_nor_placed_and_background_is_no_thing(frame: Path) -> None:
    asked = _asked(
        _sample(frame, (0, 0.1, 0.5), mask=frame), _sample(frame, (0, 0.9, 0.5), (0, 0.8, 0.5), mask=frame)
    )
    assert asked == {}
    assert _asked(_sample(frame, (2, 0.1, 0.5)), _sample(frame)) == {}


def test_any_annotated_set_can_be_asked_about(synthetic_root: Path) -> None:
    objects = read_annotated(synthetic_root / "coco_set", "coco", "test")
    assert len(objects.paths) == 1
    labels = read_annotated(synthetic_root / "folder_set", "class_folders", "all")
    assert [path.parent.name for path in labels.paths] == ["SeaLake", "SeaLake", "beach", "beach"]
    assert labels.ask(0, 2)[0][1:] == ("an aerial photo of a sea lake", "an aerial photo of a beach")
    with pytest.raises(DataError):
        read_annotated(synthetic_root / "absent", "coco", "test")
