"""`manifest.json` of a built data set: what is in it, under which terms, and the hash of every shard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.files import write_atomically
from training.errors import DataError

FILE = "manifest.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shard(_Part):
    """One tar file."""

    file: str = Field(description="below the data set's folder")
    part: Literal["train", "val"]
    samples: int
    bytes: int
    sha256: str


class Source(_Part):
    """One set of the recipe. Images read = faulty + without_caption + leaks + duplicates + train + val."""

    name: str
    format: str
    split: str
    captions_by: str
    licence: str
    source: str
    read: int = Field(description="images that the annotations name")
    faulty: int = Field(description="images that are not there, cannot be decoded, or have another size")
    without_caption: int = Field(description="images of which the annotations say nothing")
    leaks: int = Field(description="images near an evaluated one, or near one set aside")
    duplicates: int = Field(description="images near one that is kept")
    train: int
    val: int
    captions: int = Field(description="sentences of the images kept")
    boxes: int = Field(description="boxes or points of the images kept")
    classes: dict[str, int] = Field(description="boxes, or images of a scene label, by class")


COUNTS = ("read", "faulty", "without_caption", "leaks", "duplicates", "train", "val", "captions", "boxes")
"""The numbers of a Source that tables show."""


class Manifest(_Part):
    """Schema 1."""

    schema_version: Literal[1] = 1
    recipe_sha256: str
    recipe: dict[str, Any]
    sources: list[Source]
    shards: list[Shard]

    def samples(self, part: str) -> int:
        """Number of samples of a part."""
        return sum(shard.samples for shard in self.shards if shard.part == part)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json, the same bytes for the same content. Raises OSError."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False)
    write_atomically(folder / FILE, f"{text}\n".encode())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a built data set. Raises DataError where there is none, or none of this schema."""
    path = folder / FILE
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file (run: remoteclip data build RECIPE -o {folder})") from error
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path}: not a manifest of schema 1 ({first}; build the data set again)") from error
