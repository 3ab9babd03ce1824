"""What one flight says about the things of the other: still there, gone, or not to be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.runs.changes.alike import ALIKE, likeness
from edge.runs.changes.looks import Looks
from edge.runs.changes.things import Floats, Side, Thing

Kind: TypeAlias = Literal["appeared", "vanished"]
Way: TypeAlias = Literal["ground", "picture"]
Between: TypeAlias = Callable[[int, int], "Floats | None"]
"""(3, 3) from pixels of a frame of one run to those of a frame of the other, by index; None: not known."""

SURE_SHARE = 0.5
"""A thing that its own run found in fewer of its frames may have been missed by the other just as well."""
GONE_SHARE = 0.15
"""Found in no more of the other's looks: it is not there."""
FEWEST_LOOKS = {"ground": 5, "picture": 2}
"""By way of matching: every frame looks by telemetry, only kept pictures without."""
_MOST_PICTURES = 3
"""Of each flight, that are held against one another before a change is told."""
_REGISTERED_PX = 6.0
"""Pictures that were laid over one another lie no further apart."""
_ALIKE_LOOKS = 5
"""Looks from one flight are alike: more than this many say no more."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that only one of the flights shows.

    Attributes:
        kind: appeared (only the second shows it) or vanished (only the first).
        prompt, track, score, box: of the thing in the run that shows it, where it is seen best.
        frame, time_s: index of that frame in the run, and its capture time.
        number: of that frame in its source.
        confidence: 0 to 1, how sure; see `compare_runs`.
        found, looks: in how many of how many looks the other run found it.
        other_frame, other_at, other_reach: the other run's best look at the place: index of a frame with a
            picture (None: none is kept), pixels.
        latitude, longitude, h_acc_m: on the ground, with telemetry.
    """

    kind: Kind
    prompt: str
    track: int
    score: float
    box: tuple[float, float, float, float]
    frame: int
    number: int
    time_s: float
    confidence: float
    found: int
    looks: int
    other_frame: int | None
    other_at: tuple[float, float]
    other_reach: float
    latitude: float | None
    longitude: float | None
    h_acc_m: float | None


@dataclass(slots=True, eq=False)
class Judged:
    """The things of one run, and what the other says about them."""

    here: Side
    there: Side
    things: list[Thing]
    own: Floats  # (N,) share of its own run's looks that found it
    looks: Looks
    way: Way
    between: Between

    def judge(self, kind: Kind) -> tuple[list[Change], int, int, int]:
        """The changes, and how many things are kept, unsure and unseen."""
        count = len(self.things)
        own = self.own
        hits = self.looks.hits(self.things, self.there)
        found = np.bincount(self.looks.thing[hits], minlength=count)
        looked = np.bincount(self.looks.thing, minlength=count)
        seen = looked >= FEWEST_LOOKS[self.way]
        share = found / np.maximum(looked, 1)
        gone = seen & (share <= GONE_SHARE) & (own >= SURE_SHARE)
        missed = (1 - own) ** np.minimum(looked, _ALIKE_LOOKS)
        confidence = np.clip((own - share) * (1 - missed), 0, 1)
        kept = seen & (share > GONE_SHARE) & (share >= 0.5 * own)
        changes = []
        told: list[tuple[str, Looks]] = []
        for n in sorted(np.flatnonzero(gone).tolist(), key=lambda n: -confidence[n]):
            mine = _of_thing(self.looks, n)
            if self._same_picture(self.things[n], mine):
                gone[n] = False
                continue
            if self.way == "picture" and any(
                prompt == self.things[n].prompt and _meet(mine, other) for prompt, other in told
            ):
                continue  # another track of a thing that was told already
            told.append((self.things[n].prompt, mine))
            changes.append(self._change(kind, n, float(confidence[n]), int(found[n]), int(looked[n]), mine))
        unseen = int((~seen).sum())
        return changes, int(kept.sum()), count - unseen - int(kept.sum()) - int(gone.sum()), unseen

    def _same_picture(self, thing: Thing, mine: Looks) -> bool:
        """Whether the flights' pictures show the same there, whatever the model says."""
        sights = [k for k, f in enumerate(thing.frames.tolist()) if self.here.frames[f].has_thumbnail]
        looks = [k for k, f in enumerate(mine.frame.tolist()) if self.there.frames[f].has_thumbnail]
        found = [
            alike
            for s in sorted(sights, key=lambda s: -thing.scores[s])[:_MOST_PICTURES]
            for k in sorted(looks, key=lambda k: self._off_centre(mine, k))[:_MOST_PICTURES]
            if (alike := self._likeness(thing, s, mine, k)) is not None
        ]
        return bool(found) and float(np.median(found)) >= ALIKE  # one of them may be alike by chance

    def _likeness(self, thing: Thing, s: int, mine: Looks, k: int) -> float | None:
        frame, other = int(thing.frames[s]), int(mine.frame[k])
        matrix = self.between(frame, other)
        if matrix is None:
            return None
        at, reach = mine.at[k], float(mine.reach[k])
        if self.way == "picture":
            reach = min(reach, _REGISTERED_PX)
        return likeness(self.here, frame, thing.boxes[s], self.there, other, matrix, at, reach)

    def _change(
        self,
        kind: Kind,
        n: int,
        confidence: float,
        found: int,
        looked: int,
        mine: Looks,
    ) -> Change:
        thing = self.things[n]
        best = thing.best
        frame = self.here.frames[int(thing.frames[best])]
        track = thing.tracks[0]
        shown = [k for k, index in enumerate(mine.frame.tolist()) if self.there.frames[index].has_thumbnail]
        central = [self._off_centre(mine, k) for k in shown]
        k = shown[int(np.argmin(central))] if shown else 0
        x1, y1, x2, y2 = thing.boxes[best].tolist()
        where = (None, None, None) if thing.degrees is None else tuple(thing.degrees.tolist())
        return Change(
            kind=kind,
            prompt=thing.prompt,
            track=track,
            score=float(thing.scores[best]),
            box=(x1, y1, x2, y2),
            frame=int(thing.frames[best]),
            number=frame.number,
            time_s=frame.time_s,
            confidence=confidence,
            found=found,
            looks=looked,
            other_frame=int(mine.frame[k]) if shown else None,
            other_at=(float(mine.at[k, 0]), float(mine.at[k, 1])),
            other_reach=float(mine.reach[k]),
            latitude=where[0],
            longitude=where[1],
            h_acc_m=where[2],
        )

    def _off_centre(self, mine: Looks, k: int) -> float:
        frame = self.there.frames[int(mine.frame[k])]
        return float(np.linalg.norm(mine.at[k] - np.array([frame.width, frame.height]) / 2))


def found_share(looks: Looks, things: Sequence[Thing], side: Side) -> NDArray[np.float64]:
    found = np.bincount(looks.thing[looks.hits(things, side)], minlength=len(things))
    share: NDArray[np.float64] = found / np.maximum(np.bincount(looks.thing, minlength=len(things)), 1)
    return share


def _of_thing(looks: Looks, n: int) -> Looks:
    mine = looks.thing == n
    return Looks(looks.thing[mine], looks.frame[mine], looks.at[mine], looks.reach[mine])


def _meet(a: Looks, b: Looks) -> bool:
    """Whether two things would be in one place of one frame."""
    same = a.frame[:, None] == b.frame
    near = np.linalg.norm(a.at[:, None] - b.at, axis=2) <= np.maximum(a.reach[:, None], b.reach)
    return bool((same & near).any())
