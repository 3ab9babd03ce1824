"""Faults of annotation files: raised at the first one, or counted and listed where a collector is given."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from training.errors import DataError
from training.readers.files import read_lines

Kind = Literal[
    "corrupt_image",  # cannot be decoded, or not to its end: the image is left out
    "missing_image",  # annotated, but no such file: left out
    "missing_annotation",  # an image without the annotation file that its format demands: left out
    "size_mismatch",  # the file has another size than its annotation says, so boxes would not fit: left out
    "malformed_entry",  # not what the format says: the entry (or the image, if it is its file) is left out
    "unknown_class",  # of a class that the set does not name: the object is left out
    "box_outside",  # wholly outside the frame: the object is left out
    "box_clipped",  # reaches out of the frame by more than rounding explains: cut to it
    "box_empty",  # has no area: the object is left out
    "empty_annotation",  # an image without any object or sentence: kept, as background
    "bad_telemetry",  # not a position or attitude that can be: the image is kept without its telemetry
]
KINDS: tuple[Kind, ...] = get_args(Kind)

Box = tuple[float, float, float, float]
_ROUNDING = 2.0  # pixels that a box may stick out of the frame by rounding and by counting from 0 or 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. entry: a line number, or which entry of the file, or empty where it is the whole file."""

    kind: Kind
    file: Path
    entry: str
    problem: str

    def __str__(self) -> str:
        return _line(self.file, self.entry, self.problem)


class Findings:
    """Counts every fault that it is given, and lists the first `listed_per_kind` of each kind."""

    def __init__(self, listed_per_kind: int = 100) -> None:
        self._limit = listed_per_kind
        self._counts: Counter[Kind] = Counter()
        self._listed: defaultdict[Kind, list[Finding]] = defaultdict(list)

    def add(self, kind: Kind, file: Path, entry: str | int, problem: str) -> None:
        """Count a fault, and list it unless enough of its kind are listed already."""
        self._counts[kind] += 1
        if len(self._listed[kind]) < self._limit:
            self._listed[kind].append(Finding(kind, file, str(entry), problem))

    def counts(self) -> dict[Kind, int]:
        """Number of faults of every kind that occurred, in the order of KINDS."""
        return {kind: self._counts[kind] for kind in KINDS if self._counts[kind]}

    @property
    def listed(self) -> tuple[Finding, ...]:
        """The listed faults, kind by kind."""
        return tuple(finding for kind in KINDS for finding in self._listed.get(kind, ()))

    def __len__(self) -> int:
        return self._counts.total()

    def as_json(self) -> dict[str, Any]:
        """`counts` by kind, and `listed`: objects with kind, file, entry, problem."""
        return {
            "counts": self.counts(),
            "listed": [{**asdict(finding), "file": str(finding.file)} for finding in self.listed],
        }


class Fault(ValueError):
    """Raised inside `Entries.entry` for a fault whose kind is known better than malformed_entry."""

    def __init__(self, kind: Kind, problem: str) -> None:
        super().__init__(problem)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Entries:
    """One annotation file while it is read: what is wrong with its entries is raised, or collected."""

    file: Path
    findings: Findings | None = None

    def fault(self, kind: Kind, entry: str | int, problem: str) -> None:
        """Collect a fault; raise it as DataError where nobody collects."""
        if self.findings is None:
            raise DataError(_line(self.file, str(entry), problem))
        self.findings.add(kind, self.file, entry, problem)

    def note(self, kind: Kind, entry: str | int, problem: str) -> None:
        """Collect what strict reading passes over: nothing is wrong enough with it to stop."""
        if self.findings is not None:
            self.findings.add(kind, self.file, entry, problem)

    def lines(self, demanded: bool = False) -> list[str] | None:
        """Lines of the file, none where there is no such file; None, and a fault, where it is no text.

        demanded: the format has such a file for every image, so a missing one is a fault too.
        """
        if not self.file.is_file():
            if not demanded:
                return []
            self.fault("missing_annotation", "", "no such file (every image of this format has one)")
            return None
        try:
            return read_lines(self.file)
        except DataError as error:
            if self.findings is None:
                raise
            self.findings.add("malformed_entry", self.file, "", str(error).removeprefix(f"{self.file}: "))
            return None

    @contextmanager
    def entry(self, where: str | int, expected: str = "") -> Iterator[None]:
        """Turn a missing key or unfit value met inside into a fault of this entry; the rest of it is skipped.

        expected: what the format says there, for a message that helps where Python's own would not.
        """
        try:
            yield
        except Fault as fault:
            self.fault(fault.kind, where, str(fault))
        except KeyError as error:
            self.fault("malformed_entry", where, expected or f"{error} is missing")
        except (AttributeError, IndexError, TypeError, ValueError, OverflowError) as error:
            self.fault("malformed_entry", where, expected or f"not what the format says ({error})")

    def framed(self, where: str | int, box: Sequence[float], width: float, height: float) -> Box | None:
        """The box x1, y1, x2, y2 cut to the frame; None, and a note, where nothing of it is inside."""
        x1, y1, x2, y2 = box
        if not (x2 > x1 and y2 > y1):
            self.note("box_empty", where, f"a box of {x2 - x1:g} x {y2 - y1:g} pixels")
            return None
        inside = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        place = f"box {x1:g}, {y1:g}, {x2:g}, {y2:g} in a frame of {width:g} x {height:g}"
        if not (inside[2] > inside[0] and inside[3] > inside[1]):
            self.note("box_outside", where, place)
            return None
        if max(-x1, -y1, x2 - width, y2 - height) > _ROUNDING:
            self.note("box_clipped", where, place)
        return inside


def _line(file: Path, entry: str, problem: str) -> str:
    if not entry:
        return f"{file}: {problem}"
    return f"{file}:{entry}: {problem}" if entry.isdigit() else f"{file}: {entry}: {problem}"
