"""A set of blind pairs as a file: what a run mined, or a person made of it on the review page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.files import write_atomically
from training.blindpairs.questions import Pair, Question
from training.errors import DataError
from training.readers.files import load_json

SCHEMA: Literal["remoteclip/blindpairs/1"] = "remoteclip/blindpairs/1"

Cosine = Annotated[float, Field(ge=-1.001, le=1.001)]


@dataclass(frozen=True, slots=True)
class BlindPairSet:
    """Pairs, what is asked about them, and how they were found.

    folder: of the images; where the file has a relative one, it counts from the file's own folder. model,
    encoder: names of what the pairs were mined with; t1, t2: thresholds on their cosines.
    """

    folder: Path
    model: str
    encoder: str
    t1: float
    t2: float
    pairs: tuple[Pair, ...]
    questions: tuple[Question, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Pair(_Strict):
    first: str = Field(min_length=1)
    second: str = Field(min_length=1)
    model: Cosine
    encoder: Cosine

    @model_validator(mode="after")
    def _below(self) -> _Pair:
        for name in (self.first, self.second):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{name} does not lie below the set's folder")
        if self.first == self.second:
            raise ValueError(f"{self.first} is no pair with itself")
        return self


class _Question(_Strict):
    pair: int = Field(ge=0)
    pattern: str = Field(min_length=1)
    first: str = Field(min_length=1)
    second: str = Field(min_length=1)

    @model_validator(mode="after")
    def _different(self) -> _Question:
        if self.first.strip() == self.second.strip():
            raise ValueError("both statements are the same")
        return self


class _Set(_Strict):
    schema_: Literal["remoteclip/blindpairs/1"] = Field(alias="schema")
    folder: str
    model: str
    encoder: str
    t1: float
    t2: float
    pairs: list[_Pair]
    questions: list[_Question]


def is_set_file(path: Path) -> bool:
    """Whether a path is a set rather than a folder or an annotation file. Raises DataError, MissingSplit."""
    if path.suffix.lower() != ".json" or path.is_dir():
        return False
    document = load_json(path)
    return isinstance(document, dict) and str(document.get("schema", "")).startswith("remoteclip/blindpairs/")


def read_set(path: Path, folder: Path | None = None) -> BlindPairSet:
    """Read a set; folder: where its images lie now, if not where the file says.

    Raises DataError naming file and entry for what is not of this format.
    """
    try:
        document = _Set.model_validate(load_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        raise DataError(f"{path}: {where}: {problem} (export the set from its review page again)") from error
    for number, question in enumerate(document.questions):
        if question.pair >= len(document.pairs):
            pairs = len(document.pairs)
            raise DataError(f"{path}: questions.{number}.pair: {question.pair} is none of the {pairs} pairs")
    return BlindPairSet(
        folder or path.parent / document.folder,
        document.model,
        document.encoder,
        document.t1,
        document.t2,
        tuple(Pair(**pair.model_dump()) for pair in document.pairs),
        tuple(Question(**question.model_dump()) for question in document.questions),
    )


def write_set(path: Path, found: BlindPairSet) -> None:
    """Write a set atomically. Raises OSError."""
    write_atomically(path, (json.dumps(document_of(found), indent=1, ensure_ascii=False) + "\n").encode())


def document_of(found: BlindPairSet) -> dict[str, Any]:
    """The set as JSON has it."""
    return {
        "schema": SCHEMA,
        "folder": str(found.folder),
        "model": found.model,
        "encoder": found.encoder,
        "t1": found.t1,
        "t2": found.t2,
        "pairs": [asdict(pair) for pair in found.pairs],
        "questions": [asdict(question) for question in found.questions],
    }
