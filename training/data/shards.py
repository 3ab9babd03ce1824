"""Plans and writes shards. A shard's bytes follow from its plan and the images that it names alone."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from edge.files import sha256_of_file, write_atomically
from training.data.images import pack
from training.data.manifest import Shard
from training.data.reader import SHARDS
from training.errors import DataError

RECORDS = ".build"  # folder below a data set in which a build that is not finished keeps its notes


@dataclass(frozen=True, slots=True)
class Entry:
    """A sample to be packed. image: the file below the data root with its size and time of change in
    nanoseconds, so that a changed file changes the plan; document: KEY.json."""

    key: str
    image: tuple[str, int, int]
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One shard: its name without suffix, its part, what goes into it, and the quality of new JPEGs."""

    name: str
    part: Literal["train", "val"]
    entries: tuple[Entry, ...]
    quality: int

    def digest(self) -> str:
        """Hex SHA-256 of the plan."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Record:
    """Left beside a finished shard: what it was made from, and what came of it."""

    plan: str
    shard: Shard


_RECORD = TypeAdapter(Record)


def plan_shards(
    part: Literal["train", "val"], entries: Sequence[Entry], samples: int, quality: int, seed: int
) -> list[ShardPlan]:
    """Shards of `samples` entries each, the last of the rest, in a random order that seed and keys fix."""

    def place(entry: Entry) -> bytes:
        return hashlib.sha256(f"{seed}:{entry.key}".encode()).digest()

    mixed = sorted(entries, key=place)
    return [
        ShardPlan(f"{part}-{number:06d}", part, tuple(mixed[start : start + samples]), quality)
        for number, start in enumerate(range(0, len(mixed), samples))
    ]


@dataclass(frozen=True, slots=True)
class ShardTask:
    """What a worker needs to write a shard; both folders as this machine and the worker's see them."""

    root: Path
    folder: Path
    plan: ShardPlan


def write_shard(task: ShardTask) -> Shard:
    """Write one shard and its record. Raises DataError where the worker does not see the folders."""
    plan, target = task.plan, task.folder / SHARDS / f"{task.plan.name}.tar"
    if not target.parent.is_dir():
        raise DataError(f"{target.parent}: not seen by the worker (put it on storage that every node mounts)")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry in plan.entries:
            document = entry.document
            size = document["width"], document["height"]
            suffix, image = pack(task.root / entry.image[0], size, plan.quality)
            text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
            _add(tar, f"{entry.key}{suffix}", image)
            _add(tar, f"{entry.key}.json", text)
    data = stream.getvalue()
    shard = Shard(
        file=f"{SHARDS}/{target.name}",
        part=plan.part,
        samples=len(plan.entries),
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    write_atomically(target, data)
    write_atomically(_record_file(task.folder, plan), _RECORD.dump_json(Record(plan.digest(), shard)))
    return shard


def finished_shard(folder: Path, plan: ShardPlan) -> Shard | None:
    """The shard, if an earlier run wrote it by this very plan and it is whole; else None."""
    try:
        record = _RECORD.validate_json(_record_file(folder, plan).read_bytes())
        whole = sha256_of_file(folder / record.shard.file) == record.shard.sha256
    except (FileNotFoundError, ValidationError):
        return None
    return record.shard if whole and record.plan == plan.digest() else None


def _record_file(folder: Path, plan: ShardPlan) -> Path:
    return folder / RECORDS / f"{plan.name}.json"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    # TarInfo's defaults name no user, no time and one mode: nothing of the machine gets into the shard.
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
