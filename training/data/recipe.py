"""The data recipe: one YAML file says which sets, which words and which rules made a set of shards."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from firmware_cfg.base import ConfigModel, ExistingFile, Identifier
from firmware_cfg.located_yaml import load_model
from firmware_cfg.problems import Finding, must, raise_findings, stated
from training.data.caption_options import CaptionOptions, Phrases, Text
from training.readers.files import read_lines

Captions = Literal["b2c", "m2b+b2c", "captions", "class"]


def _below_root(value: str) -> str:
    if Path(value).is_absolute() or ".." in Path(value).parts:
        raise must("be a folder below the data root")
    return value


def _pattern(value: str) -> str:
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise must("be a regular expression", str(error)) from error
    if groups != 1:
        raise must("have one pair of brackets, around what names the group")
    return value


Folder = Annotated[str, Field(min_length=1), AfterValidator(_below_root)]


class Validation(ConfigModel):
    """Which images of a set are set aside: exactly one of `split`, `hashes` and `share`."""

    split: Text | None = Field(default=None, description="another split of the set, as it is")
    hashes: ExistingFile | None = Field(
        default=None,
        description="name hashes, one a line: the first 16 hex digits of the SHA-256 of a file's name",
    )
    share: Annotated[float, Field(gt=0, le=0.5)] | None = Field(
        default=None, description="this share of the images (or groups), chosen by the hash of their names"
    )
    group: Annotated[str, AfterValidator(_pattern)] | None = Field(
        default=None,
        description="with `share`: a regular expression whose brackets find the group in a file's stem, so "
        "that frames of one flight stay together",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Validation:
        found: list[Finding] = []
        if sum(way is not None for way in (self.split, self.hashes, self.share)) != 1:
            found.append(Finding((), stated("validation takes exactly one of split, hashes and share")))
        if self.group is not None and self.share is None:
            found.append(Finding(("group",), stated("group goes with share only")))
        raise_findings("Validation", found)
        return self

    def listed(self) -> frozenset[str]:
        """The name hashes of the file. Raises DataError where it cannot be read."""
        return (
            frozenset(word for line in read_lines(self.hashes) for word in line.split())
            if self.hashes
            else frozenset()
        )


class DataSet(ConfigModel):
    """One annotated set."""

    name: Identifier
    folder: Folder | None = Field(default=None, description="below the data root; default: the name")
    format: Text | None = Field(default=None, description="name of the reader; default: found by the files")
    split: Text = "train"
    captions: Captions = Field(
        description="b2c: Box-to-Caption | m2b+b2c: boxes of masks first | captions: the set's own | "
        "class: sentences of the scene label"
    )
    classes: dict[Text, Phrases] = Field(
        default={},
        description="class or scene label -> nouns for it, in the singular; classes left out are not spoken "
        "of. Default: every class by its own name",
    )
    areas: dict[Text, Phrases] = Field(
        default={}, description="mask classes that are named but never counted -> nouns for them"
    )
    validation: Validation | None = None
    licence: Text
    source: Text = Field(description="where the set comes from: title, paper or address")

    @model_validator(mode="after")
    def _areas_of_masks(self) -> DataSet:
        found: list[Finding] = []
        if self.areas and self.captions != "m2b+b2c":
            found.append(Finding(("areas",), stated("areas go with captions: m2b+b2c only")))
        twice = sorted(self.areas.keys() & self.classes.keys())
        if twice:
            found.append(Finding(("areas",), stated(f"{twice[0]} is both in classes and in areas")))
        raise_findings("DataSet", found)
        return self

    def path(self, root: Path) -> Path:
        """The set's folder."""
        return root / (self.folder or self.name)


class EvaluationSet(ConfigModel):
    """Images that no training image may be near to."""

    name: Folder
    format: Text | None = None
    splits: list[Text] = Field(
        default=[], description="read by the set's reader; default: every image file below the folder"
    )


class Duplicates(ConfigModel):
    """Near-duplicates by perceptual hash (RemoteCLIP, section III-C)."""

    distance: int = Field(default=2, ge=1, le=16, description="duplicate below this Hamming distance")
    segments: int = Field(default=4, ge=1, le=64, description="dictionaries that a hash is cut into")

    @model_validator(mode="after")
    def _nothing_missed(self) -> Duplicates:
        # Pigeonhole: `distance - 1` differing bits leave one of `distance` segments untouched.
        if self.segments < self.distance:
            raise stated(f"{self.segments} segments would miss pairs below distance {self.distance}")
        return self


class ShardOptions(ConfigModel):
    """How samples are stored."""

    samples: int = Field(default=500, ge=1, description="samples a shard")
    longest_side: int = Field(default=1024, ge=32, description="pixels; larger images are reduced")
    jpeg_quality: int = Field(default=92, ge=50, le=100, description="of images that are stored anew")


class DataRecipe(ConfigModel):
    """A run of `remoteclip data build`."""

    seed: int = Field(default=0, ge=0)
    shards: ShardOptions = ShardOptions()
    captions: CaptionOptions = CaptionOptions()
    duplicates: Duplicates = Duplicates()
    sets: list[DataSet] = Field(min_length=1)
    evaluation: list[EvaluationSet] = Field(default=[])

    @model_validator(mode="after")
    def _names_once(self) -> DataRecipe:
        seen: set[str] = set()
        found: list[Finding] = []
        for number, data_set in enumerate(self.sets):
            if data_set.name in seen:
                found.append(
                    Finding(("sets", number, "name"), must("be another one than a set before it has"))
                )
            seen.add(data_set.name)
        raise_findings("DataRecipe", found)
        return self

    def document(self) -> dict[str, Any]:
        """The recipe as JSON; files that it names by the hash of their content, so that places do not count.

        Raises DataError where such a file cannot be read.
        """
        document = self.model_dump(mode="json")
        for data_set, entry in zip(self.sets, document["sets"], strict=True):
            if data_set.validation and data_set.validation.hashes:
                text = "\n".join(sorted(data_set.validation.listed()))
                entry["validation"]["hashes"] = hashlib.sha256(text.encode()).hexdigest()
        return document

    def sha256(self) -> str:
        """Hex SHA-256 of the document, so that spelling and comments of the file do not count."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()


def load_data_recipe(path: Path) -> DataRecipe:
    """Read and validate a recipe. Raises ConfigErrors with file, line and column of every fault."""
    return load_model(path, DataRecipe)
