"""What the page shows, from the fleet's messages: a reducer with a clock given, without broker and disk.

The fleet itself is `edge.fleet`; here its events become lines that an operator works through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal, TypeVar

from console.alerts import AlertKey, FoldedAlert
from console.board import AlertBoard
from console.devices import DeviceLine
from console.lists import PromptLists
from edge.fleet import MAX_PAYLOAD, FleetState, Received
from firmware_cfg.messages import (
    AlertAck,
    AlertAct,
    Counts,
    Event,
    Health,
    PromptsAck,
    PromptsState,
    ReplayAnswer,
    ReplayRequest,
    Status,
)
from firmware_cfg.messages.events import AlertFacts
from firmware_cfg.topics import ParsedTopic, Topics

Said = TypeVar("Said", PromptsAck, ReplayAnswer)
Part = Literal["alerts", "telemetry"]
"""The two subscriptions of a control room: what is kept for it while it is away, and what is not."""

_ON_ITS_WAY_S = 5.0
"""So long before this room was connected an event may have been sent that did not wait for it."""
_OWN_CHANNELS = frozenset({"alerts/ack", "events/replayed", "prompts/ack", "prompts/desired", "prompts/list"})


class ControlRoom:
    """Devices, alerts, and what is wrong. Whoever shows it compares `version`, which rises with any change.

    Attributes:
        devices: by name; each with the version of its latest change, as the alerts.
        connected, connection_problem: of the broker.
        history_problem: why the history is not written just now; empty while it is.
        lost: messages, rows of the history and alerts that went for want of room since the console began.
        prompt_lists: which list every drone flies, and which one it should.
        on_list_answer: told of each answer to a list that was sent.
    """

    def __init__(self, kept: Callable[[str], bool] = lambda event_id: False) -> None:
        """`kept` tells whether the history has an event, by its id: an old one is then not told again."""
        self.version = 0
        self._kept = kept
        self._began: datetime | None = None  # when the broker was asked for alerts last
        self.devices: dict[str, DeviceLine] = {}
        self.connected = False
        self.connection_problem = "connecting"
        self.history_problem = ""
        self.lost = 0
        self._fleet = FleetState()
        self.prompt_lists = PromptLists()
        self.on_list_answer: Callable[[PromptsAck], None] = lambda ack: None
        self._board = AlertBoard(self._touch, lambda device: self.devices[device].away)

    @property
    def alerts(self) -> Mapping[AlertKey, FoldedAlert]:
        """By device and alert id: active ones, and those that ended lately."""
        return self._board.alerts

    @property
    def active(self) -> tuple[FoldedAlert, ...]:
        """Alerts that are raised and not cleared."""
        return tuple(self._board.active.values())

    @property
    def dropped_alerts(self) -> int:
        """Alerts that are not shown because there are too many."""
        return self._board.dropped

    @property
    def rung(self) -> int:
        """How often an alert has begun to ring."""
        return self._board.rung

    @property
    def lists(self) -> Mapping[str, str]:
        """The text of the prompt list in force, by device, where it is known."""
        return self.prompt_lists.in_force

    @property
    def rejected(self) -> int:
        """Messages that were not what their topic promises."""
        return self._fleet.rejected

    @property
    def problem(self) -> str:
        """What was wrong with the latest of those."""
        return self._fleet.problem

    def tell(
        self,
        *,
        connected: bool | None = None,
        connection_problem: str | None = None,
        history_problem: str | None = None,
        lost: int | None = None,
    ) -> None:
        """Something about the room itself has changed, or not."""
        told = {
            "connected": connected,
            "connection_problem": connection_problem,
            "history_problem": history_problem,
            "lost": lost,
        }
        for name, value in told.items():
            if value is not None and value != getattr(self, name):
                setattr(self, name, value)
                self._touch()

    def restore(
        self, events: Iterable[tuple[datetime, Event]], acts: Iterable[tuple[AlertKey, AlertAct]]
    ) -> None:
        """Take in what the history kept: (when it came, event), oldest first, and what operators did."""
        for at, event in events:
            if self._fleet.restore(event):
                self._fold(event, at)
        for key, act in acts:
            self.act(key, act, act.at)
        self._board.doubt_all(None)

    def begin(self, part: Part, at: datetime) -> None:
        """The broker was asked for this part: all of it that it retains follows."""
        self._fleet.start_over(alerts=part == "alerts", counts=part == "telemetry")
        if part == "alerts":
            self._began = at
            self._board.doubt_all(at)

    def lost_connection(self) -> None:
        """Whatever is silent from here on is not gone."""
        self._board.trust()

    def apply(self, topic: str, payload: bytes, retained: bool, *, at: datetime) -> Received | None:
        """Take in one message that came at `at`. Returns what was news of the fleet, or None.

        Never raises for what a publisher sent.
        """
        parsed = Topics.parse(topic)
        if parsed is not None and parsed.channel in _OWN_CHANNELS:
            try:
                self._take_own(parsed, payload, retained, at)
            except ValueError as error:
                self._fleet.reject(topic, str(error))
                self._touch()
            return None
        rejected = self._fleet.rejected
        received = self._fleet.apply(topic, payload, retained, at=at)
        if received is None:
            if self._fleet.rejected != rejected:
                self._touch()
            return None
        self._show(received, at)
        return received

    def act(self, key: AlertKey, act: AlertAct, now: datetime) -> None:
        """An operator did something about an alert that is shown."""
        self._board.act(key, act, now)

    def tick(self, now: datetime) -> None:
        """Once a second: mutes end, and what the broker did not name again is over."""
        self._board.tick(now)

    def replays(self, now: datetime) -> Iterator[tuple[str, ReplayRequest]]:
        """What to ask drones for that are there; asking is noted."""
        for name, line in self.devices.items():
            if line.missed.open and not line.away:
                for request in line.missed.due(now):
                    self._touch(line)
                    yield name, request

    def untold(self, now: datetime) -> Iterator[tuple[AlertKey, AlertAct]]:
        """Acts that a drone has not kept with its alert, and is there to be told of (again)."""
        return self._board.untold(now)

    def wanted_sha256(self, device: str) -> str | None:
        """Of the list that a drone should have: the one that it was sent and has not answered, or its own."""
        line = self.devices.get(device)
        state = None if line is None or line.prompts is None else line.prompts.sha256
        return self.prompt_lists.pending(device) or state

    def note_text(self, data: bytes) -> str:
        """Keep the text of a list; returns its hash. Raises ValueError where it is no text."""
        return self.prompt_lists.note(data)

    def changed(self, device: str) -> None:
        """What the room shows of a device has changed elsewhere."""
        self._touch(self.devices.get(device))

    def _take_own(self, topic: ParsedTopic, payload: bytes, retained: bool, at: datetime) -> None:
        """What `edge.fleet` does not know. Raises ValueError, with one line."""
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"{len(payload)} bytes are more than {MAX_PAYLOAD}")
        line = self.devices.get(topic.device)
        if topic.channel == "alerts/ack":
            self.act((topic.device, str(topic.item)), AlertAck.from_payload(payload).act, at)
            return
        if topic.channel == "prompts/desired":
            online = line is not None and line.state == "online"
            self.prompt_lists.desire(topic.device, payload, retained=retained, online=online)
        elif topic.channel == "prompts/list":
            self.prompt_lists.note(payload)
        elif topic.channel == "prompts/ack":
            ack = _own(PromptsAck.from_payload(payload), topic)
            self.prompt_lists.acknowledged(ack)
            self.on_list_answer(ack)
            if line is not None:
                line.ack = ack
        else:
            answer = _own(ReplayAnswer.from_payload(payload), topic)
            if line is not None:
                line.missed.answered(answer)
        self._touch(line)

    def _show(self, received: Received, at: datetime) -> None:
        message, device = received.message, received.topic.device
        line = self._line(device)
        waited = isinstance(message, Event) and self._waited(message, line)
        self._touch(line)
        if isinstance(message, Event) and message.historical and self._kept(message.event_id):
            line.missed.saw(message.boot_id, message.seq, at, historical=True)
        elif isinstance(message, AlertFacts):
            self._fold(message, at, queued=waited)
        elif message is None and received.topic.channel == "alerts":
            self._board.doubt((device, str(received.topic.item)), at)
        elif isinstance(message, Status):
            self._board.ring_of(device, at)
            if message.state == "online":
                self.prompt_lists.came(device)
        elif isinstance(message, PromptsState):
            self.prompt_lists.flies(device, message)
        if received.retained or received.lost:
            return
        if isinstance(message, (Counts, Health)) or (
            isinstance(message, Event) and not message.historical and not waited
        ):
            line.heard(message, at)

    def _fold(self, facts: AlertFacts, at: datetime, *, queued: bool = False) -> None:
        line = self._line(facts.device)
        if isinstance(facts, Event) and line.missed.saw(
            facts.boot_id, facts.seq, at, historical=facts.historical
        ):
            self._touch(line)
        if facts.pose is not None:
            live = isinstance(facts, Event) and not (facts.historical or queued)
            line.saw_pose(facts.pose, facts.observed_at, live=live)
        self._board.fold(facts, at, queued=queued)

    def _waited(self, event: Event, line: DeviceLine) -> bool:
        """Whether the broker kept it for this room, which was away; the retained copy tells what goes on."""
        if self._began is None:
            return False
        sent_at = event.sent_at.timestamp() - (line.clock_off_s or 0.0)
        return sent_at < self._began.timestamp() - _ON_ITS_WAY_S

    def _line(self, device: str) -> DeviceLine:
        line = self.devices.get(device)
        if line is None:
            line = self.devices[device] = DeviceLine(device, self._fleet.devices[device])
        return line

    def _touch(self, changed: DeviceLine | FoldedAlert | None = None) -> None:
        self.version += 1
        if changed is not None:
            changed.version = self.version


def _own(message: Said, topic: ParsedTopic) -> Said:
    if message.device != topic.device:
        raise ValueError(f"speaks for another device, {message.device}")
    return message
