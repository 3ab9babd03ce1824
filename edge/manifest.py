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


class TextTower(BaseModel):
    """The text graph of a bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(default="text.onnx", description="File name of the text graph")
    max_tokens: int = Field(ge=3, description="Longest token sequence it reads, special tokens included")
    cosine_to_float: float = Field(
        ge=-1, le=1.000001, description="Lowest cosine between this graph and its float32 original"
    )


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
