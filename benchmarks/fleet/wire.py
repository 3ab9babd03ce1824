"""The packets of MQTT 5 and 3.1.1 that a drone and its control room exchange, as bytes.

A client library spends more on a message than the broker does: a thousand of them would measure themselves.
tests/system/test_fleet_generator.py holds these packets to those that the daemon's own connection writes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Version = Literal["5", "3.1.1"]

CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 0x20, 0x30, 0x40, 0x90, 0xB0, 0xD0, 0xE0
PINGREQ = b"\xc0\x00"
GOODBYE = b"\xe0\x00"
_SESSION_EXPIRY, _RECEIVE_MAXIMUM, _MAXIMUM_PACKET = 0x11, 0x21, 0x27
_RETAIN, _NO_LOCAL = 0x01, 0x04


@dataclass(frozen=True, slots=True)
class Hello:
    """A CONNECT.

    Args:
        will: topic and payload of the last will: QoS 1, retained.
        keep_session: seconds for which the broker keeps the session; None: it begins and ends with the
            connection.
        max_packet: the largest packet that is taken, bytes; MQTT 5 only.
    """

    client_id: str
    keepalive: int
    will: tuple[str, bytes] | None = None
    keep_session: int | None = None
    max_packet: int | None = None
    username: str | None = None
    password: bytes | None = None


def connect(hello: Hello, version: Version) -> bytes:
    """The CONNECT packet."""
    five = version == "5"
    flags = 0x02 if hello.keep_session is None else 0
    body = [b"\x00\x04MQTT", b"\x05" if five else b"\x04", b"", struct.pack("!H", hello.keepalive)]
    if five:
        properties = b""
        if hello.keep_session is not None:
            properties += struct.pack("!BI", _SESSION_EXPIRY, hello.keep_session)
        if hello.max_packet is not None:
            properties += struct.pack("!BI", _MAXIMUM_PACKET, hello.max_packet)
        body.append(_number(len(properties)) + properties)
    body.append(_text(hello.client_id.encode()))
    if hello.will is not None:
        flags |= 0x04 | 0x08 | 0x20  # a will, QoS 1, retained
        topic, payload = hello.will
        body += [b"\x00" if five else b"", _text(topic.encode()), _text(payload)]
    if hello.username is not None:
        flags |= 0x80
        body.append(_text(hello.username.encode()))
    if hello.password is not None:
        flags |= 0x40
        body.append(_text(hello.password))
    body[2] = bytes([flags])
    return _packet(0x10, *body)


def publish(topic: bytes, payload: bytes, mid: int, version: Version, *, retain: bool = False) -> bytes:
    """A PUBLISH with QoS 1."""
    middle = struct.pack("!H", mid) + (b"\x00" if version == "5" else b"")
    return _packet(0x33 if retain else 0x32, _text(topic), middle, payload)


def subscribe(mid: int, filters: Sequence[str], version: Version, *, own: bool = True) -> bytes:
    """A SUBSCRIBE with QoS 1; without `own`, MQTT 5 leaves out what this client publishes."""
    five = version == "5"
    options = bytes([1 | (0 if own or not five else _NO_LOCAL)])
    wanted = [_text(each.encode()) + options for each in filters]
    return _packet(0x82, struct.pack("!H", mid), b"\x00" if five else b"", *wanted)


def unsubscribe(mid: int, filters: Sequence[str], version: Version) -> bytes:
    """An UNSUBSCRIBE."""
    gone = [_text(each.encode()) for each in filters]
    return _packet(0xA2, struct.pack("!H", mid), b"\x00" if version == "5" else b"", *gone)


def puback(mid: bytes) -> bytes:
    """The PUBACK for the packet id `mid`, two bytes as they came."""
    return b"\x40\x02" + mid


@dataclass(frozen=True, slots=True)
class Delivery:
    """A PUBLISH that came. `mid`: the packet id, two bytes; empty with QoS 0."""

    topic: bytes
    payload: bytes
    mid: bytes
    retained: bool


def delivery(first: int, body: bytes, version: Version) -> Delivery:
    """The PUBLISH with the first byte `first`; `body` is what follows its length."""
    at = 2 + int.from_bytes(body[:2], "big")
    topic, mid = body[2:at], b""
    if first & 0x06:
        mid = body[at : at + 2]
        at += 2
    if version == "5":
        length, at = _read_number(body, at)
        at += length
    return Delivery(topic, body[at:], mid, bool(first & _RETAIN))


def split(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Takes whole packets out of `buffer`: the first byte and what follows the length."""
    at, end = 0, len(buffer)
    try:
        while end - at >= 2:
            length, start = buffer[at + 1], at + 2
            if length >= 0x80:
                try:
                    length, start = _read_number(buffer, at + 1)
                except IndexError:
                    return
            if start + length > end:
                return
            first, body = buffer[at], bytes(buffer[start : start + length])
            at = start + length
            yield first, body
    finally:
        del buffer[:at]


def refusal(connack: bytes) -> int:
    """The reason code of a CONNACK, 0 where the broker accepts."""
    return connack[1]


def receive_maximum(connack: bytes, version: Version, default: int) -> int:
    """How many messages without a PUBACK the broker bears, at most `default`."""
    if version == "3.1.1" or len(connack) < 4:
        return default
    length, at = _read_number(connack, 2)
    end = at + length
    while at < end:
        name = connack[at]
        at += 1
        if name == _RECEIVE_MAXIMUM:
            return min(default, int.from_bytes(connack[at : at + 2], "big"))
        size = _SIZES.get(name)
        if size is None:  # a string, or two; what follows does not matter here
            return default
        at += size
    return default


# Bytes of the properties of a CONNACK whose size is fixed.
_SIZES = {0x11: 4, 0x13: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1}


def _packet(first: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes([first]) + _number(len(body)) + body


def _text(value: bytes) -> bytes:
    return struct.pack("!H", len(value)) + value


def _number(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    found = bytearray()
    while True:
        value, low = divmod(value, 0x80)
        found.append(low | (0x80 if value else 0))
        if not value:
            return bytes(found)


def _read_number(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """A number of variable length, and where the next byte is."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
