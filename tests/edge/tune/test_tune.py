"""`remoteclip prompts tune` on a clip of coloured squares: pass, page, marks, change, and what goes wrong."""

from __future__ import annotations

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.load import Bundle, load_bundle
from edge.pipeline import Pipeline
from edge.prompts.build import build_prompt_bank
from edge.runtime import BundleRuntime
from edge.sources import open_source
from edge.tune.collect import Look, collect
from edge.tune.crops import choose, cut
from edge.tune.scoring import Scorer, probability
from edge.tune.sightings import load_sightings
from firmware_cfg.prompt_list import load_prompt_list

OPTIONS = [
    "--every",
    "2",
    "--sequence",
    "--engine",
    "onnxruntime",
    "--image-size",
    "128x64",
    "--tiles",
    "2x1",
]


def report(result: Any) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_sightings_score_as_the_pipeline_does(clip: Path, listed: Path, tiny_bundle: Bundle) -> None:
    text = listed.read_text().replace("text: red\n", "text: red\n    bias: 0.7\n    temperature: 1.5\n")
    listed.write_text(text)
    loaded, runtime = load_prompt_list(listed), BundleRuntime(tiny_bundle)
    with open_source(clip) as source:
        sightings = collect(runtime, loaded, source, "key")
        bank = build_prompt_bank(loaded, runtime.sentences, runtime.facts, runtime.calibration)
    scored = Scorer(runtime.facts, runtime.calibration).score(sightings, bank)
    with open_source(clip) as source, Pipeline(runtime, loaded, independent=True) as pipeline:
        for index, result in enumerate(map(pipeline.process, source)):
            for name in ("red", "blue"):
                found = [place for place in scored.found(name) if sightings.frame[place] == index]
                column = bank.layout.object_ids.index(name)
                scores = sorted(probability(scored.object_odds[found, column]).tolist())
                expected = sorted(p.score for p in result.scores.places if p.prompt == name)
                assert scores == pytest.approx(expected, abs=0.01)
                assert expected
            haze = float(probability(scored.scene_odds[index, 0]))
            assert haze == pytest.approx(result.scores.scene["haze"], abs=1e-4)


def test_sightings_are_owned_and_score_as_in_flight_by_the_default_model(
    data_root: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "list.yaml"
    listed.write_text(
        "prompts: [{id: car, text: car, threshold: 0.1}, {id: van, text: van, threshold: 0.1},"
        " {id: person, text: person},"
        " {id: cyclist, text: [a bicycle, a cyclist], match: any, threshold: 0.1}]"
    )
    loaded, runtime = load_prompt_list(listed), BundleRuntime(load_bundle("default"))
    image = data_root / "visdrone_sample" / "images" / "9999999_00027_d_0000002.jpg"
    with open_source(image) as source, Pipeline(runtime, loaded, independent=True) as pipeline:
        (result,) = map(pipeline.process, source)
        sightings = collect(runtime, loaded, source, "key")
    bank = build_prompt_bank(loaded, runtime.sentences, runtime.facts, runtime.calibration)
    scored = Scorer(runtime.facts, runtime.calibration).score(sightings, bank)
    assert not sightings.peaks.all()
    seen, counted = {}, set()
    for column, name in enumerate(bank.layout.object_ids):
        mine, odds = scored.of(name)
        assert scored.peaks(name)[mine].all()
        assert (scored.object_odds[~scored.peaks(name), column] < odds.min()).all()
        for place, score in zip(mine, probability(odds), strict=True):
            box = tuple(sightings.box[place].tolist())
            seen[box] = (name, pytest.approx(score, abs=0.002))
            if score > bank.thresholds[name] + 0.002:
                counted.add(box)
    places = result.scores.places + result.scores.faint
    assert len(places) > 20
    assert [(place.prompt, place.score) for place in places] == [seen[place.box] for place in places]
    assert counted <= {place.box for place in result.scores.places}


def test_sightings_outlast_the_disk_and_damage_to_it(clip: Path, listed: Path, tiny_bundle: Bundle) -> None:
    with open_source(clip) as source:
        sightings = collect(
            BundleRuntime(tiny_bundle), load_prompt_list(listed), source, "key", Look(every=3)
        )
    assert sightings.names == ("0.png", "3.png", "6.png")
    path = clip.parent / "kept.npz"
    path.write_bytes(sightings.as_bytes())
    same = load_sightings(path, "key")
    assert same is not None
    assert same.as_bytes() == sightings.as_bytes()
    assert load_sightings(path, "another") is None
    path.write_bytes(path.read_bytes()[:-200])
    assert load_sightings(path, "key") is None
    assert load_sightings(path.with_name("none"), "key") is None


def test_a_page_then_marks_then_a_better_list(
    clip: Path, listed: Path, tmp_path: Path, remoteclip: Any
) -> None:
    page = tmp_path / "new" / "tune.html"
    before = listed.read_bytes()
    first = report(remoteclip("tune", listed, "--on", clip, "-o", page, "--json"))
    assert first["frames"] == 8
    assert not first["from_cache"]
    written = page.read_text()
    numbers = [int(number) for number in re.findall(r"<b>(\d+)</b>", written)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert written.count("data:image/jpeg;base64,") == len(numbers)

    again = report(remoteclip("tune", listed, "--on", clip, "-o", page, "--json"))
    assert again == {**first, "from_cache": True}
    assert page.read_text() == written

    red = first["prompts"]["red"]["crops"]
    wrong = ",".join(map(str, red[:4]))
    marked = report(remoteclip("tune", listed, "--on", clip, "-o", page, "--json", "--negative", wrong))
    assert marked["from_cache"]
    assert not marked["written"]
    assert listed.read_bytes() == before
    (tuned,) = marked["tuned"]
    assert (tuned["prompt"], tuned["negative"], tuned["positive"]) == ("red", 4, 0)
    assert tuned["bias"] < 0
    assert tuned["threshold"] == marked["prompts"]["red"]["suggested"] == 0.5
    assert page.read_text().count("marked wrong") == 4

    by_place = page.with_suffix(".marks.yaml")
    written = report(
        remoteclip("tune", listed, "--on", clip, "-o", page, "--json", "--marks", by_place, "--write")
    )
    assert written["written"]
    assert written["tuned"] == marked["tuned"]
    after = load_prompt_list(listed).model
    assert after.prompt("red").bias == tuned["bias"]
    assert listed.read_text().count("# what is looked for") == 1
    counted = report(remoteclip("tune", listed, "--on", clip, "-o", tmp_path / "after.html", "--json"))
    assert counted["prompts"]["red"]["found"] < first["prompts"]["red"]["found"]
    assert counted["prompts"]["blue"]["found"] == first["prompts"]["blue"]["found"]

    stale = remoteclip("tune", listed, "--on", clip, "-o", page, "--negative", wrong)
    assert stale.exit_code == 2
    # Marks by place go on; the model looks again, since the list has changed.
    kept = report(remoteclip("tune", listed, "--on", clip, "-o", page, "--json", "--marks", by_place))
    assert not kept["from_cache"]


def test_the_page_tells_a_command_that_works(
    clip: Path, listed: Path, tmp_path: Path, remoteclip: Any
) -> None:
    """With a page among the images that it shows, and options that change what is seen."""
    page = clip / "tune.html"
    report(remoteclip("tune", listed, "--on", clip, "-o", page, "--json", *OPTIONS))
    (told,) = re.findall(r"<pre[^>]*>(remoteclip .*) --positive .*</pre>", page.read_text())
    program, group, command, *words = shlex.split(html.unescape(told))
    assert (program, group, command) == ("remoteclip", "prompts", "tune")
    assert [word for word in words if word in OPTIONS] == OPTIONS
    marked = report(remoteclip("tune", *words, "--positive", "1", "--negative", "2", "--json"))
    assert marked["from_cache"]
    assert [(item["positive"], item["negative"]) for item in marked["tuned"]] == [(1, 1)]
    assert report(remoteclip("tune", *words, "--json"))["from_cache"]


def test_scenes_are_marked_by_frame(clip: Path, listed: Path, tmp_path: Path, remoteclip: Any) -> None:
    page = tmp_path / "tune.html"
    first = report(remoteclip("tune", listed, "--on", clip, "-o", page, "--json"))
    haze = ",".join(map(str, first["prompts"]["haze"]["crops"][:3]))
    marked = report(remoteclip("tune", listed, "--on", clip, "-o", page, "--json", "--negative", haze))
    assert [item["prompt"] for item in marked["tuned"]] == ["haze"]
    assert "box" not in page.with_suffix(".marks.yaml").read_text()
    assert "  bias: " not in marked["diff"]
    assert ", bias: -" in marked["diff"]


def test_crops_of_a_video_show_a_thing_once(clip: Path, listed: Path, tiny_bundle: Bundle) -> None:
    runtime = BundleRuntime(tiny_bundle)
    loaded = load_prompt_list(listed)
    chosen = {}
    for sequence in (False, True):
        with open_source(clip, sequence=sequence) as source:
            sightings = collect(runtime, loaded, source, "key")
            bank = build_prompt_bank(loaded, runtime.sentences, runtime.facts, runtime.calibration)
            scored = Scorer(runtime.facts, runtime.calibration).score(sightings, bank)
            chosen[sequence] = [crop for crop in choose(sightings, scored) if crop.prompt == "blue"]
            assert cut(source, sightings, chosen[sequence]).keys() == {c.number for c in chosen[sequence]}
    spots = {tuple(sightings.box[crop.place].round()) for crop in chosen[True]}
    assert len(spots) == len(chosen[True]) < len(chosen[False])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--positive", "3,x"], "--positive must be crop numbers such as 3,7,10-12, got 'x'"),
        (["--positive", "9-7"], "write the smaller one first"),
        (["--positive", "3,4", "--negative", "4"], "crop 4 is marked positive and negative"),
        (["--positive", "999"], "there is no crop 999 (crops are numbered 1 to "),
        (["--write"], "--write needs marks"),
        (["-o", "tune.pdf"], "a page's name ends in .html"),
        (["-o", "/proc/no/tune.html"], "cannot be written"),
        (["--every", "0"], "--every"),
    ],
)
def test_used_wrongly(
    options: list[str], said: str, clip: Path, listed: Path, tmp_path: Path, remoteclip: Any
) -> None:
    page = tmp_path / "tune.html"
    if "999" in options:
        report(remoteclip("tune", listed, "--on", clip, "-o", page, "--json"))
    result = remoteclip("tune", listed, "--on", clip, "-o", page, *options)
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("positve: [3]\n", "marks.yaml:1:1: unknown key positve (did you mean positive?)"),
        ("places: [{prompt: green, frame: 1, right: true}]", "prompt green, which the list does not have"),
        (
            "places: [{prompt: red, frame: 99, box: [0, 0, 9, 9], right: true}]",
            "frame 99, which was not looked at",
        ),
        ("places: [{prompt: red, frame: 1, right: true}]", "has no box"),
        ("places: [{prompt: red, frame: 1, box: [0, 0, 1, 1], right: true}]", "no longer seen there"),
    ],
)
def test_marks_that_cannot_be(
    text: str, said: str, clip: Path, listed: Path, tmp_path: Path, remoteclip: Any
) -> None:
    marks = tmp_path / "marks.yaml"
    marks.write_text(text)
    result = remoteclip("tune", listed, "--on", clip, "-o", tmp_path / "tune.html", "--marks", marks)
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())


def test_numbers_without_a_page(clip: Path, listed: Path, tmp_path: Path, remoteclip: Any) -> None:
    result = remoteclip("tune", listed, "--on", clip, "-o", tmp_path / "tune.html", "--positive", "1")
    assert result.exit_code == 2
    assert "there is no such page yet" in " ".join(result.output.split())


def test_sources_and_lists_that_cannot_be(listed: Path, tmp_path: Path, remoteclip: Any) -> None:
    page, empty = tmp_path / "tune.html", tmp_path / "empty"
    empty.mkdir()
    result = remoteclip("tune", listed, "--on", empty, "-o", page)
    assert (result.exit_code, "no images in this folder" in result.output) == (1, True)
    (empty / "broken.png").write_bytes(b"no image")
    result = remoteclip("tune", listed, "--on", empty, "-o", page)
    assert (result.exit_code, "damaged" in result.output) == (1, True)
    listed.write_text("prompts: [{id: red}]\n")
    result = remoteclip("tune", listed, "--on", empty, "-o", page)
    assert (result.exit_code, "text is missing" in result.output) == (1, True)
    assert not page.exists()


def test_a_prompt_that_nothing_looks_like(clip: Path, listed: Path, tmp_path: Path, remoteclip: Any) -> None:
    listed.write_text("prompts: [{id: green, text: green}]\nbackground: [grey grey, red, blue]\n")
    page = tmp_path / "tune.html"
    found = report(remoteclip("tune", listed, "--on", clip, "-o", page, "--json"))["prompts"]["green"]
    assert (found["found"], found["suggested"]) == (0, None)
    assert found["best"] < 0.02
    # The best are shown all the same, so that they can be marked.
    assert found["crops"] == [1, 2, 3, 4, 5, 6]
    assert "No place in this clip scores above" in page.read_text()
    marked = report(remoteclip("tune", listed, "--on", clip, "-o", page, "--json", "--positive", "1"))
    assert [(item["prompt"], item["positive"]) for item in marked["tuned"]] == [("green", 1)]


def test_a_change_that_tells_marks_apart_worse_is_not_written(
    clip: Path, listed: Path, tmp_path: Path, remoteclip: Any
) -> None:
    page, before = tmp_path / "tune.html", listed.read_bytes()
    words = ("tune", listed, "--on", clip, "-o", page)
    crops = report(remoteclip(*words, "--json"))["prompts"]["red"]["crops"]
    marks = ("--positive", ",".join(map(str, crops[0:12:2])), "--negative", ",".join(map(str, crops[1:12:2])))
    shown = report(remoteclip(*words, *marks, "--json"))
    (tuned,) = shown["tuned"]
    assert tuned["right_left_out"] < tuned["right_before"]
    assert shown["prompts"]["red"]["suggested"] is None
    warning = "red: the change tells marks apart worse than before, so it is not to be written"
    assert shown["warning"].startswith(warning)
    assert "mark more crops, or drop the doubtful ones" in shown["warning"]
    text = page.read_text()
    assert warning in text
    assert "--write" not in text

    refused = remoteclip(*words, *marks, "--write")
    assert refused.exit_code == 1
    assert warning in refused.stdout
    assert refused.stdout.endswith("colours.yaml: not written\n")
    assert listed.read_bytes() == before
    as_json = remoteclip(*words, *marks, "--write", "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout.splitlines()[-1])["written"]) == (1, False)


def test_the_marks_that_were_taken_are_told(
    clip: Path, listed: Path, tmp_path: Path, remoteclip: Any
) -> None:
    words = ("tune", listed, "--on", clip, "-o", tmp_path / "tune.html")
    prompts = report(remoteclip(*words, "--json"))["prompts"]
    assert [prompt["suggested"] for prompt in prompts.values()] == [None, None, None]
    red, haze = prompts["red"]["crops"][:4], prompts["haze"]["crops"][0]
    wrong = ",".join(map(str, [*red, haze]))
    done = remoteclip(*words, "--negative", wrong, "--write")
    assert done.exit_code == 0
    told = " ".join(done.stdout.split())
    assert re.search("right: none wrong: " + ", ".join(rf"{number} \(frame \d\)" for number in red), told)
    assert re.search(rf"right: none wrong: {haze} \(frame \d\)", told)
    assert done.stdout.endswith("colours.yaml: written\n")


def test_the_page_of_a_flight_says_why_count_differs(
    clip: Path, listed: Path, tmp_path: Path, remoteclip: Any
) -> None:
    page, said = tmp_path / "tune.html", "follows tracks, which also keep faint places"
    report(remoteclip("tune", listed, "--on", clip, "-o", page, "--json"))
    assert said not in page.read_text()
    report(remoteclip("tune", listed, "--on", clip, "-o", page, "--json", "--sequence"))
    assert said in page.read_text()
