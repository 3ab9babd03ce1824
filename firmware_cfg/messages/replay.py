"""`events/replay` (a subscriber asks for events that it missed) and `events/replayed` (the answer)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from firmware_cfg.messages.base import Message, Name, Payload, Whole

MAX_RANGES = 64
MAX_REPLAYED = 1000


def _in_order(ends: tuple[int, int]) -> tuple[int, int]:
    if ends[0] > ends[1]:
        raise ValueError(f"a range must not end before it begins, got [{ends[0]}, {ends[1]}]")
    return ends


SeqRange = Annotated[tuple[Whole, Whole], AfterValidator(_in_order)]


class ReplayRequest(Payload):
    """Events that are wanted again: a gap in `seq` says which. They come on `events`, then the answer."""

    boot_id: Name = Field(description="Of the events.")
    ranges: tuple[SeqRange, ...] = Field(
        min_length=1,
        max_length=MAX_RANGES,
        description="First and last `seq`, both wanted, of each range that is missing.",
    )
    request_id: Name | None = Field(None, description="Comes back in the answer.")


class ReplayAnswer(Message):
    """What became of a request; the events themselves were queued on `events` before it."""

    boot_id: Name = Field(description="As asked for.")
    request_id: Name | None = Field(None, description="As given.")
    sent: Whole = Field(description="Events that were queued again, marked `historical`.")
    waiting: Whole = Field(0, description="Events that were queued already and come anyway.")
    missing: tuple[SeqRange, ...] = Field((), description="What is not kept (any more).")
    left: tuple[SeqRange, ...] = Field(
        (), description=f"What was left for another request: an answer has at most {MAX_REPLAYED} events."
    )
