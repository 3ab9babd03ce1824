"""A live MAVLink link, read in a thread of its own, opened again whenever it breaks."""

from __future__ import annotations

import logging
import time
from threading import Event, Thread
from typing import TYPE_CHECKING

from edge.telemetry.base import Telemetry
from edge.telemetry.mavlink import MavlinkMessages, new_parser
from edge.telemetry.mavlink_link import Link, open_link
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    from edge.frames import Frame
    from edge.telemetry.record import FlightRecord

log = logging.getLogger(__name__)

_READ_S = 0.5
_AGAIN_S = 2.0


class LiveMavlink(Telemetry):
    """Poses by the monotonic clock: a set wall clock moves neither the frames nor the messages.

    Args:
        record: what is filled, and asked.
        address: as `open_link` takes it.
        clock_offset_s: minus the camera's own delay; what its stream lags behind beyond that is measured.
        system_id: this drone's; None: that of the first position.

    Raises:
        SourceError: the address is in use or not this machine's. A line that breaks, or an autopilot that
            does not listen yet, is tried again for ever, and logged.
        MissingExtra: pymavlink or pyserial is not installed.
    """

    def __init__(
        self, record: FlightRecord, address: str, clock_offset_s: float = 0.0, system_id: int | None = None
    ) -> None:
        super().__init__(record, clock_offset_s)
        self._address = address
        self._parser = new_parser()
        self._messages = MavlinkMessages(record, system_id)
        self._stop = Event()
        self._link: Link | None = None
        try:
            self._link = open_link(address)
        except OSError as error:
            if address.startswith("udp"):  # nobody else can mend that
                raise SourceError(f"mavlink:{address}: cannot listen: {error.strerror}") from error
            log.warning("mavlink:%s: %s; trying again every %g s", address, error, _AGAIN_S)
        self._thread = Thread(target=self._run, name="mavlink", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and gives the port back."""
        self._stop.set()
        self._thread.join()

    def _moment_s(self, frame: Frame) -> float:
        captured_ns = frame.captured_mono_ns
        return (frame.mono_ns if captured_ns is None else captured_ns) / 1e9

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._link is None:
                    self._link = open_link(self._address)
                    log.info("mavlink:%s: open again", self._address)
                self._listen(self._link)
            except OSError as error:
                log.warning("mavlink:%s: %s; trying again every %g s", self._address, error, _AGAIN_S)
                self._shut()
                self._stop.wait(_AGAIN_S)
        self._shut()

    def _listen(self, link: Link) -> None:
        while not self._stop.is_set():
            data = link.read(_READ_S)
            if not data:
                continue
            arrived_s = time.monotonic()
            for message in self._parser.parse_buffer(data) or ():
                self._messages.take(message, arrived_s)

    def _shut(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
