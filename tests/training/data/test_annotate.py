from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.annotate import Annotator
from training.data.caption_options import CaptionOptions
from training.data.recipe import DataSet
from training.samples import CaptionSample, object_sample

NAMES = ("small-vehicle", "background", "ship", "roof")


def _annotator(options: CaptionOptions | None = None, **fields: object) -> Annotator:
    whole = {"name": "drawn", "captions": "b2c", "licence": "drawn", "source": "the tests", **fields}
    return Annotator(DataSet.model_validate(whole), NAMES, options or CaptionOptions())


def _sample(labels: list[int]) -> object:
    boxes = [(10.0 * i, 0.0, 10.0 * i + 8, 6.0) for i in range(len(labels))]
    return object_sample(Path("a.jpg"), boxes, labels, [(0.0, 50.0, 5.0, 60.0)])


def test_only_the_classes_of_the_recipe_are_spoken_of_and_boxed() -> None:
    annotator = _annotator(classes={"ship": ["ship"]})
    found = annotator.annotate(_sample([0, 2, 3, 2]), "a.jpg", (100, 80))
    assert found.names == ("ship",)
    assert found.labels == (0, 0)
    assert found.boxes == ((10, 0, 18, 6), (30, 0, 38, 6))
    assert found.ignored == ((0, 50, 5, 60),)
    assert all("two ships" in caption for caption in found.captions)


def test_without_a_table_classes_go_by_their_own_names() -> None:
    found = _annotator().annotate(_sample([0, 0, 0]), "a.jpg", (100, 80))
    assert found.names == NAMES
    assert all("three small vehicles" in caption for caption in found.captions)


def test_nothing_to_speak_of_has_no_captions() -> None:
    assert _annotator(classes={"ship": ["ship"]}).annotate(_sample([0, 3]), "a.jpg", (100, 80)).captions == ()


def test_areas_are_named_without_a_number() -> None:
    fields = {"captions": "m2b+b2c", "classes": {"ship": ["ship"]}, "areas": {"roof": ["roof"]}}
    found = _annotator(**fields).annotate(_sample([3, 3, 2]), "a.jpg", (100, 80))
    assert found.labels == (0,)
    assert "a roof" in found.captions[-1]
    assert all("roof" not in caption for caption in found.captions[:-1])
    only = _annotator(captions="m2b+b2c", areas={"roof": ["roof"]}, classes={"ship": ["ship"]})
    assert len(only.annotate(_sample([3]), "a.jpg", (100, 80)).captions) == 1


def test_nouns_vary_from_image_to_image_unless_told_not_to() -> None:
    nouns = {"ship": ["ship", "boat"]}
    files = [f"{number}.jpg" for number in range(20)]
    varied, fixed = _annotator(classes=nouns), _annotator(CaptionOptions(vary=False), classes=nouns)
    said = [varied.annotate(_sample([2]), file, (100, 80)).captions[0] for file in files]
    assert 0 < sum("boat" in caption for caption in said) < len(said)
    assert all("ship" in fixed.annotate(_sample([2]), file, (100, 80)).captions[0] for file in files)


@pytest.mark.parametrize("kind", ["captions", "class"])
def test_sentences_and_labels(kind: str) -> None:
    annotator = _annotator(captions=kind, classes={"Port": ["harbour", "port"]})
    found = annotator.annotate(CaptionSample(Path("a.jpg"), ("boats .",), "Port"), "a.jpg", (100, 80))
    assert found.label == "Port"
    if kind == "captions":
        assert found.captions == ("boats .",)
    else:
        assert len(set(found.captions)) == 5
        assert all(("harbour" in caption) != ("a port" in caption) for caption in found.captions)
        silent = annotator.annotate(CaptionSample(Path("b.jpg"), (), "Forest"), "b.jpg", (100, 80))
        assert silent.captions == ()


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(32, 2000))
def test_boxes_follow_the_stored_size(width: int, height: int, longest: int) -> None:
    from training.data.images import stored_size

    box = (0.0, 0.0, float(width), float(height))
    sample = object_sample(Path("a.jpg"), [box], [2], [box])
    stored = stored_size(width, height, longest)
    document = (
        _annotator()
        .annotate(sample, "a.jpg", (width, height))
        .document("drawn", "a", (width, height), stored)
    )
    assert (document["width"], document["height"]) == stored
    np.testing.assert_allclose(document["boxes"], [[0, 0, *stored]], atol=0.01)
    np.testing.assert_allclose(document["ignored"], [[0, 0, *stored]], atol=0.01)
