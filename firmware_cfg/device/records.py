"""The sections `outbox` and `evidence` of a device file: how much is kept on the drone's disk."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from firmware_cfg.base import ConfigModel, Duration, between
from firmware_cfg.problems import Finding, raise_findings, stated


class Outbox(ConfigModel):
    """What waits for the broker, and what was sent. Raises and clears are kept beyond these bounds."""

    max_mib: Annotated[int, between(1, 1 << 16)] = Field(
        64,
        description="Most MiB of waiting messages; beyond it the oldest counts go, then alert updates.",
    )
    max_age: Duration = Field(72 * 3600.0, description="Waiting counts and updates that are older go.")
    history_mib: Annotated[int, between(1, 1 << 16)] = Field(
        16, description="Most MiB of events that were sent and can be asked for again (events/replay)."
    )

    @model_validator(mode="after")
    def _age_is_sensible(self) -> Outbox:
        if self.max_age < 1:
            raise_findings("Outbox", [Finding(("max_age",), stated("max_age must be between 1s and 168h"))])
        return self


class Evidence(ConfigModel):
    """Pictures of what raised an alert, kept on the drone until the control room asks for them."""

    enabled: bool = Field(True, description="Keep a picture of each raise.")
    max_kib: Annotated[int, between(4, 512, "a broker takes no giants: the shipped one 1 MiB")] = Field(
        64, description="Largest picture (JPEG), KiB."
    )
    keep_mib: Annotated[int, between(1, 1 << 20)] = Field(
        64, description="Most MiB of pictures; beyond it the oldest go."
    )
