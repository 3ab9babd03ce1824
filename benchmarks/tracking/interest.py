"""Windows of interest against all windows: what is still found, how many run, and what a frame costs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

import firmware_cfg
from benchmarks.tracking.grounds import Ground
from benchmarks.tracking.scenes import HEIGHT, SCENES, WIDTH, Scene, fly
from benchmarks.tracking.score import overlaps
from edge.bundle.load import load_bundle
from edge.engines.pool import EnginePool
from edge.frames import Image, RgbImage
from edge.letterbox import best_image_size
from edge.lookup import Place
from edge.motion import MotionEstimator
from edge.prompts.bank import PromptBank
from edge.prompts.build import build_prompt_bank
from edge.runtime import BundleRuntime
from edge.sources import open_source
from edge.tiling import Interest, Tiles, Tiling, lookup_tiles, only, tiles_for
from edge.tracking import Tracker
from firmware_cfg.prompt_list import load_prompt_list

_PROMPTS = Path(firmware_cfg.__file__).parent / "prompts"
_FRAMES = 60
_WARM_UP = 10
_MOVERS = 20
"""On the ground; a few of them are in the frame at a time."""
_SAME = 0.5
"""Boxes of one thing overlap this much."""
_CLIPS: tuple[tuple[str, str, Tiles], ...] = (
    ("truck4", "traffic.yaml", (3, 2)),
    ("truck4", "traffic.yaml", (4, 4)),
    ("boat1", "coast.yaml", (3, 2)),
)


@dataclass(slots=True)
class Arm:
    """One way to choose windows: what its tracker counted, the windows that ran, and seconds, by frame."""

    everywhere: bool
    estimator: MotionEstimator = field(default_factory=MotionEstimator)
    tracker: Tracker = field(default_factory=Tracker)
    interest: Interest | None = None
    ids: set[int] = field(default_factory=set)
    windows: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def look(
        self,
        runtime: BundleRuntime,
        pool: EnginePool,
        bank: PromptBank,
        image: Image,
        at_s: float,
        wanted: Tiles,
    ) -> tuple[Place, ...]:
        """The places of the next frame, as the drone finds them."""
        size = best_image_size(image.width, image.height, runtime.facts.image_sizes)
        tiling = tiles_for(image.width, image.height, size, wanted)
        engine = pool.get(size)
        began = time.perf_counter()
        motion = self.estimator.follow(image)
        chosen, parts = tiling, None
        if not self.everywhere:
            self.interest = self.interest or Interest(tiling)
            strange = None if motion is None else self.estimator.strangeness(motion)
            chosen = only(tiling, self.interest.choose(motion, strange))
            parts = _parts(chosen)
        output = engine.infer(chosen.render(image), bank.graph_rows, bank.graph_bias)
        scores = lookup_tiles(output, bank, runtime.calibration, chosen, stride=runtime.facts.stride)
        tracks = self.tracker.update(
            scores.places,
            at_s,
            faint=scores.faint,
            motion=motion,
            frame_size=(image.width, image.height),
            looked_at=parts,
        )
        self.estimator.choose([place.box for place in scores.places])
        if self.interest is not None:
            self.interest.found([*(t.place.box for t in tracks), *(p.box for p in scores.faint)])
        self.seconds.append(time.perf_counter() - began)
        self.windows.append(len(chosen.windows) - 1)
        self.ids.update(tracked.track_id for tracked in tracks if tracked.confirmed)
        return scores.places


def clips_table(data: Path) -> str:
    """Markdown: real clips with the shipped model, both ways taking turns at every frame."""
    head = (
        "windows a frame | found again of what all windows find | unique: all, interest | ms: all, interest"
    )
    lines = [f"| clip, windows | {head} |", "| --- " * 5 + "|"]
    runtime = BundleRuntime(load_bundle("default"))
    pool = EnginePool(runtime)
    for clip, prompts, wanted in _CLIPS:
        loaded = load_prompt_list(_PROMPTS / prompts)
        bank = build_prompt_bank(loaded, runtime.sentences, runtime.facts, runtime.calibration)
        every, some = Arm(everywhere=True), Arm(everywhere=False)
        there, again = 0, 0
        with open_source(str(data / "video" / f"{clip}.mp4"), sequence=False) as source:
            for frame in islice(source, _FRAMES):
                of_all = every.look(runtime, pool, bank, frame.image, frame.time_s, wanted)
                of_some = some.look(runtime, pool, bank, frame.image, frame.time_s, wanted)
                there += len(of_all)
                again += _found_again(of_all, of_some)
        ms = [1e3 * float(np.median(arm.seconds[_WARM_UP:])) for arm in (every, some)]
        windows = f"{np.mean(some.windows[_WARM_UP:]):.1f} of {every.windows[0]}"
        unique = f"{len(every.ids)}, {len(some.ids)}"
        lines.append(
            f"| {clip}, {wanted} | {windows} | {again / max(there, 1):.3f} of {there} | {unique}"
            f" | {ms[0]:.0f}, {ms[1]:.0f} |"
        )
    pool.close()
    return "\n".join(lines)


def flights_table(ground: Ground, wanted: Tiles = (3, 3)) -> str:
    """Markdown: virtual flights over few standing things, with movers; what is whole in a window that runs.

    A detector that finds what a window shows whole, nine times in ten, so only the choice is judged.
    """
    head = "windows a frame | sightings kept | movers ever seen | frames until one is"
    lines = [f"| scene | {head} |", "| --- " * 5 + "|"]
    movers_only = Ground(ground.name, ground.pixels, ground.boxes[:0])
    lines += [
        _flight(replace(scene, movers=_MOVERS), movers_only, wanted) for scene in SCENES if scene.movers
    ]
    return "\n".join(lines)


def _flight(scene: Scene, ground: Ground, wanted: Tiles) -> str:
    tiling = tiles_for(WIDTH, HEIGHT, (640, 384), wanted)
    interest, estimator, dice = Interest(tiling), MotionEstimator(), np.random.default_rng(1)
    first: dict[int, int] = {}
    late: dict[int, int] = {}
    windows: list[int] = []
    there, kept = 0, 0
    for number, shot in enumerate(fly(scene, ground, 1)):
        motion = estimator.follow(RgbImage(shot.pixels))
        strange = None if motion is None else estimator.strangeness(motion)
        which = interest.choose(motion, strange)
        parts = np.array(_parts(only(tiling, which)), np.float64).reshape(-1, 4)
        boxes = shot.boxes[:, None]
        whole = np.all((boxes[..., :2] >= parts[:, :2]) & (boxes[..., 2:] <= parts[:, 2:]), axis=2).any(
            axis=1
        )
        seen = whole & (dice.random(len(whole)) < 0.9)
        for thing, is_seen in zip(shot.ids.tolist(), whole.tolist(), strict=True):
            first.setdefault(thing, number)
            if is_seen:
                late.setdefault(thing, number - first[thing])
        there, kept = there + len(whole), kept + int(whole.sum())
        found = [(x1, y1, x2, y2) for x1, y1, x2, y2 in shot.boxes[seen].tolist()]
        estimator.choose(found)
        interest.found(found)
        windows.append(len(which) - 1)
    waits = list(late.values()) or [0]
    return (
        f"| {scene.name} | {np.mean(windows):.1f} of {len(tiling.windows) - 1}"
        f" | {kept / max(there, 1):.3f} of {there} | {len(late)} of {len(first)}"
        f" | mean {np.mean(waits):.1f}, most {max(waits)} |"
    )


def _parts(tiling: Tiling) -> list[tuple[float, float, float, float]]:
    return [(w.x, w.y, w.x + w.width, w.y + w.height) for w in tiling.windows[1:]]


def _found_again(of_all: tuple[Place, ...], of_some: tuple[Place, ...]) -> int:
    a, b = (np.array([p.box for p in places], np.float64).reshape(-1, 4) for places in (of_all, of_some))
    return int((overlaps(a, b).max(axis=1, initial=0) > _SAME).sum())
