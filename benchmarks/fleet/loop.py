"""Thousands of MQTT connections in one thread: an epoll loop with timers, and a connection in it."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count

from benchmarks.fleet.wire import split

READ = select.EPOLLIN | select.EPOLLRDHUP
_CHUNK = 256 * 1024


class Loop:
    """`at` a time a call, and a call for every file descriptor that has something to tell."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()

    def at(self, moment: float, call: Callable[[float], None]) -> None:
        """Calls `call(now)` when the monotonic clock has come to `moment`, seconds."""
        heappush(self._timers, (moment, next(self._order), call))

    def watch(self, fd: int, call: Callable[[], None], mask: int = READ) -> None:
        """Calls `call()` for every event of `fd` in `mask`, until `forget`."""
        if fd in self._calls:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
        self._calls[fd] = call

    def forget(self, fd: int) -> None:
        """To be called before `fd` is closed."""
        del self._calls[fd]
        self._epoll.unregister(fd)

    def turn(self, longest: float) -> None:
        """Once round: what is due, then what the sockets tell; waits for that, at most `longest` seconds."""
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heappop(self._timers)[2](now)
        if self._timers:
            longest = min(longest, max(0.0, self._timers[0][0] - time.monotonic()))
        for fd, _ in self._epoll.poll(longest):
            call = self._calls.get(fd)  # an earlier call may have closed it
            if call is not None:
                call()


class Link:
    """From its making to `close`; `on_event` is to call `step`.

    Raises OSError, from every method but `close`, when the connection has ended, whoever ended it.
    """

    def __init__(
        self, loop: Loop, port: int, on_event: Callable[[], None], tls: ssl.SSLContext | None = None
    ) -> None:
        self._loop, self._on_event = loop, on_event
        self._context = tls
        self._out = bytearray()
        self._in = bytearray()
        self._mask = select.EPOLLOUT
        self.ready = False  # the TCP and TLS handshakes are over
        self._socket: socket.socket | ssl.SSLSocket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self._socket.connect_ex(("127.0.0.1", port))
        if code not in (0, errno.EINPROGRESS):
            self._socket.close()
            raise OSError(code, "connect")
        self._loop.watch(self._socket.fileno(), on_event, self._mask)

    def step(self) -> Iterator[tuple[int, bytes]]:
        """Goes on with the handshakes, sends what waits, and yields the packets that came."""
        if not self.ready and not self._shake():
            return
        self._flush()
        ended = self._receive()
        yield from split(self._in)
        if ended:
            raise OSError(errno.ECONNRESET, "closed")

    def send(self, data: bytes) -> None:
        """Sends at once what the kernel takes, and the rest from `step`."""
        self._out += data
        if self.ready:
            self._flush()

    def close(self) -> None:
        """Cuts it. May be called twice."""
        if self._socket.fileno() >= 0:
            self._loop.forget(self._socket.fileno())
            self._socket.close()

    def _shake(self) -> bool:
        if self._context is not None and not isinstance(self._socket, ssl.SSLSocket):
            self._fail_if_refused()
            # The same file descriptor, so the loop need not know.
            self._socket = self._context.wrap_socket(
                self._socket, server_hostname="127.0.0.1", do_handshake_on_connect=False
            )
        if isinstance(self._socket, ssl.SSLSocket):
            try:
                self._socket.do_handshake()
            except ssl.SSLWantReadError:
                self._watch(READ)
                return False
            except ssl.SSLWantWriteError:
                self._watch(READ | select.EPOLLOUT)
                return False
        else:
            self._fail_if_refused()
        self.ready = True
        self._watch(READ)
        return True

    def _fail_if_refused(self) -> None:
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "connect")

    def _flush(self) -> None:
        if self._out:
            try:
                sent = self._socket.send(self._out)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                sent = 0
            del self._out[:sent]
            self._watch(READ | select.EPOLLOUT if self._out else READ)

    def _receive(self) -> bool:
        """Reads what there is; True when the other side has hung up."""
        while True:
            try:
                data = self._socket.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            self._in += data
            if not data:
                return True
            if self._context is None and len(data) < _CHUNK:  # with TLS, more may be decrypted already
                return False

    def _watch(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self._loop.watch(self._socket.fileno(), self._on_event, mask)
