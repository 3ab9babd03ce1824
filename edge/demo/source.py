"""The virtual flight as a frame source: `demo`, or `demo://?gsd=0.1&speed=5` with a flight plan's options."""

from __future__ import annotations

import time
from collections.abc import Iterator

from edge.demo.flight import Flight, FlightPlan
from edge.demo.orthophoto import Orthophoto, load_orthophoto
from edge.frames import Frame, RgbImage
from edge.sources.base import CaptureClock, FrameSource
from firmware_cfg.errors import SourceError

SCHEME = "demo"


class DemoSource(FrameSource, schemes=(SCHEME,)):
    """Frames of a flight over an orthophoto; `flight` knows what is truly in each of them."""

    def __init__(self, photo: Orthophoto, plan: FlightPlan) -> None:
        super().__init__(SCHEME)
        self.flight = Flight(photo, plan)
        self.fps = plan.fps
        self.length = self.flight.length
        self.camera = self.flight.camera

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> DemoSource:
        """`demo` or `demo://?name=number&...`; always a sequence. Raises SourceError."""
        place, _, query = uri.partition("?")
        if place.lower() not in (SCHEME, f"{SCHEME}://"):
            raise SourceError(
                f"{uri}: the demo has no places to choose from (write demo, or demo://?gsd=0.1)"
            )
        return cls(load_orthophoto(), FlightPlan.parse(query))

    def __iter__(self) -> Iterator[Frame]:
        clock = CaptureClock(1 / self.flight.plan.fps)
        for view in self.flight:
            image = RgbImage(self.flight.pixels(view))
            time_s, captured_at = clock.tick(view.time_s)
            pose = self.flight.pose(view)
            yield Frame(image, view.number, time_s, captured_at, time.monotonic_ns(), self.name, pose)
