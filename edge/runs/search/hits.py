"""What a search found, and how it is told: lines, JSON, GeoJSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Hit:
    """One picture, or one thing in a picture.

    Attributes:
        kind: a file, a recorded frame with the passage round it, or a followed thing of a run.
        path: the image file, or the run.
        score: calibrated, 0 to 1; places and whole pictures have calibrations of their own.
        cosine: of the embedding with the text's, -1 to 1.
        name: of the picture, in a run of unrelated ones; None otherwise.
        frame: number in its source; None for a file.
        time_s: capture time since the source began; first_s and last_s are the passage's.
        captured_at: ISO 8601, UTC.
        latitude, longitude, h_acc_m: of a place on the ground, else of the camera (without h_acc_m).
        prompt, track, box: of a place; the box in pixels of the frame.
        picture: row of the run's frame whose thumbnail shows it; None where none was kept.
    """

    kind: Literal["image", "frame", "place"]
    path: Path
    score: float
    cosine: float
    name: str | None = None
    frame: int | None = None
    time_s: float | None = None
    first_s: float | None = None
    last_s: float | None = None
    captured_at: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    h_acc_m: float | None = None
    prompt: str | None = None
    track: int | None = None
    box: tuple[float, float, float, float] | None = None
    picture: int | None = None

    @property
    def title(self) -> str:
        """Where it is, in a few words."""
        if self.time_s is None:
            return str(self.path)
        when = f"{self.time_s:.1f} s"
        if self.first_s is not None and self.last_s is not None and self.last_s > self.first_s:
            when += f" ({self.first_s:.1f} to {self.last_s:.1f})"
        what = f"{self.prompt} {self.track}, " if self.kind == "place" else ""
        seen = f"frame {self.frame}, {when}" if self.name is None else self.name
        where = "" if self.latitude is None else f", {self.latitude:.6f} {self.longitude:.6f}"
        return f"{self.path.name}: {what}{seen}{where}"


def ranked(hits: Sequence[Hit]) -> list[tuple[Literal["picture", "place"], int, Hit]]:
    """Each hit with its kind and its rank, from 1, among those of its kind; in their own order."""
    ranks = {"picture": 0, "place": 0}
    found = []
    for hit in hits:
        kind: Literal["picture", "place"] = "place" if hit.kind == "place" else "picture"
        ranks[kind] += 1
        found.append((kind, ranks[kind], hit))
    return found


def lines(hits: Sequence[Hit]) -> list[str]:
    """The answer for people, pictures first, then places; each kind ranked by itself."""
    found: list[str] = []
    for wanted in ("picture", "place"):
        of_kind = [(rank, hit) for kind, rank, hit in ranked(hits) if kind == wanted]
        if of_kind:
            note = "  (not to be compared with the scores of pictures)" if found else ""
            found.append(f"{wanted + 's':>9}  score  cosine{note}")
            found += [f"{rank:>9}  {hit.score:.3f}  {hit.cosine:6.3f}  {hit.title}" for rank, hit in of_kind]
    return found


def as_json(text: str, hits: Sequence[Hit]) -> str:
    """One JSON object; what is not known is null."""
    rows = []
    for hit in hits:
        row: dict[str, Any] = asdict(hit)
        del row["picture"]
        row["path"] = str(hit.path)
        rows.append(row)
    return json.dumps({"text": text, "hits": rows}, ensure_ascii=False)


def as_geojson(text: str, hits: Sequence[Hit]) -> str:
    """A GeoJSON FeatureCollection (RFC 7946) of the hits whose position is known, ranked as in `lines`."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [hit.longitude, hit.latitude]},
            "properties": {
                "rank": rank,
                "kind": hit.kind,
                "text": text,
                "score": round(hit.score, 4),
                "frame": hit.frame,
                "captured_at": hit.captured_at,
                "h_acc_m": hit.h_acc_m,
                "prompt": hit.prompt,
            },
        }
        for _, rank, hit in ranked(hits)
        if hit.latitude is not None
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
