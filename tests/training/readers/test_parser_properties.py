"""What holds for whatever a parser is given: nothing is lost in a round trip, and no bytes make it crash."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import DataError
from training.readers import OBJECT_READERS, Findings, visdrone
from training.readers.dota import NAMES as DOTA_NAMES
from training.samples import ObjectSample

WIDTH, HEIGHT = 100, 80
EXAMPLES = 15  # of each test and format: every example writes files
ENCODED = cv2.imencode(".png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()

Marked = tuple[int, int, int, int, int]  # x1, y1, x2, y2, label


@st.composite
def marked(draw: st.DrawFn) -> Marked:
    x1, y1 = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    x2, y2 = draw(st.integers(x1 + 1, WIDTH)), draw(st.integers(y1 + 1, HEIGHT))
    return x1, y1, x2, y2, draw(st.integers(0, 2))


@contextmanager
def folder_of(form: str, annotation: str | bytes) -> Iterator[Path]:
    """A set of one image in the given format, whose one annotation file holds the given text."""
    image, file, extra = {
        "coco": ("images/a.png", "instances_all.json", {}),
        "auair": ("images/a.png", "annotations.json", {}),
        "yolo": ("images/a.png", "labels/a.txt", {"data.yaml": "names: [a, b, c]\n"}),
        "voc": ("JPEGImages/a.png", "Annotations/a.xml", {"classes.txt": "a\nb\nc\n"}),
        "dota": ("images/a.png", "labelTxt/a.txt", {}),
        "visdrone": ("images/a.png", "annotations/a.txt", {}),
        "points": ("images/a.png", "points/a.csv", {}),
    }[form]
    with TemporaryDirectory() as name:
        folder = Path(name)
        content = annotation if isinstance(annotation, bytes) else annotation.encode("utf-8", "surrogatepass")
        files: dict[str, bytes] = {image: ENCODED, file: content}
        files.update((key, value.encode()) for key, value in extra.items())
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        yield folder


def as_coco(objects: list[Marked]) -> str:
    return json.dumps(
        {
            "images": [{"id": 9, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
            "annotations": [
                {"image_id": 9, "category_id": 10 + label, "bbox": [x1, y1, x2 - x1, y2 - y1]}
                for x1, y1, x2, y2, label in objects
            ],
            "categories": [{"id": 10 + i, "name": f"class {i}"} for i in range(3)],
        }
    )


def as_auair(objects: list[Marked]) -> str:
    boxes = [
        {"left": x1, "top": y1, "width": x2 - x1, "height": y2 - y1, "class": label}
        for x1, y1, x2, y2, label in objects
    ]
    frame = {"image_name": "a.png", "image_width": WIDTH, "image_height": HEIGHT, "bbox": boxes}
    return json.dumps({"categories": ["a", "b", "c"], "annotations": [frame]})


def as_yolo(objects: list[Marked]) -> str:
    return "\n".join(
        f"{label} {(x1 + x2) / 2 / WIDTH!r} {(y1 + y2) / 2 / HEIGHT!r}"
        f" {(x2 - x1) / WIDTH!r} {(y2 - y1) / HEIGHT!r}"
        for x1, y1, x2, y2, label in objects
    )


def as_voc(objects: list[Marked]) -> str:
    things = "".join(
        f"<object><name>{'abc'[label]}</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for x1, y1, x2, y2, label in objects
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    return f"<annotation>{size}{things}</annotation>"


def as_dota(objects: list[Marked]) -> str:
    return "\n".join(
        f"{x2} {y1} {x2} {y2} {x1} {y2} {x1} {y1} {DOTA_NAMES[label]} 0" for x1, y1, x2, y2, label in objects
    )


def as_visdrone(objects: list[Marked]) -> str:
    return "\n".join(f"{x1},{y1},{x2 - x1},{y2 - y1},1,{label + 1},0,2" for x1, y1, x2, y2, label in objects)


def attempt(form: str, folder: Path, findings: Findings | None = None) -> tuple[list[ObjectSample], str]:
    """The samples that are read, and the message where reading stops."""
    try:
        return OBJECT_READERS[form](folder, "all", findings)[1], ""
    except DataError as error:
        return [], str(error)


WRITERS: dict[str, Callable[[list[Marked]], str]] = {
    "coco": as_coco,
    "auair": as_auair,
    "yolo": as_yolo,
    "voc": as_voc,
    "dota": as_dota,
    "visdrone": as_visdrone,
}


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=EXAMPLES)
@given(objects=st.lists(marked(), max_size=6))
def test_every_object_comes_back_where_it_was(form: str, objects: list[Marked]) -> None:
    with folder_of(form, WRITERS[form](objects)) as folder:
        findings = Findings()
        _, (strict,) = OBJECT_READERS[form](folder, "all")
        _, (collected,) = OBJECT_READERS[form](folder, "all", findings)
    for sample in (strict, collected):
        np.testing.assert_allclose(
            sample.boxes(), np.reshape([mark[:4] for mark in objects], (-1, 4)), atol=1e-3
        )
        assert sample.labels.tolist() == [mark[4] for mark in objects]
    assert set(findings.counts()) <= {"empty_annotation", "bad_telemetry"}


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=EXAMPLES)
@given(
    objects=st.lists(marked(), min_size=1, max_size=3),
    at=st.floats(0, 1),
    cut=st.integers(0, 12),
    put=st.text(st.sampled_from('0123456789.,-:{}[]<>/" \nnaeinf\x00\ud800'), max_size=8),
)
def test_damage_is_an_error_that_names_the_file_or_a_finding(
    form: str, objects: list[Marked], at: float, cut: int, put: str
) -> None:
    whole = WRITERS[form](objects)
    start = int(at * len(whole))
    findings = Findings()
    with folder_of(form, whole[:start] + put + whole[start + cut :]) as folder:
        strict, error = attempt(form, folder)
        collected, fatal = attempt(form, folder, findings)
    if fatal:
        assert form in ("coco", "auair"), "only the one file of a whole set leaves nothing to read"
        assert fatal == error
    if error:
        assert error.startswith(str(folder))
        assert "\n" not in error
        assert fatal or len(findings), "what stops strict reading is listed"
        return
    # Both ways of reading agree on what is there, but for images that only the collector looks at.
    by_path = {sample.path: sample for sample in strict}
    for sample in collected:
        np.testing.assert_array_equal(sample.boxes(), by_path[sample.path].boxes())
        inside = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], np.float32)
        assert ((sample.boxes() >= -1e-3) & (sample.boxes() <= inside + 1e-3)).all()
    assert len(collected) == len(strict) or len(findings)


JSONS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@pytest.mark.parametrize("form", ["coco", "auair"])
@settings(max_examples=2 * EXAMPLES)
@given(data=st.data())
def test_any_value_in_any_place_of_a_json_file_is_survived(form: str, data: st.DataObject) -> None:
    document = json.loads(WRITERS[form]([(1, 2, 30, 40, 1), (5, 5, 50, 50, 2)]))
    node: Any = document
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        inner = node[key]
        if isinstance(inner, (dict, list)) and inner and data.draw(st.booleans()):
            node = inner
            continue
        node[key] = data.draw(JSONS)
        break
    findings = Findings()
    with folder_of(form, json.dumps(document)) as folder:
        _, error = attempt(form, folder)
        _, fatal = attempt(form, folder, findings)
    if error:
        assert error.startswith(str(folder))
        assert fatal or len(findings)


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(marked(), st.sampled_from([0, 1]), st.integers(0, 11)), max_size=6))
def test_a_visdrone_line_is_an_object_or_an_ignored_region(lines: list[tuple[Marked, int, int]]) -> None:
    text = "\n".join(f"{a},{b},{c - a},{d - b},{score},{kind},0,0" for (a, b, c, d, _), score, kind in lines)
    with folder_of("visdrone", text) as folder:
        _, (sample,) = visdrone.read(folder, "all")
    assert sample.labels.tolist() == [kind - 1 for _, score, kind in lines if score and kind]
    assert sample.ignored.tolist() == [list(box[:4]) for box, score, kind in lines if not (score and kind)]
