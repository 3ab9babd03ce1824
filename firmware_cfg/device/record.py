"""The section `record` of a device file: runs that are kept for search and for comparing flights."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from firmware_cfg.base import ConfigModel, Duration, WrittenPath, between
from firmware_cfg.problems import Finding, raise_findings, stated


class Record(ConfigModel):
    """Each flight as a run: every frame's embedding, telemetry and places, and small pictures."""

    folder: WrittenPath | None = Field(
        None, description="Where the runs are kept; default: runs, in state_dir."
    )
    keep_mib: Annotated[int, between(1, 1 << 20)] = Field(
        1024,
        description="Most MiB of runs; beyond it the oldest go. At 10 frames a second an hour is 80 to 600.",
    )
    thumbnail_every: Duration = Field(2.0, description="How often a small picture of a frame is kept.")

    @model_validator(mode="after")
    def _interval_is_sensible(self) -> Record:
        if not 0.1 <= self.thumbnail_every <= 3600:
            error = stated("thumbnail_every must be between 100ms and 1h")
            raise_findings("Record", [Finding(("thumbnail_every",), error)])
        return self
