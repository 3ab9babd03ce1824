"""MQTT topics: `remoteclip/1/<device>/...`. The version of the messages is the second level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from firmware_cfg.names import IDENTIFIER_MEND, is_identifier

ROOT = "remoteclip/1"
#: Filter of everything that every device sends; `Topics.parse` tells the parts apart.
ALL_DEVICES = f"{ROOT}/#"

Channel = Literal[
    "status",
    "counts",
    "events",
    "events/replay",
    "events/replayed",
    "alerts",
    "alerts/ack",
    "health",
    "evidence",
    "evidence/get",
    "prompts/desired",
    "prompts/set",
    "prompts/ack",
    "prompts/state",
    "prompts/get",
    "prompts/list",
    "thumbnail",
    "thumbnail/get",
]
_PLAIN: tuple[Channel, ...] = (
    "status",
    "events",
    "events/replay",
    "events/replayed",
    "health",
    "evidence/get",
    "prompts/desired",
    "prompts/set",
    "prompts/ack",
    "prompts/state",
    "prompts/get",
    "prompts/list",
    "thumbnail",
    "thumbnail/get",
)
_WITH_ITEM: tuple[Channel, ...] = ("counts", "alerts", "evidence")


@dataclass(frozen=True, slots=True)
class ParsedTopic:
    """`item`: prompt of `counts`, alert of `alerts` and `alerts/ack`, hash of `evidence`; elsewhere None."""

    device: str
    channel: Channel
    item: str | None = None


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one device. Raises ValueError for a name that is not 1 to 64 of a-z 0-9 _ - .

    That leaves no room for `/`, `+`, `#` or NUL, so a name can never reach another device's topics.
    """

    device: str

    def __post_init__(self) -> None:
        _level("device", self.device)

    @property
    def root(self) -> str:
        """Without a slash at its end."""
        return f"{ROOT}/{self.device}"

    @property
    def status(self) -> str:
        """Retained; also the topic of the last will."""
        return f"{self.root}/status"

    def counts(self, prompt: str) -> str:
        """Retained, coalesced counts of one prompt."""
        return f"{self.root}/counts/{_level('prompt', prompt)}"

    @property
    def events(self) -> str:
        """Every raise, update and clear; append-only, not retained."""
        return f"{self.root}/events"

    @property
    def events_replay(self) -> str:
        """Asks for events that a subscriber missed; answered on `events_replayed`."""
        return f"{self.root}/events/replay"

    @property
    def events_replayed(self) -> str:
        """What became of a request on `events_replay`."""
        return f"{self.root}/events/replayed"

    def alert(self, alert_id: str) -> str:
        """Retained while the alert is active, emptied on clear."""
        return f"{self.root}/alerts/{_level('alert', alert_id)}"

    def alert_ack(self, alert_id: str) -> str:
        """What an operator does about an active alert; not retained, the drone keeps it with the alert."""
        return f"{self.alert(alert_id)}/ack"

    @property
    def health(self) -> str:
        """Retained health of the device."""
        return f"{self.root}/health"

    @property
    def prompts_desired(self) -> str:
        """Retained by the control room: what the list should be."""
        return f"{self.root}/prompts/desired"

    @property
    def prompts_set(self) -> str:
        """A list sent once, answered on `prompts_ack`."""
        return f"{self.root}/prompts/set"

    @property
    def prompts_ack(self) -> str:
        """The hash that was applied, or the errors with their lines."""
        return f"{self.root}/prompts/ack"

    @property
    def prompts_state(self) -> str:
        """Retained: the list that is in use."""
        return f"{self.root}/prompts/state"

    @property
    def prompts_get(self) -> str:
        """Asks for the list in force, of whatever payload; answered on `prompts_list`."""
        return f"{self.root}/prompts/get"

    @property
    def prompts_list(self) -> str:
        """The list in force as its author wrote it: the bytes that `prompts_state` has the hash of."""
        return f"{self.root}/prompts/list"

    @property
    def thumbnail_get(self) -> str:
        """Asks what the camera sees; answered on `thumbnail`."""
        return f"{self.root}/thumbnail/get"

    @property
    def thumbnail(self) -> str:
        """The newest frame as a small JPEG; empty before the first."""
        return f"{self.root}/thumbnail"

    @property
    def evidence_get(self) -> str:
        """Asks for one piece of evidence; answered on `evidence`."""
        return f"{self.root}/evidence/get"

    def evidence(self, sha256: str) -> str:
        """A JPEG, named by its hash."""
        return f"{self.root}/evidence/{_level('evidence', sha256)}"

    @property
    def requests(self) -> tuple[str, ...]:
        """Filters of all that is asked of this device."""
        return (
            *(self.prompts_set, self.prompts_desired, self.prompts_get, self.events_replay),
            *(self.evidence_get, self.thumbnail_get, f"{self.root}/alerts/+/ack"),
        )

    @property
    def left_behind(self) -> tuple[str, ...]:
        """Filters of what the broker may have kept of an earlier run of this device and is true no more."""
        return (f"{self.root}/alerts/+", f"{self.root}/counts/+")

    @property
    def everything(self) -> str:
        """Filter of all that belongs to this device."""
        return f"{self.root}/#"

    @staticmethod
    def parse(topic: str) -> ParsedTopic | None:
        """The parts of a topic, or None when it is not one of ours (a hostile or newer publisher's)."""
        if not topic.startswith(f"{ROOT}/"):
            return None
        device, _, rest = topic[len(ROOT) + 1 :].partition("/")
        if not is_identifier(device):
            return None
        for channel in _PLAIN:
            if rest == channel:
                return ParsedTopic(device, channel)
        for channel in _WITH_ITEM:
            head, _, item = rest.partition("/")
            if head == channel and is_identifier(item):
                return ParsedTopic(device, channel, item)
            if head == channel == "alerts" and is_identifier(alert := item.removesuffix("/ack")):
                return ParsedTopic(device, "alerts/ack", alert)
        return None


def _level(what: str, name: str) -> str:
    if not is_identifier(name):
        raise ValueError(f"{what} name {name!r} cannot be a topic level ({IDENTIFIER_MEND})")
    return name
