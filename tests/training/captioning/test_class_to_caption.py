from __future__ import annotations

import pytest

from training.captioning.class_to_caption import ClassToCaption


def test_every_wording_meets_every_phrase_once() -> None:
    writer = ClassToCaption(captions=9, wordings=("a photo of {}", "{} from above"))
    found = writer.caption(["BareLand", "airport", "airport"], "1.jpg")
    assert sorted(found) == [
        "a photo of an airport", "a photo of bare land", "an airport from above", "bare land from above",
    ]  # fmt: skip


def test_as_many_as_asked_for_drawn_by_seed_and_key() -> None:
    phrases = ["airport", "airport with planes"]
    found = ClassToCaption(captions=3).caption(phrases, "1.jpg")
    assert len(set(found)) == 3
    assert found == ClassToCaption(captions=3).caption(phrases, "1.jpg")
    others = {
        ClassToCaption(captions=3, seed=seed).caption(phrases, f"{key}.jpg")
        for seed in (0, 1)
        for key in (1, 2)
    }
    assert len(others) > 1


def test_the_papers_prompt_goes_without_an_article() -> None:
    writer = ClassToCaption(wordings=("a satellite photo of {}.",), article=False)
    assert writer.caption(["storage_tank"], "") == ("a satellite photo of storage tank.",)


def test_a_class_without_phrases_has_no_captions() -> None:
    assert ClassToCaption().caption([], "1.jpg") == ()
    assert ClassToCaption().caption([""], "1.jpg") == ()


@pytest.mark.parametrize(
    "options", [{"captions": 0}, {"wordings": ()}, {"wordings": ("no place",)}, {"wordings": ("{0}",)}]
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        ClassToCaption(**options)
