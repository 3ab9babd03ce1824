"""Our counts beside the truth, and the summary of a demo."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from edge.demo.flight import Flight, FlightPlan
from edge.demo.orthophoto import Orthophoto
from edge.demo.result import DemoResult, FrameError, Scoreboard


def counted(number: int, **prompts: int) -> Any:
    counts = {name: SimpleNamespace(count=count) for name, count in prompts.items()}
    return SimpleNamespace(frame=SimpleNamespace(number=number), counts=SimpleNamespace(prompts=counts))


def flight_over_two_trees() -> Flight:
    boxes = np.array([[4.0, 4, 8, 8], [4, 54, 8, 58]])
    photo = Orthophoto("ground", np.zeros((60, 20, 3), np.uint8), boxes, 0.1)
    return Flight(photo, FlightPlan(0.1, 20, 20, speed=10, fps=10))  # 10 pixels a frame: five frames


def test_truth_grows_with_the_flight_and_errors_are_averaged() -> None:
    board = Scoreboard(flight_over_two_trees())
    assert (board.in_frame, board.unique, board.per_frame) == (None, None, None)
    board.take(counted(0, tree=3))
    assert (board.in_frame, board.unique) == (1, 1)
    board.take(counted(2, tree=1))
    assert (board.in_frame, board.unique) == (0, 1)
    board.take(counted(4, tree=0))
    assert (board.in_frame, board.unique) == (1, 2)
    assert board.per_frame == FrameError(counted=1.33, truth=0.67, absolute_error=1.33)


def test_without_a_flight_or_without_trees_there_is_no_truth() -> None:
    for board in (Scoreboard(None), Scoreboard(flight_over_two_trees())):
        board.take(counted(0, car=3))
        assert (board.in_frame, board.unique, board.per_frame) == (None, None, None)


def demo_result(**changes: Any) -> DemoResult:
    fields: dict[str, Any] = {
        "source": "demo",
        "frames": 200,
        "seconds": 8.0,
        "fps": 25.0,
        "captured_s": 19.9,
        "alerts_received": 2,
        "alerts_cleared": 1,
        "events_received": 7,
        "count": 151,
        "truth": 160,
        "counts": {"tree": 151},
        "per_frame": FrameError(20.5, 22.0, 3.1),
        "skipped": {},
        "broker": "mosquitto",
        "video": "runs/x/annotated.mp4",
        "contact_sheet": None,
    }
    return DemoResult(**(fields | changes))


def test_the_summary_for_people_puts_truth_beside_the_count() -> None:
    assert demo_result().lines() == [
        "200 frames of demo in 8.0 s: 25.0 frames a second",
        "trees: 151 counted, 160 truly flown over",
        "in a frame, on average: 20.5 counted, 22.0 there, off by 3.1",
        "through mosquitto a subscriber received 7 events: 2 alerts raised, 1 cleared",
        "runs/x/annotated.mp4",
    ]


def test_without_truth_every_prompt_has_its_line() -> None:
    lines = demo_result(
        truth=None, per_frame=None, counts={"car": 4, "boat": 0}, skipped={"corrupt": 2}
    ).lines()
    assert lines[1:4] == ["car: 4 different", "boat: 0 different", "skipped: 2 corrupt"]
