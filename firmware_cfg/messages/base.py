"""What all messages share."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from firmware_cfg.names import IDENTIFIER

Parsed = TypeVar("Parsed", bound="Payload")


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError as error:  # pydantic takes ValueError alone for a fault of the message
        raise ValueError("a moment before the first or after the last year that UTC has here") from error


#: A moment with a time zone, kept and written in UTC.
UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
#: A name that is also an MQTT topic level.
Name = Annotated[str, StringConstraints(pattern=f"^{IDENTIFIER.pattern}$")]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Unit = Annotated[float, Field(ge=0, le=1)]
#: A number of things, or of an event: what every reader of JSON can hold.
Whole = Annotated[int, Field(ge=0, le=(1 << 53) - 1)]
Box = tuple[Unit, Unit, Unit, Unit]


class MessagePart(BaseModel):
    """A group of fields inside a message."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )


class Payload(MessagePart):
    """Base of all that crosses the broker as JSON: which version of the schema."""

    schema_version: Literal[1] = Field(1, alias="schema", description="Version of this message's schema.")

    def to_payload(self) -> bytes:
        """UTF-8 JSON without spaces."""
        return self.model_dump_json(by_alias=True).encode()

    @classmethod
    def from_payload(cls: type[Parsed], payload: bytes | str) -> Parsed:
        """Read a payload. Raises ValueError, with one line that names the field, for anything else."""
        try:
            return cls.model_validate_json(payload, strict=True, by_alias=True, by_name=False)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = _harmless(".".join(str(part) for part in first["loc"]))
            what = f"{'an' if cls.__name__[0] in 'AEIOU' else 'a'} {cls.__name__}"
            raise ValueError(f"not {what} message: {where + ': ' if where else ''}{first['msg']}") from error


class Message(Payload):
    """Base of what a device says: which device, and when it was sent."""

    device: Name = Field(description="Name of the drone.")
    sent_at: UtcTime = Field(description="When the message was written, UTC.")


def _harmless(keys: str) -> str:
    """Keys that a stranger chose, as part of one line of a log."""
    return keys[:100] if keys.isprintable() else ascii(keys[:100])
