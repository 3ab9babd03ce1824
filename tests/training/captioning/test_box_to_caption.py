from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.captioning.box_to_caption import BoxToCaption
from training.readers import coco

# ---- worked by hand: a 100 x 80 image, whose centre window spans x 25 to 75 and y 20 to 60

NAMES = ("ship", "harbor", "car")
IN_THE_CENTRE = [((50, 40), 0), ((75, 60), 0), ((25, 20), 1)]  # the window's corners belong to it
AT_THE_EDGE = [((75.5, 40), 0), ((50, 19.5), 1), *[((x, 5), 2) for x in range(11)]]
PLAIN = {
    "in_centre": ("centre: {}",),
    "at_edge": ("edge: {}",),
    "counts": ("count: {}",),
    "both": (),
    "many": ("many",),
}


def captions(
    objects: list[tuple[tuple[float, float], int]], names=NAMES, key="1.jpg", **options
) -> tuple[str, ...]:  # type: ignore[no-untyped-def]
    places, labels = [place for place, _ in objects], [label for _, label in objects]
    return BoxToCaption(**{**PLAIN, **options}).caption(places, labels, names, 100, 80, key)


def test_the_first_caption_tells_the_centre_the_second_what_is_not_in_it() -> None:
    found = captions(IN_THE_CENTRE + AT_THE_EDGE)
    assert len(found) == 5
    assert found[:2] == (
        "centre: two ships and one harbor",
        "edge: many cars, one harbor and one ship",
    )
    assert all(caption.startswith("count: ") for caption in found[2:])


def test_the_rest_count_every_class_before_one_comes_again() -> None:
    found = captions(IN_THE_CENTRE + AT_THE_EDGE, classes=1)
    assert sorted(found[2:]) == ["count: many cars", "count: three ships", "count: two harbors"]


def test_where_nothing_is_in_the_centre_or_at_the_edge_more_counts_take_the_place() -> None:
    assert captions(IN_THE_CENTRE[2:]) == ("centre: one harbor", *["count: one harbor"] * 4)
    assert captions(AT_THE_EDGE[2:]) == ("edge: many cars", *["count: many cars"] * 4)


def test_ten_are_counted_and_eleven_are_many() -> None:
    cars = AT_THE_EDGE[2:]
    assert captions(cars[:10])[0] == "edge: ten cars"
    assert captions(cars[:11])[0] == "edge: many cars"
    assert captions(cars[:11], many_above=15)[0] == "edge: eleven cars"
    assert captions(cars[:3], many_above=2, many=("a lot of",))[0] == "edge: a lot of cars"
    assert captions(cars[:3], digits=True)[0] == "edge: 3 cars"


def test_the_centre_window_is_an_option() -> None:
    everywhere = IN_THE_CENTRE + AT_THE_EDGE[:2]
    assert captions(everywhere, centre=(1.0, 1.0), captions=1) == ("centre: three ships and two harbors",)
    assert captions(everywhere, centre=(0.1, 0.1))[:2] == (
        "centre: one ship",
        "edge: two harbors and two ships",
    )


def test_captions_may_be_fewer_or_more_than_five() -> None:
    assert captions(IN_THE_CENTRE + AT_THE_EDGE, captions=1) == ("centre: two ships and one harbor",)
    assert len(captions(IN_THE_CENTRE, captions=9)) == 9


def test_an_image_without_objects_has_no_captions() -> None:
    assert captions([]) == ()
    assert captions([((5, 5), 0)], names=("unlabeled",)) == ()


def test_classes_of_one_name_count_together_and_leftovers_are_not_spoken_of() -> None:
    names = ("Person", "people", "background", "small-vehicle")
    found = captions([((50, 40), label) for label in (0, 1, 1, 2, 3)], names=names, captions=1)
    assert found == ("centre: three people and one small vehicle",)


def test_verbs_agree() -> None:
    wordings = ("there are {} here", "{} are here")
    said = {
        count: {captions(IN_THE_CENTRE[:count], in_centre=(wording,))[0] for wording in wordings}
        for count in (1, 2)
    }
    assert said == {
        1: {"there is one ship here", "one ship is here"},
        2: {"there are two ships here", "two ships are here"},
    }
    one_each = [((50, 40), 0), ((50, 40), 1)]
    assert captions(one_each, in_centre=wordings[:1])[0] == "there is one harbor and one ship here"
    assert captions(one_each, in_centre=wordings[1:])[0] == "one harbor and one ship are here"


def test_both_is_said_of_two_counted_classes_and_once_an_image() -> None:
    def said(objects: list[tuple[tuple[float, float], int]]) -> list[list[str]]:
        keys = (f"{key}.jpg" for key in range(40))
        options = {"both": ("both {}",), "captions": 9, "classes": 2}
        return [[c for c in captions(objects, key=key, **options) if c.startswith("both")] for key in keys]

    counted = said(IN_THE_CENTRE)
    assert [] in counted
    assert ["both two ships and one harbor"] in counted
    assert max(map(len, counted)) == 1
    assert not any(said(AT_THE_EDGE[2:] + IN_THE_CENTRE[:1])), "not of many cars and one ship"


def test_the_same_seed_and_key_say_the_same_for_good() -> None:
    """Built shards must not change with a release of Python or numpy: the words themselves are held here."""
    places, labels = zip(*(IN_THE_CENTRE + AT_THE_EDGE), strict=True)
    found = BoxToCaption().caption(places, labels, NAMES, 100, 80, "1.jpg")
    assert found == (
        "two ships and one harbor are located in the center of this aerial image",
        "there are many cars, one harbor and one ship at the edge of the picture",
        "an aerial view with a large number of cars, three ships and two harbors in it",
        "both three ships and two harbors can be seen in the picture",
        "lots of cars in this remote sensing image",
    )
    assert BoxToCaption(seed=1).caption(places, labels, NAMES, 100, 80, "1.jpg") != found
    assert BoxToCaption().caption(places, labels, NAMES, 100, 80, "2.jpg") != found


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"captions": 0}, "at least 1"),
        ({"many_above": 0}, "at least 1"),
        ({"classes": 0}, "at least 1"),
        ({"centre": (0.0, 0.5)}, "fractions of the frame"),
        ({"centre": (0.5, 1.5)}, "fractions of the frame"),
        ({"many": ()}, "many must list"),
        ({"counts": ()}, "counts must hold at least one"),
        ({"at_edge": ("{name} there",)}, "at_edge: '{name} there' must hold {} once"),
        ({"both": ("two things",)}, "both: 'two things' must hold {} once"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        BoxToCaption(**options)  # type: ignore[arg-type]


def test_labels_without_a_name_or_a_place_are_refused() -> None:
    for labels in ([3], [-1], [0, 0]):
        with pytest.raises(ValueError, match="of 3 classes do not fit"):
            BoxToCaption().caption([(1, 1)], labels, NAMES, 100, 80, "1.jpg")


# ---- every number is true: captions are read back by a parser that knows nothing of how they were made

FORMS = {  # what a data set calls the class: (one of it, several of it)
    "ship": ("ship", "ships"),
    "storage_tank": ("storage tank", "storage tanks"),
    "Person": ("person", "people"),
    "city bus": ("city bus", "city buses"),
    "aircraft": ("aircraft", "aircraft"),
    "grass": ("area of grass", "areas of grass"),
    "tank": ("tank", "tanks"),
    "airplane": ("airplane", "airplanes"),
    "baseball_diamond": ("baseball diamond", "baseball diamonds"),
    "basketball_court": ("basketball court", "basketball courts"),
    "bridge": ("bridge", "bridges"),
    "ground_track_field": ("ground track field", "ground track fields"),
    "harbor": ("harbor", "harbors"),
    "tennis_court": ("tennis court", "tennis courts"),
    "vehicle": ("vehicle", "vehicles"),
}
WORDS = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty",
)
GENERAL = ("many", "a lot of", "lots of", "numerous", "a large number of")
_NAME = {form: name for name, forms in FORMS.items() for form in forms}
_CLAIM = re.compile(
    rf"\b({'|'.join([*WORDS, *GENERAL])}|\d+) ({'|'.join(sorted(_NAME, key=len, reverse=True))})(?![\w-])"
)


def read_back(caption: str, options: BoxToCaption) -> tuple[str, dict[str, int | None], str]:
    """Where the caption says things are, how many of each class (None: many), and its wording."""
    claims: dict[str, int | None] = {}
    for said, form in _CLAIM.findall(caption):
        name = _NAME[form]
        number = None if said in GENERAL else int(said) if said.isdigit() else WORDS.index(said)
        assert name not in claims, f"{caption!r} speaks of {name} twice"
        assert form == FORMS[name][0 if number == 1 else 1], f"{caption!r}: {said} {form}"
        assert said.isdigit() is options.digits or number is None
        claims[name] = number
    rest = _CLAIM.sub("{}", caption)
    rest = re.sub(r"\{\}(?:, \{\})* and \{\}", "{}", rest).replace("there is {}", "there are {}")
    rest = rest.replace("{} is ", "{} are ")
    tables = {"centre": options.in_centre, "edge": options.at_edge, "all": options.counts + options.both}
    where = [name for name, wordings in tables.items() if rest in wordings]
    assert len(where) == 1, f"{caption!r} is none of the wordings around what was read of it: {rest!r}"
    return where[0], claims, rest


def check(caption_list: tuple[str, ...], truth: dict[str, Counter[str]], options: BoxToCaption) -> None:
    for position, caption in enumerate(caption_list):
        where, claims, _ = read_back(caption, options)
        assert 1 <= len(claims) <= options.classes
        for name, number in claims.items():
            true = truth[where][name]
            assert (
                (true > options.many_above) if number is None else (number == true <= options.many_above)
            ), f"{caption!r}, but there are {true} of {name} in {where}"
        if where != "all":
            assert position == (0 if where == "centre" or not truth["centre"] else 1)
            assert len(claims) == min(len(truth[where]), options.classes), f"{caption!r} leaves out a class"


@given(
    objects=st.lists(st.tuples(st.integers(-4, 132), st.integers(-4, 68), st.integers(0, 6)), max_size=40),
    window=st.tuples(*[st.sampled_from([Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1)])] * 2),
    options=st.fixed_dictionaries(
        {
            "captions": st.integers(1, 8),
            "many_above": st.integers(1, 15),
            "digits": st.booleans(),
            "classes": st.integers(1, 4),
            "seed": st.integers(0, 3),
        }
    ),
    key=st.text(max_size=4),
)
def test_every_number_in_every_caption_is_true_of_the_boxes(  # type: ignore[no-untyped-def]
    objects, window, options, key
) -> None:
    width, height = 128, 64
    writer = BoxToCaption(centre=(float(window[0]), float(window[1])), **options)
    names = tuple(FORMS)[:7]
    places = np.array([(x, y) for x, y, _ in objects], np.float32).reshape(-1, 2)
    found = writer.caption(places, [label for *_, label in objects], names, width, height, key)
    truth: dict[str, Counter[str]] = {"centre": Counter(), "edge": Counter(), "all": Counter()}
    for x, y, label in objects:
        inside = abs(2 * x - width) <= window[0] * width and abs(2 * y - height) <= window[1] * height
        truth["centre" if inside else "edge"][names[label]] += 1
        truth["all"][names[label]] += 1
    assert len(found) == (options["captions"] if objects else 0)
    check(found, truth, writer)


def test_real_annotations_are_told_truly(data_root: Path) -> None:
    names, samples = coco.read(data_root / "vhr10", "test")
    writer = BoxToCaption(centre=(1.0, 1.0))
    for sample in samples:
        truth = Counter(names[label] for label in sample.labels.tolist())
        extent = 2 * float(sample.centres.max(initial=1))  # any frame that holds all will do for counts
        found = writer.caption(sample.centres, sample.labels, names, extent, extent, sample.path.name)
        check(found, {"centre": truth, "edge": Counter(), "all": truth}, writer)
        assert found or not truth
