"""From the fleet's broker to a TAK server: takes messages in and sends what is due, through every loss."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from edge.backoff import Backoff
from edge.bridge.board import Board
from edge.bridge.server import CotConnection, CotServer, load_pytak
from edge.mqtt.settings import BrokerSettings
from edge.mqtt.subscriber import Subscriber
from firmware_cfg.topics import ROOT

log = logging.getLogger(__name__)

FILTERS = (f"{ROOT}/+/events", f"{ROOT}/+/alerts/+", f"{ROOT}/+/status")
CONNECT_TIMEOUT = 10.0
SEND_TIMEOUT = 10.0
REFRESHES = 3
"""Times that a marker is told again before it would go stale."""


@dataclass(slots=True)
class BridgeReport:
    """What a bridge did: events sent, connections made to the server, and what it could not show."""

    sent: int = 0
    connections: int = 0
    without_position: int = 0
    dropped: int = 0
    rejected: int = 0


class CotBridge:
    """`run` it in an event loop; `stop` may be called from any thread and from a signal handler."""

    def __init__(
        self,
        broker: BrokerSettings,
        server: CotServer,
        *,
        client_id: str,
        cot_type: str,
        stale: timedelta,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        """A fixed `client_id` lets the broker keep what happens while no bridge runs.

        Raises UsageError, MissingExtra.
        """
        server.check()
        load_pytak()
        self.report = BridgeReport()
        self._broker = broker
        self._server = server
        self._client_id = client_id
        self._stale = stale
        self._backoff = backoff
        self._board = Board(cot_type, stale)
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()
        self._told = ""

    def run(self) -> BridgeReport:
        """Until `stop`. An unreachable broker or server is tried again and again."""
        try:
            self._loop.run_until_complete(self._run())
        finally:
            self._loop.close()
        report, board = self.report, self._board
        report.without_position, report.dropped = board.without_position, board.dropped
        report.rejected = board.rejected
        return report

    def stop(self) -> None:
        """Ask `run` to end."""
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def _run(self) -> None:
        with Subscriber(
            self._broker,
            FILTERS,
            lambda topic, payload, retained: self._post(
                lambda: self._board.take(topic, payload, retained, _now())
            ),
            client_id=self._client_id,
            on_connect=lambda: self._post(self._board.broker_connected),
            backoff=self._backoff(),
        ):
            keeping = asyncio.ensure_future(self._keep_server())
            stopping = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait({keeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if keeping.done():
                keeping.result()  # it ends by an unexpected error only
            keeping.cancel()
            await asyncio.gather(keeping, stopping, return_exceptions=True)

    def _post(self, change: Callable[[], None]) -> None:
        """Have the board changed in the loop's thread, which alone knows it."""

        def changed() -> None:
            change()
            self._news.set()

        self._loop.call_soon_threadsafe(changed)

    async def _keep_server(self) -> None:
        backoff = self._backoff()
        while True:
            try:
                connection = await asyncio.wait_for(CotConnection.open(self._server), CONNECT_TIMEOUT)
                try:
                    self._connected()
                    backoff.reset()
                    await self._serve(connection)
                finally:
                    connection.close()
                self._say("the server ended the connection")
            except asyncio.TimeoutError:
                self._say("no answer")
            except OSError as error:
                self._say(error.strerror or str(error) or type(error).__name__)
            await asyncio.sleep(backoff.next())

    async def _serve(self, connection: CotConnection) -> None:
        """Send what is due, until the server ends it. Raises OSError, asyncio.TimeoutError."""
        sending = asyncio.ensure_future(self._send(connection))
        ending = asyncio.ensure_future(connection.closed())
        try:
            done, _ = await asyncio.wait({sending, ending}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            sending.cancel()
            ending.cancel()
            await asyncio.gather(sending, ending, return_exceptions=True)

    async def _send(self, connection: CotConnection) -> None:
        pause = self._stale.total_seconds() / REFRESHES
        refresh_at = self._loop.time() + pause
        while True:
            self._news.clear()
            while (due := self._board.next_due(_now())) is not None:
                uid, events = due
                try:
                    for event in events:
                        await asyncio.wait_for(connection.send(event), SEND_TIMEOUT)
                        self.report.sent += 1
                except BaseException:  # cancelled, too: the server ended it
                    self._board.unsent(uid)
                    raise
            try:
                await asyncio.wait_for(self._news.wait(), refresh_at - self._loop.time())
            except asyncio.TimeoutError:
                self._board.refresh()
                refresh_at = self._loop.time() + pause

    def _connected(self) -> None:
        self._board.server_connected(_now())
        self.report.connections += 1
        self._told = ""
        log.info("%s: connected, %d alerts to show", self._server.url, self._board.shown)

    def _say(self, problem: str) -> None:
        """Each problem once, until there was a connection."""
        if problem != self._told:
            self._told = problem
            log.warning("%s: %s; trying again", self._server.url, problem)


def _now() -> datetime:
    return datetime.now(timezone.utc)
