"""The virtual flight as a source like any other."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from edge.demo.flight import FlightPlan
from edge.demo.orthophoto import Orthophoto
from edge.demo.source import DemoSource
from edge.sources import open_source
from firmware_cfg.errors import SourceError


def test_frames_carry_the_flights_pixels_and_capture_times() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (80, 40, 3), dtype=np.uint8)
    source = DemoSource(
        Orthophoto("ground", pixels, np.zeros((0, 4)), 0.1), FlightPlan(0.1, 40, 20, 5.0, 10.0)
    )
    frames = list(source)
    assert len(frames) == source.length == 13  # 6 m at 0.5 m a frame
    assert [frame.number for frame in frames] == list(range(13))
    assert np.diff([frame.time_s for frame in frames]) == pytest.approx(0.1)
    np.testing.assert_array_equal(frames[12].image.rgb(), pixels[60:80])
    assert frames[0].captured_at.tzinfo is not None
    assert not source.independent


@pytest.mark.skipif(find_spec("deepforest") is None, reason="pip install --no-deps deepforest==2.1.0")
def test_the_word_demo_opens_it_with_options() -> None:
    with open_source("demo://?gsd=0.1&fps=5&width=640&height=480") as source:
        assert source.fps == 5
        frame = next(iter(source))
    assert (frame.width, frame.height, frame.name) == (640, 480, "demo")


def test_other_places_are_refused() -> None:
    with pytest.raises(SourceError, match="demo has no places"):
        open_source("demo://paris")
