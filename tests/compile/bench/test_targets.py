"""Promises are judged by what was measured, and passed over where nothing was."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from compile.bench.contenders.ceilings import COPY, INT8_PRODUCT
from compile.bench.measured import Measured, Result, StartUp
from compile.bench.report import print_report, report_console
from compile.bench.spec import FLAT_OUT, FRAME, PACED, TILES, TURN, Subject
from compile.bench.start_up import COUNT, caches_in, own_cache_of
from compile.bench.targets import rest_percent, targets
from compile.bench.timing import Spread, rows_of


def result(kind: str, variant: str, task: str, ms: float, peak: float = 100.0) -> Result:
    spreads = {"frame": Spread.of([ms / 1e3]), "cpu": Spread.of([2 * ms / 1e3])}
    if kind == "daemon":
        spreads["stage lookup"] = Spread.of([0.0005])
    name = Subject(kind, variant, ()).name
    return Result("clip", kind, variant, name, task, spreads, {"peak": peak, "now": peak})


def measured() -> Measured:
    found = Measured({"cpu": "some cores"}, {"numpy": "2"}, {}, clips={"clip": "1280x720"})
    found.results += [
        result("daemon", "int8", FLAT_OUT, 20.0, peak=351.0),
        result("daemon", "int8", PACED, 30.0),
        result("engine", "openvino int8", FRAME, 15.0),
        result("remoteclip", "", FRAME, 90.0),
        result("remoteclip", "", TILES, 500.0),
        result("ceiling", "", COPY, 10.0),
        result("ceiling", "", INT8_PRODUCT, 10.0),
    ]
    found.start_ups += [
        StartUp("daemon, int8", 5.0, 1.5),
        StartUp(COUNT, 3.0, 2.5),
        StartUp("other", 9.0, 9.0),
    ]
    times = {"native": [0.001], "opencv": [0.0029], "memcpy": [0.0005]}
    rows = rows_of("I420 3840x2160 to 640x384", times)
    rows += rows_of("dense prompts", {"10": [0.013], "256": [0.0175]})
    rows += rows_of("lookup of 300 places", {"10": [0.001], "1000": [0.0021]})
    found.rows["preprocessing"] = [row.as_json() for row in rows]
    return found


def test_each_promise_is_judged() -> None:
    judged = {target.what: (target.value, target.met) for target in targets(measured())}
    assert judged == {
        "clip: daemon int8 against RemoteCLIP, 3x2 tiles": (25.0, True),
        "clip: daemon int8 against RemoteCLIP, a frame": (4.5, False),
        "clip: outside the engine, of a frame's time": (25.0, False),
        "clip: daemon int8, peak resident memory": (351.0, False),
        "daemon, int8: start to first count, warm caches": (1.5, True),
        "remoteclip count: start to first count, warm caches": (2.5, False),
        "I420 3840x2160 to 640x384: native against OpenCV": (2.9, False),
        "I420 3840x2160 to 640x384: native against a copy": (2.0, True),
        "256 dense prompts, over 10": (4.5, True),
        "1,000 prompts on 300 places": (2.1, False),
    }


def test_the_256_prompts_are_judged_within_rounds_whatever_a_slow_spell_does() -> None:
    found = Measured({}, {}, {})
    # Two rounds are twice as slow, and in a third the longer list alone: medians of all lie 18 ms apart.
    rows = rows_of(
        "dense prompts",
        {"10": [0.013, 0.013, 0.013, 0.026, 0.026], "256": [0.016, 0.016, 0.031, 0.031, 0.031]},
    )
    found.rows["vocabulary"] = [row.as_json() for row in rows]
    (target,) = targets(found)
    assert (target.value, target.quartiles, target.met) == (5.0, (3.0, 5.0), True)


def test_the_engine_rests_for_what_a_turn_takes_beyond_it() -> None:
    spreads = {"frame": Spread.of([0.001]), TURN: Spread.of([0.020]), "stage engine": Spread.of([0.017])}
    daemon = Result("clip", "daemon", "int8", "daemon, int8", FLAT_OUT, spreads, {})
    assert rest_percent(daemon) == 15.0
    assert rest_percent(result("daemon", "int8", FLAT_OUT, 20.0)) is None


def test_a_subject_starts_with_a_cache_that_no_other_has_filled(tmp_path: Path) -> None:
    environment = caches_in(tmp_path)
    folders = [Path(*own_cache_of(environment, name).values()) for name in ("daemon, int8", COUNT)]
    (folders[0] / "engine.blob").write_bytes(b"compiled")
    assert not list(folders[1].iterdir())
    assert list(
        Path(*own_cache_of(environment, "daemon, int8").values()).iterdir()
    )  # its second start is warm


def test_what_was_not_measured_is_not_judged() -> None:
    assert targets(Measured({}, {}, {})) == []


def test_the_report_shows_every_contender_and_verdict() -> None:
    console = report_console(Console(force_terminal=False))
    with console.capture() as captured:
        found = measured()
        found.note("onnxruntime: not installed")
        print_report(found, console)
    text = captured.get()
    for words in (
        "25.00x",
        "latency at 10 frames/s",
        "lookup",
        "25.0%",
        "26.8 GB/s",
        "724.8 Gop/s",
        "NOT met",
    ):
        assert words in text
    assert "left out: onnxruntime: not installed" in text
