"""What a run has measured; tables, plot and targets are made from it, and JSON is what it is stored as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compile.bench.spec import TURN
from compile.bench.timing import Spread


@dataclass(frozen=True, slots=True)
class Result:
    """A subject's task at one clip.

    Attributes:
        spreads: by what was timed: `frame`, `cpu`, `turn` (a turn's mean frame time), of the daemon also
            `stage NAME`.
        memory: `peak` and `now`, MiB of the subject's process after its turns.
        turns_ms: each round's mean frame time, in the order of rounds; empty where a latency was timed.
    """

    clip: str
    kind: str
    variant: str
    subject: str
    task: str
    spreads: Mapping[str, Spread]
    memory: Mapping[str, float]
    turns_ms: tuple[float, ...] = ()

    @property
    def frame(self) -> Spread:
        """Of a frame's time."""
        return self.spreads["frame"]

    @property
    def typical_ms(self) -> float:
        """A frame's time as contenders are compared by.

        Frames that are worked on side by side may come out in pairs: their time is that of a turn over its
        frames (median of the turns), for a median gap is then that within a pair.
        """
        turns = self.spreads.get(TURN)
        return self.frame.p50_ms if turns is None else turns.p50_ms

    @property
    def cpu_ms(self) -> float | None:
        """Processor time of all threads a frame, milliseconds on average."""
        cpu = self.spreads.get("cpu")
        return None if cpu is None else cpu.mean_ms

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        times = {name: spread.as_json() for name, spread in self.spreads.items()}
        return {
            **{name: getattr(self, name) for name in ("clip", "kind", "variant", "subject", "task")},
            "times": times,
            "turns_ms": list(self.turns_ms),
            "peak_mib": self.memory.get("peak"),
            "now_mib": self.memory.get("now"),
        }


@dataclass(frozen=True, slots=True)
class StartUp:
    """From the start of a process to its first result: with empty caches, and the fastest with warm ones."""

    subject: str
    first_s: float
    warm_s: float | None

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {"subject": self.subject, "first_s": self.first_s, "warm_s": self.warm_s}


@dataclass(slots=True)
class Measured:
    """Filled in the course of a run.

    Attributes:
        machine, versions: what it ran on and with.
        settings: of the run, as JSON.
        clips: sizes of the clips by name, such as "1280x720".
        results, start_ups, rows: in the order of measuring; `rows` as JSON, by part.
        rooflines: of the engine, by precision.
        facts: what a reader of the figures must know.
        notes: what was left out, and why.
    """

    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, Any]
    clips: dict[str, str] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    start_ups: list[StartUp] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    rooflines: dict[str, dict[str, float]] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def find(self, kind: str, variant: str, task: str, clip: str | None = None) -> Result | None:
        """The result of a subject's task, at the first clip that has one."""
        for result in self.results:
            same = (result.kind, result.variant, result.task) == (kind, variant, task)
            if same and clip in (None, result.clip):
                return result
        return None

    def tell(self, fact: str) -> None:
        """Say how something was measured; each thing once."""
        if fact not in self.facts:
            self.facts.append(fact)

    def note(self, text: str) -> None:
        """Say what was left out; each thing once."""
        if text not in self.notes:
            self.notes.append(text)

    def as_json(self) -> dict[str, Any]:
        """The report, less its targets."""
        return {
            "schema": 1,
            "machine": self.machine,
            "versions": self.versions,
            "settings": self.settings,
            "clips": self.clips,
            "results": [result.as_json() for result in self.results],
            "start_up": [start.as_json() for start in self.start_ups],
            "rooflines": self.rooflines,
            "rows": self.rows,
            "facts": self.facts,
            "left_out": self.notes,
        }
