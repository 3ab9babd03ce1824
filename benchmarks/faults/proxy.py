"""A TCP proxy on loopback that cuts, slows and swallows: the radio link between drone and broker."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

CHUNK = 4096
TICK_S = 0.05


class Proxy:
    """Forwards `port` to the broker. All knobs may be turned while it runs, from any thread.

    up, down   whether bytes to and from the broker pass; where not they wait, and nothing is told
    refusing   new connections are cut at once
    rate       bytes a second and direction, None for as fast as it goes
    delay_s    before each piece is passed on
    """

    def __init__(self, target: int) -> None:
        self.up = self.down = True
        self.refusing = False
        self.rate: float | None = None
        self.delay_s = 0.0
        self._allowance: int | None = None
        self.cuts = 0
        self._target = target
        self._closed = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut(self) -> int:
        """Reset every connection, as when the link drops. Returns how many there were."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                _reset(end)
        self.cuts += len(pairs)
        return len(pairs)

    def cut_midst(self, allowance: int) -> None:
        """Cut the connection once, after `allowance` more bytes to the broker: inside a packet, mostly."""
        self._allowance = allowance

    @contextmanager
    def hole(self) -> Iterator[None]:
        """Inside, no byte passes in either direction and no connection ends: a link that went silent."""
        self.up = self.down = False
        try:
            yield
        finally:
            self.up = self.down = True

    @contextmanager
    def away(self) -> Iterator[None]:
        """Inside, connections are cut and new ones refused."""
        self.refusing = True
        self.cut()
        try:
            yield
        finally:
            self.refusing = False

    def close(self) -> None:
        """Stop forwarding."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self.refusing:
                _reset(client)
                continue
            try:
                broker = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                _reset(client)
                continue
            broker.settimeout(None)
            for end in (client, broker):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((client, broker))
            for source, target, way in ((client, broker, "up"), (broker, client, "down")):
                threading.Thread(target=self._pump, args=(source, target, way), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                while not getattr(self, way):
                    time.sleep(TICK_S)
                if self.delay_s:
                    time.sleep(self.delay_s)
                if way == "up" and self._allowance is not None:
                    self._allowance -= len(data)
                    if self._allowance <= 0:
                        target.sendall(data[: self._allowance - 1])
                        self._allowance = None
                        self.cut()
                        return
                self._send(target, data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _send(self, target: socket.socket, data: bytes) -> None:
        if self.rate is None:
            target.sendall(data)
            return
        piece = max(1, int(self.rate * TICK_S))
        for begin in range(0, len(data), piece):
            target.sendall(data[begin : begin + piece])
            time.sleep(TICK_S)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RD)  # wakes the thread that reads it
    with contextlib.suppress(OSError):
        end.close()
