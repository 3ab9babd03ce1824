from __future__ import annotations

import pytest

from training.captioning.words import amount, number_word, plural, readable, singular, with_article

# One and several as a dictionary has them: class names of DOTA, DIOR, VisDrone, HIT-UAV, LoveDA and of users.
PLURALS = {
    "airplane": "airplanes", "baseball diamond": "baseball diamonds", "bus": "buses", "minibus": "minibuses",
    "person": "people", "man": "men", "woman": "women", "fireman": "firemen", "human": "humans",
    "child": "children", "aircraft": "aircraft", "hovercraft": "hovercraft", "sheep": "sheep",
    "ferry": "ferries", "jetty": "jetties", "chimney": "chimneys", "quay": "quays", "bench": "benches",
    "overpass": "overpasses", "box": "boxes", "leaf": "leaves", "wharf": "wharves", "roof": "roofs",
    "house": "houses", "greenhouse": "greenhouses", "horse": "horses", "bridge": "bridges", "canoe": "canoes",
    "volcano": "volcanoes", "oasis": "oases", "crossroads": "crossroads", "steelworks": "steelworks",
    "gas": "gases", "university": "universities", "boy": "boys", "goose": "geese", "specimen": "specimens",
    "ship on the water": "ships on the water", "car park full of cars": "car parks full of cars",
    "person riding a bicycle": "people riding a bicycle", "woman in red": "women in red",
    "building with a flat roof": "buildings with a flat roof", "bus or truck": "buses or trucks",
    "red or blue car": "red or blue cars", "swimming pool": "swimming pools",
    "group of trees": "groups of trees", "sports ground": "sports grounds",
    "fixed-wing aircraft": "fixed-wing aircraft",
}  # fmt: skip


@pytest.mark.parametrize(("one", "many"), PLURALS.items())
def test_one_and_several(one: str, many: str) -> None:
    assert plural(one) == many
    assert plural(many) == many, "a plural stays one"
    assert singular(many) == one
    assert singular(one) == one, "a singular stays one"


@pytest.mark.parametrize(
    ("name", "words"),
    {
        "ground_track_field": "ground track field",
        "OtherVehicle": "other vehicle",
        "Expressway-Service-area": "expressway service area",
        "Fixed-wing Aircraft": "fixed-wing aircraft",
        "awning-tricycle": "awning tricycle",
        "bus/truck": "bus or truck",
        "SUV": "suv",
        " parked  car ": "parked car",
        "": "",
    }.items(),
)
def test_names_of_data_sets_become_words(name: str, words: str) -> None:
    assert readable(name) == words
    assert readable(words) == words


@pytest.mark.parametrize(
    ("number", "phrase", "said"),
    [
        (0, "ship", "no ships"),
        (1, "person", "one person"),
        (1, "oil tanks", "one oil tank"),
        (12, "city bus", "twelve city buses"),
        (1, "grass", "one area of grass"),
        (3, "bare soil", "three areas of bare soil"),
        (2, "debris", "two pieces of debris"),
        (4, "cattle", "four head of cattle"),
        (2, "concrete ground", "two areas of concrete ground"),
    ],
)
def test_amounts(number: int, phrase: str, said: str) -> None:
    assert amount(number, phrase) == said


def test_amounts_in_digits() -> None:
    assert [amount(n, "bus", digits=True) for n in (0, 1, 12)] == ["0 buses", "1 bus", "12 buses"]


def test_numbers_have_words_up_to_99() -> None:
    said = [number_word(n) for n in (0, 9, 10, 13, 19, 20, 21, 40, 99, 100)]
    assert said == [
        "zero", "nine", "ten", "thirteen", "nineteen", "twenty", "twenty-one", "forty", "ninety-nine", "100",
    ]  # fmt: skip
    assert len({number_word(n) for n in range(200)}) == 200


@pytest.mark.parametrize(
    ("phrase", "said"),
    {
        "airport": "an airport",
        "river": "a river",
        "university": "a university",
        "hour glass": "an hour glass",
        "bare land": "bare land",
        "mountains": "mountains",
        "people": "people",
        "aircraft": "an aircraft",
        "crossroads": "a crossroads",
        "overpass": "an overpass",
        "parking lot full of cars": "a parking lot full of cars",
        "the old town": "the old town",
        "two ships": "two ships",
    }.items(),
)
def test_articles(phrase: str, said: str) -> None:
    assert with_article(phrase) == said
