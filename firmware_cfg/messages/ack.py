"""`alerts/<alert_id>/ack`: what an operator did about an alert; the drone keeps it with the alert."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from firmware_cfg.messages.base import MessagePart, Payload, UtcTime

MOST_ACTS = 32
"""Acts that a retained alert carries, the newest of them; a history keeps them all."""
MAX_TEXT = 1000  # characters of a comment

Who = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class AlertAct(MessagePart):
    """One thing that an operator did. It changes who is told of the alert, never what the drone reports."""

    action: Literal["acknowledge", "mute", "comment"] = Field(
        description="acknowledge: somebody takes care of it; mute: nobody shall hear it until `until`."
    )
    by: Who = Field(description="Name of the operator.")
    at: UtcTime = Field(description="When, by the control room's clock, UTC.")
    until: UtcTime | None = Field(None, description="End of a mute, UTC; None with other actions.")
    text: str = Field("", max_length=MAX_TEXT, description="The comment, or why it was muted.")


class AlertAck(AlertAct, Payload):
    """An act on its way to the drone, and to everybody else who listens. Not retained."""

    @classmethod
    def of(cls, act: AlertAct) -> AlertAck:
        """The message that tells `act`."""
        return cls(**{name: getattr(act, name) for name in AlertAct.model_fields})

    @property
    def act(self) -> AlertAct:
        """What it tells."""
        return AlertAct(**{name: getattr(self, name) for name in AlertAct.model_fields})


@dataclass(frozen=True, slots=True)
class Handling:
    """What the acts of an alert come to: the first to acknowledge it counts, and the latest mute."""

    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    muted_by: str | None = None
    muted_until: datetime | None = None
    comments: tuple[tuple[datetime, str, str], ...] = ()

    def muted(self, now: datetime) -> bool:
        """Whether it shall make no sound at `now`."""
        return self.muted_until is not None and now < self.muted_until


def merged(known: Iterable[AlertAct], more: Iterable[AlertAct]) -> tuple[AlertAct, ...]:
    """Both, each act once, in the order in which they were done; beyond MOST_ACTS the oldest comments go.

    Equal whatever the order and number of the deliveries, so that all who hear the same acts agree.
    """
    acts = sorted({*known, *more}, key=lambda act: (act.at, act.by, act.action, act.text, str(act.until)))
    if len(acts) <= MOST_ACTS:
        return tuple(acts)
    standing = _standing(acts)
    room = MOST_ACTS - len(standing)
    rest = [act for act in acts if act not in standing]
    kept = standing | set(rest[len(rest) - room :])
    return tuple(act for act in acts if act in kept)


def handling(acts: Iterable[AlertAct]) -> Handling:
    """What the acts, in their order, come to."""
    told = Handling()
    for act in acts:
        if act.action == "acknowledge" and told.acknowledged_at is None:
            told = replace(told, acknowledged_by=act.by, acknowledged_at=act.at)
        elif act.action == "mute":
            told = replace(told, muted_by=act.by, muted_until=act.until)
        if act.text:
            told = replace(told, comments=(*told.comments, (act.at, act.by, act.text)))
    return told


def _standing(acts: list[AlertAct]) -> set[AlertAct]:
    """The acts that decide who is told: the first acknowledgement and the latest mute."""
    first = next((act for act in acts if act.action == "acknowledge"), None)
    latest = next((act for act in reversed(acts) if act.action == "mute"), None)
    return {act for act in (first, latest) if act is not None}
