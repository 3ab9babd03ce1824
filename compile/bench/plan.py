"""Who runs at which clip, and for how long: the plan of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compile.bench.contenders import ceilings
from compile.bench.spec import FLAT_OUT, FRAME, PACED, TILES, TILES_AT_ONCE, Subject

PARTS = ("daemon", "engine", "remoteclip", "tower", "owlvit", "ceiling", "preprocessing", "vocabulary", "gpu")
"""What `--only` takes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run measures.

    Attributes:
        parts: those of PARTS that run.
        bundle, prompts, weights: as on the command line; weights are RemoteCLIP's, None: random ones.
        precisions: variants of the bundle.
        image_size: (width, height) of the model tile; None: what the daemon chooses.
        rounds: turns that each task has.
        turn_s: seconds of a turn, as far as whole frames allow.
        quick: a small made-up clip alone, whatever data there are: it shows that everything runs.
        starts: how often a subject is started: the first time its caches are empty, then warm.
    """

    parts: tuple[str, ...]
    bundle: str
    prompts: Path
    precisions: tuple[str, ...]
    weights: Path | None = None
    image_size: tuple[int, int] | None = None
    rounds: int = 10
    turn_s: float = 0.8
    quick: bool = False
    starts: int = 2

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        fields = asdict(self)
        fields |= {
            name: None if fields[name] is None else str(fields[name]) for name in ("prompts", "weights")
        }
        return fields

    def subjects(self, first: bool) -> tuple[Subject, ...]:
        """Those of one clip, in the order of their turns; some are needed at the first clip only."""
        daemons = [Subject("daemon", precision, (FLAT_OUT, PACED)) for precision in self.precisions]
        names = ("openvino", "onnxruntime") if first else ("openvino",)
        engines = [Subject("engine", f"{name} {p}", (FRAME,)) for name in names for p in self.precisions]
        towers = [Subject(kind, "", (FRAME, TILES, TILES_AT_ONCE)) for kind in ("remoteclip", "tower")]
        owlvit = Subject("owlvit", "", (FRAME,))
        most = [Subject("ceiling", "", ceilings.TASKS)] if first else []
        every = [*daemons, *engines, *towers, owlvit, *most]
        return tuple(subject for subject in every if subject.kind in self.parts)

    def frames(self, seconds: float) -> int:
        """So many frames of a turn, where one takes so long."""
        return max(1, min(round(self.turn_s / max(seconds, 1e-4)), 60))
