"""Engines built on this device, kept under everything that they depend on: a stale one is never found."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.files import cache_folder, write_atomically
from edge.leftovers import sweep

FOLDER = "tensorrt"
#: Records that are kept; beyond it the oldest go. A bundle has up to 15: two engines and a choice a size.
KEPT = 60
#: Age in seconds at which a file that no readable record speaks of goes; a build takes minutes.
ORPHANED_S = 24 * 3600.0
_SUFFIXES = frozenset({".json", ".plan", ".timing", ".tmp"})

Precision = Literal["fp32", "fp16", "int8"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Environment:
    """What an engine is bound to besides its graph: it runs nowhere else.

    Attributes:
        library, library_version: such as "tensorrt" and "10.3.0".
        gpu, compute_capability, multiprocessors: the GPU; every Orin has one name, so its size counts too.
        driver: the CUDA version of the driver, and the driver's own.
    """

    library: str
    library_version: str
    gpu: str
    compute_capability: str
    multiprocessors: int
    driver: str


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that decides what an engine is.

    Attributes:
        bundle: SHA-256 of the bundle's manifest; it covers every graph.
        precision: of the graph; "auto" for the record of which one was chosen.
        image_size: (width, height) of the tiles.
        max_batch, max_prompts: see BuildOptions.
        environment: where it was built.
    """

    bundle: str
    precision: str
    image_size: tuple[int, int]
    max_batch: int
    max_prompts: int
    environment: Environment

    @property
    def digest(self) -> str:
        """Short name of the key, used in file names."""
        return _digest(self)


class Latency(BaseModel):
    """Milliseconds from host memory to host memory, copies included, as trtexec's host latency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    p50: float
    p95: float
    p99: float
    runs: int


class Record(BaseModel):
    """What is written beside a plan, or of a choice between plans."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    key: EngineKey
    model: str = Field(description="Model of the bundle, for people who read the list")
    created_at: datetime
    plan_sha256: str | None = Field(None, description="Of the plan's bytes; a choice has no plan")
    plan_bytes: int = 0
    typing: str = Field("", description="strong, or flags where an old TensorRT needed builder flags")
    build_seconds: float = 0.0
    workspace_mib: int | None = Field(None, description="The limit on scratch memory it was built under")
    latency: Latency | None = None
    problems: tuple[str, ...] | None = Field(None, description="What the golden vectors say; None: not asked")
    chosen: Precision | None = Field(None, description="Of a choice: the precision that auto stands for")

    def keeps_within(self, workspace_mib: int | None) -> bool:
        """Whether what was built needs no more scratch memory than this; None: there is no limit."""
        if workspace_mib is None:
            return True
        return self.workspace_mib is not None and self.workspace_mib <= workspace_mib


@dataclass(frozen=True, slots=True, eq=False)
class CachedPlan:
    """A plan that was found whole and fits its key."""

    record: Record
    data: bytes


class EngineCache:
    """A folder of plans and records. What cannot be written lasts as long as the object, in memory."""

    def __init__(self, folder: Path | None = None) -> None:
        """Use `folder`, which must exist; default: this user's cache (see `cache_folder`)."""
        self._folder = cache_folder(FOLDER) if folder is None else folder
        self._unwritten: dict[EngineKey, tuple[Record, bytes | None]] = {}

    @property
    def folder(self) -> Path | None:
        """Where the files lie; None where there is no place for them."""
        return self._folder

    def timing_cache(self, environment: Environment) -> Path | None:
        """File for the kernels that TensorRT has measured in this environment."""
        return None if self._folder is None else self._folder / f"{_digest(environment)}.timing"

    def find(self, key: EngineKey) -> CachedPlan | None:
        """The plan built for exactly this key, whole; otherwise None."""
        record = self.record(key)
        if record is None or record.plan_sha256 is None:
            return None
        if (held := self._unwritten.get(key)) is not None and held[1] is not None:
            return CachedPlan(record, held[1])
        if self._folder is None:
            return None
        path = self._folder / f"{key.digest}.plan"
        try:
            data = path.read_bytes()
        except OSError as error:
            _log.warning("%s: not read: %s; the engine is built again", path, error.strerror)
            return None
        if hashlib.sha256(data).hexdigest() != record.plan_sha256:
            _log.warning("%s: damaged; the engine is built again", path)
            return None
        return CachedPlan(record, data)

    def record(self, key: EngineKey) -> Record | None:
        """What is known of exactly this key."""
        if key in self._unwritten:
            return self._unwritten[key][0]
        if self._folder is None:
            return None
        record = _read(self._folder / f"{key.digest}.json")
        return record if record is not None and record.key == key else None

    def keep(self, record: Record, plan: bytes | None = None) -> Record:
        """Write a plan and its record, or a record alone, atomically; returns the record as written.

        A full disk is a warning: what was built can be flown all the same.
        """
        if plan is not None:
            record = record.model_copy(
                update={"plan_sha256": hashlib.sha256(plan).hexdigest(), "plan_bytes": len(plan)}
            )
        try:
            written = self._write(record, plan)
        except OSError as error:
            _log.warning("%s: the engine is not kept: %s", self._folder, error.strerror)
            written = False
        if written:
            self._unwritten.pop(record.key, None)
        else:
            _, held = self._unwritten.get(record.key, (None, None))
            self._unwritten[record.key] = (record, held if plan is None else plan)
        return record

    def _write(self, record: Record, plan: bytes | None) -> bool:
        if self._folder is None or (plan is None and record.key in self._unwritten):
            return False
        name = record.key.digest
        if plan is not None:
            write_atomically(self._folder / f"{name}.plan", plan)
        # Last: until it is there, nobody finds the plan.
        write_atomically(self._folder / f"{name}.json", record.model_dump_json(indent=1).encode())
        self._forget_oldest(self._folder)
        return True

    def records(self) -> Iterator[Record]:
        """Everything that is kept, newest first. What cannot be read is left out."""
        found = [_read(path) for path in self._folder.glob("*.json")] if self._folder is not None else []
        yield from sorted((r for r in found if r is not None), key=lambda r: r.created_at, reverse=True)

    def _forget_oldest(self, folder: Path) -> None:
        kept = list(self.records())
        for record in kept[KEPT:]:
            for suffix in ("json", "plan"):  # the record first: a plan alone is never loaded
                (folder / f"{record.key.digest}.{suffix}").unlink(missing_ok=True)
        wanted = {f"{_digest(record.key.environment)}.timing" for record in kept[:KEPT]}
        wanted |= {f"{record.key.digest}.{suffix}" for record in kept[:KEPT] for suffix in ("json", "plan")}
        sweep(folder, wanted, _SUFFIXES, ORPHANED_S)


def stale_because(record: Record, here: Environment) -> str:
    """Why this device cannot use what is kept, such as "driver was 12.6, is 13.0"; empty if it can."""
    then = asdict(record.key.environment)
    changed = [
        f"{name.replace('_', ' ')} was {then[name]}, is {now}"
        for name, now in asdict(here).items()
        if then[name] != now
    ]
    return "; ".join(changed)


def choice_key(key: EngineKey) -> EngineKey:
    """The key under which the choice between precisions is kept."""
    return replace(key, precision="auto")


def now() -> datetime:
    """The present, to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def _digest(facts: EngineKey | Environment) -> str:
    return hashlib.sha256(json.dumps(asdict(facts), sort_keys=True).encode()).hexdigest()[:24]


def _read(path: Path) -> Record | None:
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        _log.warning("%s: not readable as a record of an engine: %s", path, str(error).splitlines()[0])
        return None
