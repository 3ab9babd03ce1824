"""`prompts/state` (retained) and `prompts/ack` (the answer to `prompts/set` and `prompts/desired`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from firmware_cfg.messages.base import Message, MessagePart, Name, Sha256, Unit, UtcTime, Whole

PromptSource = Literal["file", "mqtt", "rollback"]
MOST_ERRORS = 100
"""Errors that one answer names; a list with more is no list that somebody mistyped."""


class PromptInUse(MessagePart):
    """One prompt of the list in force."""

    id: Name = Field(description="Id of the prompt.")
    kind: Literal["object", "scene"] = Field(description="Places in the frame, or the frame as a whole.")
    text: tuple[str, ...] = Field(description="What is looked for, in the engineer's words.")
    threshold: Unit = Field(description="Threshold in force, on the calibrated score.")
    threshold_from: Literal["list", "null_bank"] = Field(
        description="Whether the list gave it, or the model."
    )


class PromptsState(Message):
    """The prompt list in force."""

    sha256: Sha256 = Field(description="Of the bytes of the list.")
    applied_at: UtcTime = Field(description="When it came into force, UTC.")
    source: PromptSource = Field(
        description="Whether it was flashed, sent, or called back with `remoteclip prompts rollback`."
    )
    prompts: tuple[PromptInUse, ...] = Field(description="In the order of the list.")
    background: Whole = Field(0, description="Number of background sentences.")


class PromptsProblem(MessagePart):
    """One error in a list that was refused."""

    line: Whole = Field(description="From 1; 0 when the list as a whole is meant.")
    column: Whole = Field(description="From 1; 0 when the list as a whole is meant.")
    problem: str = Field(description="What is wrong.")
    mend: str = Field("", description="What to do about it.")


class PromptsAck(Message):
    """The answer to a list that was sent: applied, or refused with every error; then nothing changed."""

    applied: bool = Field(description="Whether the list that was sent is now in force.")
    received_sha256: Sha256 = Field(description="Of the bytes that were sent.")
    sha256: Sha256 = Field(description="Of the list that is in force now.")
    kept: bool = Field(
        True,
        description="Whether the list in force is on disk; one that is not ends with the next restart.",
    )
    errors: tuple[PromptsProblem, ...] = Field(
        (),
        max_length=MOST_ERRORS,
        description=f"In the order of the list, at most {MOST_ERRORS}; empty when applied.",
    )
    more_errors: Whole = Field(0, description="Errors that there are beside those.")
