"""`remoteclip eval blindpairs --prompts`: which prompts of a list the model confuses on a terrain.

RSMMVP asks of a model where it takes for the same what looks different, and below which confidence a person
must look. Here a prompt list is asked so on an engineer's own images, without labels: its finds are held
against a label-free encoder (support.py), prompt by prompt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from firmware_cfg.errors import UsageError
from firmware_cfg.prompt_list import LoadedPromptList
from training.blindpairs.encoders import Encoder
from training.blindpairs.places import Terrain, Units, survey
from training.blindpairs.support import LEAST_FOUND, Cut, find_cut, look_alikes, support

if TYPE_CHECKING:
    from rich.table import Table

    from training.evaluation.subject import Subject

MOST = 400
"""Places, and images, that the encoder is shown: a third of a second each on one core."""
NOTHING = "nothing"
SAME_SCORE = 0.05
"""Scores no further apart are the same to a person who reads them."""
_NEAR = 1.0
"""A prompt whose log-odds lie within this of the owner's might as well have been it."""
_SHOWN = 6

Verdict = Literal["look below", "backed", "too few", "not told"]


@dataclass(frozen=True, slots=True)
class BlindPair:
    """Two finds of one prompt that score the same and look no more alike than any two: indices of units."""

    first: int
    second: int
    cosine: float


@dataclass(frozen=True, slots=True)
class PromptConfusion:
    """One prompt on the terrain.

    Attributes:
        prompt, kind, threshold: the list's; found: finds that were looked at; units: these and weaker ones.
        verdict: look below: weak finds are not backed by the encoder, `review_below` tells where they begin;
            backed: all finds are, as far as the surest ones; too few: fewer than LEAST_FOUND finds, or all in
            one image; not told: to the encoder even the surest finds look like anything else.
        cut: see Cut; None where the verdict is too few or not told.
        review_below: a calibrated score in hundredths; None unless the verdict is look below.
        below: share of the finds that score less.
        taken_for: by prompt id or "nothing": what the model makes of the look-alikes of its finds, largest
            first, its own share left out.
        flips: by prompt id: share of finds that this one scores nearly as high.
        same_score: pairs of finds in two scenes that score the same; blind: share of them that look no more
            alike to the encoder than any two units do; pairs: the least alike, no find twice.
    """

    prompt: str
    kind: Literal["object", "scene"]
    threshold: float
    found: int
    units: int
    verdict: Verdict
    cut: Cut | None
    review_below: float | None
    below: float | None
    taken_for: tuple[tuple[str, float], ...]
    flips: tuple[tuple[str, float], ...]
    same_score: int
    blind: float | None
    pairs: tuple[BlindPair, ...]


@dataclass(frozen=True, slots=True)
class Confusions:
    """A list on a terrain: n images, every prompt in the list's order."""

    model: str
    bundle_sha256: str
    list_path: str
    list_sha256: str
    encoder: str
    seed: int
    n: int
    scenes: int
    prompts: tuple[PromptConfusion, ...]
    terrain: Terrain

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last; pairs by image name and box."""
        return {
            "n": self.n,
            "scenes": self.scenes,
            "model": self.model,
            "bundle": self.bundle_sha256,
            "list": self.list_path,
            "list_sha256": self.list_sha256,
            "encoder": self.encoder,
            "seed": self.seed,
            "prompts": {item.prompt: self._prompt(item) for item in self.prompts},
        }

    def table(self) -> Table:
        """For a terminal."""
        from training.blindpairs.prompts_report import confusion_table

        return confusion_table(self)

    def write(self, out: Path) -> None:
        """confusions.json and blind_pairs.png into a folder. Raises OSError, SourceError."""
        from training.blindpairs.prompts_report import write_run

        write_run(self, out)

    def units(self, item: PromptConfusion) -> Units:
        """What the prompt was judged on; its pairs count in these."""
        return self.terrain.places if item.kind == "object" else self.terrain.scenes

    def _prompt(self, item: PromptConfusion) -> dict[str, Any]:
        document = asdict(item)
        del document["prompt"]
        for name in ("taken_for", "flips"):
            document[name] = dict(document[name])
        units = self.units(item)
        column = units.ids.index(item.prompt)
        document["pairs"] = [
            {
                "cosine": round(pair.cosine, 4),
                "places": [self._place(units, column, index) for index in (pair.first, pair.second)],
            }
            for pair in item.pairs
        ]
        return document

    def _place(self, units: Units, column: int, index: int) -> dict[str, Any]:
        box = units.box[index]
        whole = not np.isfinite(box).all()
        return {
            "image": self.terrain.names[int(units.image[index])],
            "score": round(float(units.score[index, column]), 4),
            "box": None if whole else [round(float(side), 1) for side in box],
        }


def confusions(
    subject: Subject,
    loaded: LoadedPromptList,
    folder: Path,
    encoder: Encoder,
    *,
    most: int = MOST,
    seed: int = 0,
) -> Confusions:
    """Hold what the model finds for each prompt in a folder's images against a label-free encoder.

    Args:
        subject: a bundle: only its scores are those that the drone compares with `review_below`.
        folder: images of the terrain; those in sub-folders are not looked at.
        most: places, and images, that the encoder is shown.
        seed: of the intervals' resamples.

    Raises:
        UsageError: the subject is a checkpoint, whose scores are not calibrated.
        RemoteclipError, SourceError, ConfigErrors, EngineError, MissingExtra: as `survey` does.
    """
    if subject.kind != "bundle":
        raise UsageError(
            f"{subject.path}: a checkpoint's scores are not the drone's (name a bundle compiled of it)"
        )
    terrain = survey(subject.runtime, loaded, folder, encoder, most)
    judged = {
        **_judged(terrain, terrain.places, "object", seed),
        **_judged(terrain, terrain.scenes, "scene", seed),
    }
    return Confusions(
        model=subject.name,
        bundle_sha256=subject.sha256,
        list_path=loaded.path,
        list_sha256=loaded.sha256,
        encoder=encoder.name,
        seed=seed,
        n=len(terrain.names),
        scenes=len(np.unique([*terrain.places.scene, *terrain.scenes.scene])),
        prompts=tuple(judged[prompt.id] for prompt in loaded.model.prompts),
        terrain=terrain,
    )


def _judged(
    terrain: Terrain, units: Units, kind: Literal["object", "scene"], seed: int
) -> dict[str, PromptConfusion]:
    """The prompts of one kind."""
    neighbours = look_alikes(units.embedding, units.scene)
    return {
        name: _prompt(terrain, units, column, kind, neighbours, seed) for column, name in enumerate(units.ids)
    }


def _prompt(
    terrain: Terrain,
    units: Units,
    column: int,
    kind: Literal["object", "scene"],
    neighbours: NDArray[np.int64],
    seed: int,
) -> PromptConfusion:
    found, score = units.found[:, column], units.score[:, column]
    mine = score > 0
    threshold = terrain.bank.thresholds[units.ids[column]]
    chance = float(found.mean()) if len(found) else 0.0
    backed = support(neighbours, found)
    cut = find_cut(score[mine], backed[mine], found[mine], chance, units.image[mine], seed)
    review = None if cut is None else math.ceil(round(100 * cut.score, 6)) / 100
    if review is not None and review <= threshold:
        review = None
    finds = int(found.sum())
    verdict: Verdict = "backed" if review is None else "look below"
    if cut is None:
        judged = finds >= LEAST_FOUND and len(np.unique(units.image[found])) > 1
        verdict = "not told" if judged else "too few"
    same_score, blind = blind_pairs(units, column)
    return PromptConfusion(
        prompt=units.ids[column],
        kind=kind,
        threshold=threshold,
        found=finds,
        units=int(mine.sum()),
        verdict=verdict,
        cut=cut,
        review_below=review,
        below=None if review is None else float((score[found] < review).mean()),
        taken_for=_taken_for(units, column, neighbours),
        flips=_flips(units, column),
        same_score=same_score,
        blind=len(blind) / same_score if same_score else None,
        pairs=_apart(blind),
    )


def blind_pairs(units: Units, column: int) -> tuple[int, list[BlindPair]]:
    """How many pairs of a prompt's finds score the same, and which of them look no more alike than any two.

    Both of other scenes; "any two" is the median cosine of units of other scenes. The least alike come first.
    """
    finds = np.flatnonzero(units.found[:, column])
    apart = units.scene[:, None] != units.scene
    if not len(finds) or not apart.any():
        return 0, []
    usual = np.median((units.embedding @ units.embedding.T)[apart])
    cosine = units.embedding[finds] @ units.embedding[finds].T
    score = units.score[finds, column]
    same = np.triu(abs(score[:, None] - score) <= SAME_SCORE, 1) & apart[np.ix_(finds, finds)]
    first, second = np.nonzero(same & (cosine < usual))
    order = np.argsort(cosine[first, second], kind="stable")
    pairs = [
        BlindPair(int(finds[i]), int(finds[j]), float(cosine[i, j]))
        for i, j in zip(first[order], second[order], strict=True)
    ]
    return int(same.sum()), pairs


def _apart(pairs: Sequence[BlindPair]) -> tuple[BlindPair, ...]:
    """The first few that have no find in common."""
    taken: set[int] = set()
    shown = []
    for pair in pairs:
        if len(shown) < _SHOWN and taken.isdisjoint((pair.first, pair.second)):
            taken |= {pair.first, pair.second}
            shown.append(pair)
    return tuple(shown)


def _taken_for(units: Units, column: int, neighbours: NDArray[np.int64]) -> tuple[tuple[str, float], ...]:
    """See PromptConfusion. A look-alike that several prompts find counts for the best of them."""
    near = neighbours[units.found[:, column]]
    near = near[near >= 0]
    if not len(near):
        return ()
    best = np.where(units.found[near], units.score[near], -1.0)
    owner = np.where(units.found[near, column], column, best.argmax(axis=1))
    names = np.where(units.found[near].any(axis=1), np.array(units.ids, object)[owner], NOTHING)
    shares = [(str(name), float((names == name).mean())) for name in np.unique(names.astype(str))]
    return _ranked(shares, units.ids[column])


def _flips(units: Units, column: int) -> tuple[tuple[str, float], ...]:
    """See PromptConfusion."""
    odds = units.odds[units.found[:, column]]
    if not len(odds):
        return ()
    near = (odds >= odds[:, [column]] - _NEAR).mean(axis=0)
    return _ranked(list(zip(units.ids, near.tolist(), strict=True)), units.ids[column])


def _ranked(shares: Sequence[tuple[str, float]], own: str) -> tuple[tuple[str, float], ...]:
    kept = (pair for pair in shares if pair[0] != own and pair[1] > 0)
    return tuple(sorted(kept, key=lambda pair: (-pair[1], pair[0])))
