"""What is written down about two slots for model bundles: which one flies, and how far it is trusted."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge.bundle.manifest import Sha256

VERSION = 1
TRIAL_STARTS = 3
"""Flights in which a bundle that was just activated must prove itself; a clean end does not count."""

Slot = Literal["a", "b"]
SLOTS: tuple[Slot, Slot] = ("a", "b")


class Installed(BaseModel):
    """The bundle in one slot; it passed its self-test here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifest_sha256: Sha256
    model: str
    installed_at: datetime


class Rollback(BaseModel):
    """The last time that a bundle was taken out of flight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifest_sha256: Sha256 = Field(description="Of the bundle that was left")
    reason: str
    at: datetime
    automatic: bool


class SlotState(BaseModel):
    """slots.json. The methods give the state after a step; none of them writes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    active: Slot | None = Field(None, description="The slot that flies from the next start on")
    previous: Slot | None = Field(None, description="The slot to go back to")
    starts_left: int | None = Field(
        None, ge=0, le=TRIAL_STARTS, description="Of a bundle on trial: how often it may still start"
    )
    installed: dict[Slot, Installed] = Field(default_factory=dict)
    rolled_back: Rollback | None = None

    @model_validator(mode="after")
    def _speaks_of_what_is_installed(self) -> SlotState:
        if {self.active, self.previous} - {None} - self.installed.keys():
            raise ValueError("active or previous is a slot in which nothing is installed")
        if self.active is None and self.previous is not None:
            raise ValueError("previous without active")
        if self.active is not None and self.active == self.previous:
            raise ValueError("active and previous are the same slot")
        if self.starts_left is not None and self.previous is None:
            raise ValueError("on trial, but there is no slot to go back to")
        return self

    @property
    def idle(self) -> Slot:
        """The slot that an install may overwrite."""
        return "b" if self.active == "a" else "a"

    @property
    def on_trial(self) -> bool:
        """Whether the active bundle has yet to prove itself."""
        return self.starts_left is not None

    def with_installed(self, slot: Slot, installed: Installed | None) -> SlotState:
        """A slot that is not active holds this bundle now; None: nothing that could fly."""
        others = {name: item for name, item in self.installed.items() if name != slot}
        now = others if installed is None else {**others, slot: installed}
        return self._with(installed=now, previous=None if self.previous == slot else self.previous)

    def activated(self) -> SlotState:
        """The idle slot flies, on trial where there is a bundle to go back to."""
        starts = None if self.active is None else TRIAL_STARTS
        return self._with(active=self.idle, previous=self.active, starts_left=starts)

    def started(self) -> SlotState:
        """One start of the trial is used up."""
        return self._with(starts_left=None if self.starts_left is None else max(0, self.starts_left - 1))

    def given_back(self) -> SlotState:
        """A start ended well, but too early to prove anything."""
        starts = self.starts_left
        return self._with(starts_left=None if starts is None else min(TRIAL_STARTS, starts + 1))

    def confirmed(self) -> SlotState:
        """The bundle on trial has proved itself."""
        return self._with(starts_left=None)

    def fallen_back(self, reason: str, *, automatic: bool) -> SlotState:
        """The previous slot flies again; the one that was left stays installed."""
        if self.active is None or self.previous is None:
            raise ValueError("there is no slot to go back to")
        left = Rollback(
            manifest_sha256=self.installed[self.active].manifest_sha256,
            reason=reason,
            at=utc_now(),
            automatic=automatic,
        )
        return self._with(active=self.previous, previous=None, starts_left=None, rolled_back=left)

    def _with(self, **changes: object) -> SlotState:
        return SlotState.model_validate({**dict(self), **changes})


def utc_now() -> datetime:
    """The present, to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0)
