"""manifest.json of a model bundle: what it must say, and reading it without trusting it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from edge.prompts.rectification import RECTIFICATION_NAME
from firmware_cfg.errors import BundleError

SCHEMA = 1
MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "signature"
TOKENIZER_NAME = "tokenizer.json"
CALIBRATION_NAME = "calibration.npz"
GOLDEN_NAME = "golden.npz"
CARD_NAME = "card.md"
REQUIRED_FILES = (TOKENIZER_NAME, CALIBRATION_NAME, GOLDEN_NAME, CARD_NAME)
SIZE_MULTIPLE = 32
COPY_AGAIN = "copy the whole bundle again"

# One path part that begins with a letter or digit: a manifest can never name a file outside of its folder.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["cpu", "jetson-orin", "rtx"]


class TextTower(BaseModel):
    """The text graph of a bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(default="text.onnx", description="File name of the text graph")
    max_tokens: int = Field(ge=3, description="Longest token sequence it reads, special tokens included")
    cosine_to_float: float = Field(
        ge=-1, le=1.000001, description="Lowest cosine between this graph and its float32 original"
    )


class Gate(BaseModel):
    """How far one variant is from the float32 checkpoint, measured on a probe set when the bundle was made.

    What the probe set has nothing for is None: counts without annotated objects, recall without captions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    probe: str = Field(min_length=1, description="Name of the probe set")
    engine: str = Field(min_length=1, description="Engine that the variant ran on")
    images: int = Field(ge=1, description="Images of the probe set")
    cosine_mean: float = Field(
        description="Cosine of image embeddings with the reference's, mean over images"
    )
    cosine_min: float = Field(description="The lowest of them")
    places: int = Field(ge=0, description="Places of the reference that were looked for")
    place_cosine_mean: float | None = Field(
        default=None, description="Cosine of the embeddings of places found again, mean over places"
    )
    place_cosine_min: float | None = Field(default=None, description="The lowest of them")
    places_missing: float | None = Field(default=None, description="Share of places not found again")
    prompt_confusion: float | None = Field(
        default=None, description="Share of places found again whose best prompt is another one"
    )
    counts: int = Field(default=0, ge=0, description="Pairs of image and class that were counted")
    count_mae_reference: float | None = Field(
        default=None, ge=0, description="The reference's counting error"
    )
    count_mae: float | None = Field(default=None, ge=0, description="The variant's, a mean over pairs")
    count_mae_chance: float | None = Field(
        default=None,
        ge=0,
        description="Difference that a set of this size shows by chance: two standard errors",
    )
    counts_changed: float | None = Field(default=None, description="Share of pairs counted differently")
    captioned: int = Field(default=0, ge=0, description="Images of the probe set with sentences")
    mean_recall_reference: float | None = Field(default=None, description="The reference's, a fraction")
    mean_recall: float | None = Field(default=None, description="The variant's, a fraction")
    mean_recall_chance: float | None = Field(default=None, ge=0, description="As count_mae_chance")
    blind_pairs: int = Field(
        default=0, ge=0, description="Pairs of images with sentences that the reference finds alike"
    )
    pair_accuracy_reference: float | None = Field(
        default=None, description="Share of them that the reference tells apart by a sentence of each"
    )
    pair_accuracy: float | None = Field(default=None, description="The variant's, a fraction")
    pair_accuracy_chance: float | None = Field(default=None, ge=0, description="As count_mae_chance")
    passed: bool = Field(description="Whether every limit held")
    problems: tuple[str, ...] = Field(default=(), description="The limits that did not, a sentence each")
    remarks: tuple[str, ...] = Field(
        default=(), description="What a set of this size shows by chance, too, or this engine cannot show"
    )

    @model_validator(mode="after")
    def _passed_without_problems(self) -> Gate:
        if self.passed == bool(self.problems):
            raise ValueError("a gate is passed if and only if it has no problems")
        return self


class Manifest(BaseModel):
    """manifest.json. Write it with `write_manifest`, which fills in `files`."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True, allow_inf_nan=False
    )

    schema_version: Literal[1] = Field(default=1, alias="schema", description="Version of this format")
    model: str = Field(min_length=1, description="Model family and release, such as remoteclip-lite-1")
    tower: str = Field(min_length=1, description="Image tower")
    image_sizes: tuple[tuple[int, int], ...] = Field(
        min_length=1, description="[width, height] pairs the model was measured at; the first is the default"
    )
    stride: int = Field(default=8, gt=0, description="Pixels of the tile per cell of the dense grid")
    embedding_width: int = Field(gt=0, description="D")
    position_width: int = Field(default=16, ge=0, description="E")
    places: int = Field(default=300, gt=0, description="Most places per image")
    logit_scale: float = Field(gt=0, description="Factor on the cosine, not its logarithm")
    logit_bias: float = Field(description="Added to every dense logit inside the graph")
    opset: int = Field(gt=0, description="ONNX opset of the graphs")
    variants: dict[Precision, str] = Field(min_length=1, description="Precision -> file of the image graph")
    text: TextTower
    files: dict[str, Sha256] = Field(description="File name -> SHA-256 of its bytes")
    checkpoint_sha256: Sha256
    target: Target | None = Field(default=None, description="What it was compiled for; None: before targets")
    layout: dict[Precision, str] = Field(
        default_factory=dict, description="What is particular in a variant's graph, and for which engines"
    )
    rectified: bool = Field(
        default=False, description="Whether rectification.npz says what ReCLIP adds to every prompt's logits"
    )
    gates: dict[Precision, Gate] = Field(default_factory=dict, description="Accuracy lost by each variant")
    regressions: tuple[str, ...] = Field(
        default=(), description="What was lost and let pass by --allow-regression, a sentence each"
    )
    accuracy: dict[str, Any] = Field(default_factory=dict, description="Held-out numbers, step by step")
    licence: str = Field(min_length=1, description="Licence of the weights")
    created_at: datetime
    created_by: str = Field(min_length=1, description="Program and version that wrote the bundle")

    @property
    def row_width(self) -> int:
        """D + E, the width of a prompt row."""
        return self.embedding_width + self.position_width

    @field_validator("image_sizes")
    @classmethod
    def _sizes_fit_the_trunk(cls, sizes: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        for width, height in sizes:
            if min(width, height) <= 0 or width % SIZE_MULTIPLE or height % SIZE_MULTIPLE:
                raise ValueError(f"image size {width}x{height} is not a multiple of {SIZE_MULTIPLE}")
        return sizes

    @field_validator("files")
    @classmethod
    def _plain_file_names(cls, files: Mapping[str, str]) -> Mapping[str, str]:
        for name in files:
            if not _FILE_NAME.fullmatch(name) or name in (MANIFEST_NAME, SIGNATURE_NAME):
                raise ValueError(f"{name!r} is not the name of a bundle file")
        return files

    @model_validator(mode="after")
    def _names_only_its_files(self) -> Manifest:
        wanted = {*REQUIRED_FILES, *self.variants.values(), self.text.file}
        if missing := sorted(wanted - self.files.keys()):
            raise ValueError(f"files has no hash of {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _says_that_it_is_rectified(self) -> Manifest:
        if self.rectified != (RECTIFICATION_NAME in self.files):
            raise ValueError(f"rectified is {self.rectified}, files tell otherwise ({RECTIFICATION_NAME})")
        return self

    @model_validator(mode="after")
    def _hides_no_regression(self) -> Manifest:
        if strangers := sorted((self.gates.keys() | self.layout.keys()) - self.variants.keys()):
            raise ValueError(f"gates or layout of variants that are not there: {', '.join(strangers)}")
        failed = [name for name, gate in self.gates.items() if not gate.passed]
        if failed and not self.regressions:
            raise ValueError(f"{', '.join(failed)} failed its gate, and regressions does not say so")
        return self


def parse_manifest(data: bytes, path: Path) -> Manifest:
    """Parse manifest.json; `path` is for the messages. Raises BundleError."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:  # ValueError covers bad JSON and bad UTF-8
        raise BundleError(f"{path}: not JSON: {error} ({COPY_AGAIN})") from error
    if not isinstance(fields, dict):
        raise BundleError(f"{path}: not a JSON object ({COPY_AGAIN})")
    schema = fields.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise BundleError(
            f"{path}: schema {schema} is newer than this release reads ({SCHEMA}): update remoteclip-edge"
        )
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        raise BundleError(f"{path}: {one_line(error)} (compile the bundle again)") from error


def one_line(error: ValidationError) -> str:
    """The first problems of a validation error on one line."""
    problems = []
    for item in error.errors()[:3]:
        where = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        problems.append(f"{where}: {message}" if where else message)
    if (more := error.error_count() - len(problems)) > 0:
        problems.append(f"and {more} more")
    return "; ".join(problems)
