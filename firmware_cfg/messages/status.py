"""`status`: retained; the broker itself publishes the offline one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from firmware_cfg.messages.base import Message, Name, UtcTime


class Status(Message):
    """Whether a drone is there. An `offline` counts only for the session that it names."""

    sent_at: UtcTime = Field(
        description="When the message was written, UTC. An `offline` was written when the connection was made"
        " that it ends: when the drone was lost is when the message comes."
    )
    state: Literal["online", "stopped", "offline"] = Field(
        description="online: running; stopped: ended on purpose; offline: lost, by last will."
    )
    session_id: Name = Field(
        description="New at every start of the daemon; tells a late will of an old session."
    )
    session_started_at: UtcTime = Field(description="When that session began, UTC.")
    boot_id: Name = Field(description="The outbox's boot id, to which `seq` of events belongs.")
    software: str = Field("", description="Version of remoteclip-edge.")
    reason: str = Field("", description="Why it stopped, such as `SIGTERM` or `end of source`.")
