"""Results of a pipeline, made by hand, for what is recorded and read again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle.load import Bundle
from edge.counting import FrameCounts, PromptCounts
from edge.frames import Frame, RgbImage
from edge.geo.ground import GroundPoints
from edge.geo.pose import Pose
from edge.lookup import FrameScores, Place
from edge.pipeline import FrameResult, StageSeconds
from edge.prompts.bank import PromptBank
from edge.prompts.build import build_prompt_bank
from edge.runs.format import RunAbout
from edge.runtime import BundleRuntime
from edge.tracking import TrackedPlace
from firmware_cfg.prompt_list import load_prompt_bytes

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
LIST = b"version: 1\nprompts:\n  - {id: red, text: red}\n  - {id: blue, text: blue}\n"


@pytest.fixture(scope="session")
def make_bank(tiny_bundle: Bundle) -> Callable[[bytes], PromptBank]:
    """A prompt list's bank in the tiny model."""
    runtime = BundleRuntime(tiny_bundle, "onnxruntime")
    return lambda data: build_prompt_bank(
        load_prompt_bytes(data, "test"), runtime.sentences, runtime.facts, runtime.calibration
    )


@pytest.fixture
def about(tiny_bundle: Bundle) -> RunAbout:
    """What a test's run is of."""
    return RunAbout("test", tiny_bundle.manifest_sha256, 6, NOON.isoformat(), device="drone-7")


@pytest.fixture
def make_result(make_bank: Callable[[bytes], PromptBank]) -> Callable[..., FrameResult]:
    """`make_result(number, vector, [(track, prompt, score, box), ...])`: a frame's result, 10 a second."""

    def make(
        number: int,
        vector: Sequence[float] = (1, 0, 0, 0, 0, 0),
        tracks: Sequence[tuple[int, str, float, tuple[float, float, float, float]]] = (),
        *,
        ground: Sequence[tuple[float, float, float]] | None = None,
        pose: Pose | None = None,
        pixels: Any = None,
        prompts: bytes = LIST,
        confirmed: bool = True,
    ) -> FrameResult:
        bank = make_bank(prompts)
        unit = np.array(vector, np.float32)
        unit /= np.linalg.norm(unit)
        places = tuple(
            Place(prompt, score, 1.0, box, np.append(unit, np.zeros(2, np.float32)))
            for _, prompt, score, box in tracks
        )
        image = RgbImage(np.full((64, 128, 3), number % 256, np.uint8) if pixels is None else pixels)
        points = None if ground is None else np.array(ground, np.float64).reshape(-1, 3)
        return FrameResult(
            frame=Frame(image, number, number / 10, NOON + timedelta(seconds=number / 10), 0, "test", pose),
            scores=FrameScores({}, places, embedding=unit),
            tracks=tuple(
                TrackedPlace(place, track[0], 0.0, confirmed)
                for place, track in zip(places, tracks, strict=True)
            ),
            ground=None if points is None else GroundPoints(*points.T),
            counts=FrameCounts(
                {each.id: PromptCounts(count=len(places)) for each in bank.prompt_list.prompts}
            ),
            bank=bank,
            engine="onnxruntime",
            precision="fp32",
            image_size=(64, 64),
            seconds=StageSeconds(0, 0, 0, 0, 0),
            independent=False,
        )

    return make


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Where runs are recorded."""
    return tmp_path / "runs"
