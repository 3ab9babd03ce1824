"""Bytes from an autopilot: UDP, TCP or a serial line. It only listens; nothing is ever sent."""

from __future__ import annotations

import socket
from typing import Protocol

from firmware_cfg.errors import MissingExtra

_MOST = 65535
_BAUD = 57600


class Link(Protocol):
    """Where bytes come from."""

    def read(self, timeout_s: float) -> bytes:
        """What has arrived, at most after `timeout_s`; empty when nothing has. Raises OSError."""

    def close(self) -> None:
        """Gives the port back."""


def open_link(address: str) -> Link:
    """`udpin:HOST:PORT` (listens; `udp:` is the same), `tcp:HOST:PORT`, or `/dev/NAME[,BAUD]`.

    Raises OSError where it cannot be opened (now), MissingExtra for a serial line without pyserial.
    """
    if address.startswith("/"):
        return _SerialLink(address)
    kind, host, port = address.split(":")
    return _TcpLink(host, int(port)) if kind == "tcp" else _UdpLink(host, int(port))


class _UdpLink:
    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host, port))
        except BaseException:
            self._socket.close()
            raise
        self.port = self._socket.getsockname()[1]

    def read(self, timeout_s: float) -> bytes:
        self._socket.settimeout(timeout_s)
        try:
            return self._socket.recv(_MOST)
        except TimeoutError:
            return b""

    def close(self) -> None:
        self._socket.close()


class _TcpLink:
    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=5.0)

    def read(self, timeout_s: float) -> bytes:
        self._socket.settimeout(timeout_s)
        try:
            data = self._socket.recv(_MOST)
        except TimeoutError:
            return b""
        if not data:
            raise ConnectionResetError("the other side hung up")
        return data

    def close(self) -> None:
        self._socket.close()


class _SerialLink:
    def __init__(self, address: str) -> None:
        try:
            import serial
        except ModuleNotFoundError as error:
            raise MissingExtra("pyserial", extra="mavlink") from error
        device, _, baud = address.partition(",")
        self._port = serial.Serial(device, int(baud) if baud else _BAUD)  # its errors are OSErrors

    def read(self, timeout_s: float) -> bytes:
        self._port.timeout = timeout_s
        data: bytes = self._port.read(max(1, self._port.in_waiting))
        return data

    def close(self) -> None:
        self._port.close()
