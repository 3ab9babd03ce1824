"""The console at the broker: hears the fleet, hands it to room and history, and asks drones.

Two sessions, as docs/fleet.md has it: one that the broker keeps hears events, alerts and what operators do;
the other one, which starts afresh, hears everything that is retained or soon said again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Protocol

from console.history import History
from console.inbox import Inbox
from console.state import ControlRoom, Part
from edge.mqtt.messages import OutgoingMessage
from edge.mqtt.settings import BrokerSettings
from edge.mqtt.subscriber import Subscriber
from firmware_cfg.errors import BrokerError, RemoteclipError
from firmware_cfg.messages import AlertAck, Counts, Event
from firmware_cfg.topics import ROOT, Topics

log = logging.getLogger(__name__)

KEPT_FILTERS = tuple(
    f"{ROOT}/+/{each}" for each in ("events", "events/replayed", "alerts/+", "alerts/+/ack", "prompts/ack")
)
FRESH_FILTERS = tuple(
    f"{ROOT}/+/{each}"
    for each in (
        *("status", "health", "counts/+", "prompts/state", "prompts/desired", "prompts/list"),
        *("evidence/+", "thumbnail"),
    )
)
RESTORED = timedelta(days=2)
"""A console that starts shows what was so long before."""
MOST_RESTORED = 20_000
PUBLISH_PATIENCE_S = 10.0
ANSWER_PATIENCE_S = 20.0
VIEW_LASTS = timedelta(seconds=1)
_MOST_VIEWS = 50
_BATCH = 200  # messages between two looks at everything else that the event loop has to do
_MOST_WAITING = 200_000
_MOST_WAITING_BYTES = 256 * 1024 * 1024
_TICK_S = 1.0

_Raw = tuple[str, bytes, bool] | Part | None  # a part: the broker is asked for it; None: no connection


class Link(Protocol):
    """What actions need of the broker; `BrokerLink` is the true one."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Returns when the broker has it. Raises BrokerError."""

    async def ask(self, topic: str, payload: bytes, answer: str) -> bytes:
        """The next payload on `answer`. Raises BrokerError where none comes in time."""


class BrokerLink:
    """`run` in the event loop, which alone touches room and history; ends when it is cancelled."""

    def __init__(
        self,
        broker: BrokerSettings,
        room: ControlRoom,
        history: History,
        *,
        client_id: str,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Two consoles at one broker need two client ids. Nothing is connected before `run`."""
        self._room = room
        self._history = history
        self._now = now
        self._inbox: Inbox[_Raw] = Inbox(_MOST_WAITING, _MOST_WAITING_BYTES)
        self._troubles: set[type[Exception]] = set()
        self._waiting: dict[str, list[asyncio.Future[bytes]]] = {}
        self._views: OrderedDict[str, tuple[datetime, bytes]] = OrderedDict()
        self._kept = self._subscriber(broker, KEPT_FILTERS, "alerts", client_id)
        self._fresh = self._subscriber(broker, FRESH_FILTERS, "telemetry", None)

    async def run(self) -> None:
        """Until cancelled. An unreachable broker is tried again and again."""
        self._inbox.open()
        self._restore()
        self._kept.start()
        self._fresh.start()
        try:
            await asyncio.gather(self._take(), self._tend())
        finally:
            await asyncio.gather(asyncio.to_thread(self._kept.stop), asyncio.to_thread(self._fresh.stop))

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """As Link has it."""
        sent = self._fresh.publish(OutgoingMessage(topic, payload, retain=retain))
        try:
            await asyncio.wait_for(asyncio.wrap_future(sent), PUBLISH_PATIENCE_S)
        except asyncio.TimeoutError:
            raise BrokerError(
                f"{topic}: the broker did not take it within {PUBLISH_PATIENCE_S:.0f} s"
            ) from None

    async def ask(self, topic: str, payload: bytes, answer: str) -> bytes:
        """As Link has it. Who asks the same at the same time shares one question.

        A drone sends what its camera sees to all who listen, and not again at once: that may be the answer.
        """
        if answer in self._views and self._now() - self._views[answer][0] < VIEW_LASTS:
            return self._views[answer][1]
        waiting = self._waiting.setdefault(answer, [])
        mine: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        waiting.append(mine)
        try:
            if len(waiting) == 1:
                await self.publish(topic, payload)
            return await asyncio.wait_for(mine, ANSWER_PATIENCE_S)
        except asyncio.TimeoutError:
            raise BrokerError(
                f"{topic}: no answer within {ANSWER_PATIENCE_S:.0f} s (is the drone there?)"
            ) from None
        finally:
            waiting.remove(mine)
            if not waiting and self._waiting.get(answer) is waiting:
                del self._waiting[answer]

    def give_up(self) -> None:
        """The console ends: whoever waits for a drone's answer is told that none will come."""
        for waiting in self._waiting.values():
            for each in waiting:
                if not each.done():
                    each.set_exception(BrokerError("the console is being stopped"))

    def _subscriber(
        self, broker: BrokerSettings, filters: tuple[str, ...], part: Part, client_id: str | None
    ) -> Subscriber:
        return Subscriber(
            broker,
            filters,
            lambda topic, payload, retained: self._inbox.put((topic, payload, retained), len(payload)),
            client_id=client_id,
            on_connect=lambda: self._inbox.put(part),
            on_lost=lambda _problem: self._inbox.put(None),
        )

    async def _take(self) -> None:
        async for item in self._inbox.take(_BATCH):
            try:
                self._hear(item)
            except Exception as error:  # whoever wrote it, the other drones are still to be heard
                if type(error) not in self._troubles:  # a retained or repeated message must not fill the log
                    self._troubles.add(type(error))
                    log.exception("a message could not be taken in")

    def _hear(self, item: _Raw) -> None:
        now = self._now()
        if item is None:
            self._room.lost_connection()
            self._tell_state()
        elif isinstance(item, str):
            self._room.begin(item, now)
        else:
            self._hear_message(*item, now)

    def _hear_message(self, topic: str, payload: bytes, retained: bool, now: datetime) -> None:
        for waiting in self._waiting.get(topic, ()):
            if not waiting.done():
                waiting.set_result(payload)
        parsed = Topics.parse(topic)
        if parsed is not None and parsed.channel == "thumbnail":
            self._views[topic] = now, payload
            self._views.move_to_end(topic)
            if len(self._views) > _MOST_VIEWS:
                self._views.popitem(last=False)
            return
        if parsed is not None and parsed.channel == "alerts/ack":
            self._hear_ack(topic, payload, now)
            return
        received = self._room.apply(topic, payload, retained, at=now)
        if received is None:
            return
        if isinstance(received.message, Event):
            self._history.put_event(received.message, now)
        elif isinstance(received.message, Counts) and not retained:
            self._history.put_counts(received.message, now)

    def _hear_ack(self, topic: str, payload: bytes, now: datetime) -> None:
        rejected = self._room.rejected
        self._room.apply(topic, payload, False, at=now)
        if self._room.rejected == rejected:
            parsed = Topics.parse(topic)
            assert parsed is not None
            key = (parsed.device, str(parsed.item))
            if key in self._room.alerts:
                self._history.put_act(key, AlertAck.from_payload(payload).act)

    async def _tend(self) -> None:
        """Once a second what time brings: mutes that end, gaps to ask for, drones that were not told."""
        told = refused = 0
        while True:
            now = self._now()
            self._tell_state()
            self._room.tick(now)
            if self._inbox.dropped > told:
                log.warning("%d messages went unheard: they come too fast", self._inbox.dropped - told)
                told = self._inbox.dropped
            if self._room.rejected > refused:
                count, refused = self._room.rejected - refused, self._room.rejected
                log.warning("%d messages were refused, the latest: %s", count, self._room.problem)
            self._room.tell(lost=self._inbox.dropped + self._history.dropped + self._room.dropped_alerts)
            if self._room.connected:
                await self._say(
                    [
                        *(
                            (Topics(name).events_replay, each.to_payload())
                            for name, each in self._room.replays(now)
                        ),
                        *(
                            (Topics(device).alert_ack(alert), AlertAck.of(act).to_payload())
                            for (device, alert), act in self._room.untold(now)
                        ),
                    ]
                )
            await asyncio.sleep(_TICK_S)

    async def _say(self, messages: list[tuple[str, bytes]]) -> None:
        for topic, payload in messages:
            try:
                await self.publish(topic, payload)
            except BrokerError as error:
                log.warning("%s", error)  # it is tried again with a later look
                return

    def _tell_state(self) -> None:
        links = (self._kept, self._fresh)
        off = next((each for each in links if each.state != "online"), None)
        if off is None:
            self._room.tell(connected=True, connection_problem="")
        else:
            self._room.tell(connected=False, connection_problem=off.problem or "connecting")

    def _restore(self) -> None:
        """What the history knows; without it the room starts with what the broker retains."""
        now = self._now()
        try:
            events = self._history.received(now - RESTORED, MOST_RESTORED)
            self._room.restore(events, self._history.acts(now - RESTORED))
        except RemoteclipError as error:
            log.warning("%s; the page starts without it", error)
