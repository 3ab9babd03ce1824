"""A small HTTP server for Prometheus: `/metrics`, and nothing else."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import socketserver
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from firmware_cfg.errors import RemoteclipError

log = logging.getLogger(__name__)

PATH = "/metrics"
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MOST_REQUESTS = 4  # at once: whoever opens more is hung up on, so threads stay few
_PATIENCE_S = 5.0  # for a whole request and its answer, however slowly its bytes come and go
_POLL_S = 0.2


class MetricsServer:
    """A context manager that listens inside, in threads of its own. `port` 0 takes any free one.

    Raises RemoteclipError: nobody can listen on this address and port.
    """

    def __init__(self, address: str, port: int, registry: CollectorRegistry) -> None:
        try:
            self._server = _Server(address, port, registry)
        except OSError as error:
            problem = (error.strerror or str(error)).lower()
            mend = "mend the device file's metrics section"
            if error.errno == errno.EADDRINUSE:
                mend = "give each daemon a port of its own in its device file, such as metrics: {port: 9465}"
            raise RemoteclipError(f"metrics: {address} port {port}: {problem} ({mend})") from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True
        )

    def __enter__(self) -> MetricsServer:
        self._thread.start()
        log.info("metrics on http://%s:%d%s", self._server.host, self.port, PATH)
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    # Not http.server's own: that one asks the name service for its host's name, which may take long.
    allow_reuse_address = True
    request_queue_size = 32
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, port: int, registry: CollectorRegistry) -> None:
        six = ipaddress.ip_address(address).version == 6
        self.address_family = socket.AF_INET6 if six else socket.AF_INET
        self.host = f"[{address}]" if six else address
        self.registry = registry
        self._free = threading.BoundedSemaphore(_MOST_REQUESTS)
        self._until: dict[socket.socket, float] = {}  # each request that is answered -> end of patience
        super().__init__((address, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._until[request] = time.monotonic() + _PATIENCE_S
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread for it
            self._let_go(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._let_go(request)

    def service_actions(self) -> None:
        """Called by serve_forever, every _POLL_S at the least: hang up on whoever takes too long."""
        now = time.monotonic()
        for request, until in list(self._until.items()):
            if now > until:
                with suppress(OSError):  # it is closed meanwhile
                    request.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it, or writes to it

    def _let_go(self, request: Any) -> None:
        del self._until[request]
        self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("metrics: a request from %s broke off", client_address[0], exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "remoteclip"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(404, f"only {PATH} is here")
            return
        try:
            body = generate_latest(self.server.registry)
        except Exception:
            log.exception("the metrics cannot be collected")
            self.send_error(500, "the metrics cannot be collected, see the daemon's log")
            return
        self.send_response(200)
        self.send_header("Content-Type", _CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("metrics: " + format, *args)
