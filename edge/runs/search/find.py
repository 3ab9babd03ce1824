"""`remoteclip search`: a query against recorded runs, or against a folder of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.runs.format import RunError
from edge.runs.reader import Run, RunFrame, RunTrack
from edge.runs.search.hits import Hit
from edge.runs.search.rank import Ranked, rank, rank_passages

if TYPE_CHECKING:
    from edge.bundle.calibration import Calibration
    from edge.engines.base import F32
    from edge.runs.search.images import ImageEmbedder
    from edge.runtime import ModelFacts


def search_images(
    paths: Sequence[Path],
    query: F32,
    embedder: ImageEmbedder,
    calibration: Calibration,
    top: int,
    on_image: Callable[[], None] = lambda: None,
) -> list[Hit]:
    """The best `top` of image files, best first. Raises SourceError, EngineError, MissingExtra."""
    readable, embeddings = embedder.embed(paths, on_image)
    ranked = rank(embeddings, query, top)
    return [Hit("image", readable[each.index], _scene(calibration, each), each.cosine) for each in ranked]


def search_runs(
    runs: Sequence[Run],
    query: F32,
    bundle_sha256: str,
    facts: ModelFacts,
    calibration: Calibration,
    top: int,
) -> list[Hit]:
    """The best `top` passages of all runs, then the best `top` things that they followed.

    Raises:
        RunError: a run was made with another model, is damaged, or none of them holds a frame.
    """
    passages: list[Hit] = []
    places: list[Hit] = []
    for run in runs:
        check_model(run, bundle_sha256)
        try:
            frames = run.frames()
        except RunError:
            if len(runs) == 1:
                raise
            continue  # a flight that ended before its first frame
        passages += _passages(run, frames, query, calibration, top)
        places += _places(run, frames, query, facts, calibration, top)
    if not passages:
        raise RunError(f"{runs[0].path.parent}: not one of its {len(runs)} runs holds a frame")
    best = [sorted(hits, key=lambda hit: -hit.cosine)[:top] for hits in (passages, places)]
    return best[0] + best[1]


def check_model(run: Run, bundle_sha256: str) -> None:
    """Raises RunError: its embeddings are another model's."""
    if run.about.bundle_sha256 != bundle_sha256:
        raise RunError(
            f"{run.path}: was recorded with model {run.about.bundle_sha256[:12]}, not {bundle_sha256[:12]}"
            " (name that model with --bundle, or record the flight again)"
        )


def _passages(
    run: Run, frames: Sequence[RunFrame], query: F32, calibration: Calibration, top: int
) -> list[Hit]:
    ranking = rank if run.about.independent else rank_passages
    shown = np.array([frame.has_thumbnail for frame in frames])
    hits = []
    for each in ranking(run.embeddings(), query, top):
        frame, pose = frames[each.index], frames[each.index].pose
        # The picture of the passage that is nearest to its best frame: any other shows something else.
        inside = np.flatnonzero(shown[each.first : each.last + 1]) + each.first
        nearest = inside[np.argmin(abs(inside - each.index))] if len(inside) else None
        hits.append(
            Hit(
                "frame",
                run.path,
                _scene(calibration, each),
                each.cosine,
                name=_name(run, frame),
                frame=frame.number,
                time_s=frame.time_s,
                first_s=frames[each.first].time_s,
                last_s=frames[each.last].time_s,
                captured_at=frame.captured_at.isoformat(),
                latitude=None if pose is None else pose.latitude,
                longitude=None if pose is None else pose.longitude,
                picture=None if nearest is None else frames[nearest].row,
            )
        )
    return hits


def _places(
    run: Run,
    frames: Sequence[RunFrame],
    query: F32,
    facts: ModelFacts,
    calibration: Calibration,
    top: int,
) -> list[Hit]:
    by_row = {frame.row: frame for frame in frames}
    tracks = [track for track in run.tracks() if track.frame in by_row]
    if not tracks:
        return []
    hits = []
    for each in rank(np.stack([track.embedding for track in tracks]), query, top):
        track = tracks[each.index]
        frame = by_row[track.frame]
        logit = np.float32(facts.logit_scale * each.cosine + facts.logit_bias)
        latitude, longitude, h_acc_m = _ground(frame, track)
        hits.append(
            Hit(
                "place",
                run.path,
                float(calibration.object_score(logit)),
                each.cosine,
                name=_name(run, frame),
                frame=frame.number,
                time_s=frame.time_s,
                captured_at=frame.captured_at.isoformat(),
                latitude=latitude,
                longitude=longitude,
                h_acc_m=h_acc_m,
                prompt=track.prompt,
                track=track.track,
                box=track.box,
            )
        )
    return hits


def _name(run: Run, frame: RunFrame) -> str | None:
    return frame.name if run.about.independent else None


def _ground(frame: RunFrame, track: RunTrack) -> tuple[float, float, float] | tuple[None, None, None]:
    for place in frame.places[frame.places["track"] == track.track]:
        if np.isfinite(place["latitude"]):
            return float(place["latitude"]), float(place["longitude"]), float(place["h_acc_m"])
    return None, None, None


def _scene(calibration: Calibration, each: Ranked) -> float:
    return float(calibration.scene_score(np.float32(each.cosine)))
