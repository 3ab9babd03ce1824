"""What is known of all devices, from the messages that came: a pure reducer, without broker and screen.

Every payload is hostile until its model has accepted it: what is not ours is counted and otherwise ignored.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import datetime

from firmware_cfg.messages import Alert, Counts, Event, Health, Message, PromptsState, Status
from firmware_cfg.topics import ParsedTopic, Topics

MAX_PAYLOAD = 256 * 1024  # bytes; the largest true message, an event with hundreds of boxes, is a tenth of it
MAX_DEVICES = 1000
MAX_ITEMS = 1000  # prompts, and alerts, of one device
RECENT_EVENTS = 20
_REMEMBERED_EVENTS = 10_000  # event ids that tell a second delivery

_MODELS: dict[str, type[Message]] = {
    "status": Status,
    "counts": Counts,
    "events": Event,
    "alerts": Alert,
    "health": Health,
    "prompts/state": PromptsState,
}


@dataclass(slots=True)
class DeviceState:
    """One device.

    Attributes:
        last_seen: when its latest live message came, a last will aside; None while only retained ones did.
        last_sent: when, by its own clock, it wrote the latest message that is known.
        replaced: ids of the sessions before the one that `status` tells of, the latest last.
    """

    status: Status | None = None
    counts: dict[str, Counts] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    health: Health | None = None
    prompts: PromptsState | None = None
    last_seen: datetime | None = None
    last_sent: datetime | None = None
    replaced: deque[str] = field(default_factory=lambda: deque(maxlen=8))

    @property
    def last_heard(self) -> datetime | None:
        """The latest sign of life that is known of."""
        return self.last_seen or self.last_sent

    @property
    def away(self) -> bool:
        """Whether it is known to be lost or stopped: what else is known of it was so, and may not be now."""
        return self.status is not None and self.status.state != "online"


@dataclass(frozen=True, slots=True)
class Received:
    """A message that is what it says it is; `message` is None where an alert's topic was emptied.

    `lost` tells a last will: the broker sent it, and its `sent_at` is that of the connection.
    """

    topic: ParsedTopic
    message: Message | None
    retained: bool

    @property
    def lost(self) -> bool:
        return isinstance(self.message, Status) and self.message.state == "offline"


def decode(topic: str, payload: bytes, retained: bool) -> Received | None:
    """The message, or None for a topic that is no concern of a watcher.

    Raises ValueError, with one line, for a payload that is not what its topic promises.
    """
    parsed = Topics.parse(topic)
    if parsed is None:
        raise ValueError("not a topic of remoteclip")
    model = _MODELS.get(parsed.channel)
    if model is None:
        return None
    if not payload:
        if parsed.channel != "events":
            return Received(parsed, None, retained)
        raise ValueError("empty")
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"{len(payload)} bytes are more than {MAX_PAYLOAD}")
    message = model.from_payload(payload)
    if message.device != parsed.device:
        raise ValueError(f"speaks for another device, {message.device}")
    said = None
    if isinstance(message, Alert):
        said = message.alert_id
    elif isinstance(message, Counts):
        said = message.prompt
    if said != parsed.item:
        raise ValueError("names another prompt or alert than its topic")
    return Received(parsed, message, retained)


class FleetState:
    """Devices with their counts and active alerts, and the latest events, newest last.

    `rejected` counts messages that were not what their topic promises; `problem` describes the latest.
    """

    def __init__(self) -> None:
        self.devices: dict[str, DeviceState] = {}
        self.recent: deque[Event] = deque(maxlen=RECENT_EVENTS)
        self.rejected = 0
        self.problem = ""
        self._known_events: OrderedDict[str, None] = OrderedDict()

    def start_over(self, *, counts: bool = True, alerts: bool = True) -> None:
        """Forgets what the broker retains, to be called before it is asked again after a lost connection.

        What is still so comes anew; an alert that was cleared in the meantime does not.
        """
        for device in self.devices.values():
            if counts:
                device.counts.clear()
            if alerts:
                device.alerts.clear()

    def restore(self, event: Event) -> bool:
        """Takes in an event that was kept from an earlier run; False if it is known, or there is no room."""
        if event.device not in self.devices and len(self.devices) >= MAX_DEVICES:
            return False
        self.devices.setdefault(event.device, DeviceState())
        return self._take_event(event)

    def reject(self, topic: str, problem: str) -> None:
        """Counts a message that was not what its topic promises."""
        self.rejected += 1
        self.problem = f"{topic}: {problem}"

    def apply(self, topic: str, payload: bytes, retained: bool, *, at: datetime) -> Received | None:
        """Takes in one message that came at `at`. Returns it, or None if it changed nothing.

        Never raises for what a publisher sent.
        """
        try:
            received = decode(topic, payload, retained)
            if received is None or not self._take(received):
                return None
        except ValueError as error:
            self.reject(topic, str(error))
            return None
        device = self.devices[received.topic.device]
        if not received.lost:
            if not retained:
                device.last_seen = at
            if received.message is not None:
                sent = received.message.sent_at
                device.last_sent = sent if device.last_sent is None else max(device.last_sent, sent)
        return received

    def _take(self, received: Received) -> bool:
        name, item, message = received.topic.device, received.topic.item, received.message
        device = self.devices.get(name)
        if device is None:
            if message is None:
                return False
            if len(self.devices) >= MAX_DEVICES:
                raise ValueError(f"more than {MAX_DEVICES} devices")
            device = self.devices[name] = DeviceState()
        if message is None:
            return _forget(device, received.topic)
        if isinstance(message, Status):
            return _take_status(device, message)
        if isinstance(message, Event):
            return self._take_event(message)
        if isinstance(message, Counts):
            _put(device.counts, str(item), message)
        elif isinstance(message, Alert):
            _put(device.alerts, str(item), message)
        elif isinstance(message, Health):
            device.health = message
        elif isinstance(message, PromptsState):
            device.prompts = message
        return True

    def _take_event(self, event: Event) -> bool:
        if event.event_id in self._known_events:
            return False
        self._known_events[event.event_id] = None
        if len(self._known_events) > _REMEMBERED_EVENTS:
            self._known_events.popitem(last=False)
        self.recent.append(event)
        return True


def _take_status(device: DeviceState, status: Status) -> bool:
    known = device.status
    if known is not None and status.session_id != known.session_id:
        # A clock that was put right between two sessions may say that the older one began later.
        older = status.session_started_at <= known.session_started_at
        if status.state != "online" and (older or status.session_id in device.replaced):
            return False  # the late will, or goodbye, of a session that a newer one has replaced
        device.replaced.append(known.session_id)
        device.counts.clear()  # they come anew, and the new session may have other prompts
    device.status = status
    return True


def _forget(device: DeviceState, topic: ParsedTopic) -> bool:
    if topic.channel == "alerts":
        return device.alerts.pop(str(topic.item), None) is not None
    if topic.channel == "counts":
        return device.counts.pop(str(topic.item), None) is not None
    return False


def _put(items: dict[str, Counts] | dict[str, Alert], key: str, message: Counts | Alert) -> None:
    if key not in items and len(items) >= MAX_ITEMS:
        raise ValueError(f"more than {MAX_ITEMS} of one device")
    items[key] = message  # type: ignore[assignment]
