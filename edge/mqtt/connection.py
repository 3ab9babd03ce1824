"""One connection to a broker. The only file that knows paho, and the only one that knows MQTT's versions.

paho's own reconnecting and queueing are left unused: the outbox is the queue, and a connection that ended is
replaced by a new one (edge/mqtt/link.py).
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.mqtt.messages import (
    Acknowledged,
    Closed,
    ConnectionEvent,
    IncomingMessage,
    MessageHandler,
    OutgoingMessage,
)
from edge.mqtt.refusals import refused, unreachable
from edge.mqtt.settings import BrokerSettings, Version

log = logging.getLogger(__name__)

_PROTOCOLS: dict[Version, MQTTProtocolVersion] = {
    "5": MQTTProtocolVersion.MQTTv5,
    "3.1.1": MQTTProtocolVersion.MQTTv311,
}

CONNECT_TIMEOUT = 5.0  # seconds, for the TCP and TLS handshakes and again for the broker's CONNACK
MAX_INCOMING = 512 * 1024  # bytes, far above any prompt list or request
MAX_IN_FLIGHT = 20  # messages sent and not yet acknowledged; a broker may ask for fewer
_PACKET_OVERHEAD = 10  # bytes of a PUBLISH beside topic and payload: header, lengths, id, empty properties
_CORRELATION_OVERHEAD = 6  # what correlation data adds beside itself: name, length, a longer length of all
_TLS_ALERT = re.compile(r"failed to receive on socket: \[SSL: (\w+)\]")
SESSION_EXPIRY = 7 * 24 * 3600  # seconds for which a broker keeps messages for a subscriber that is away


@dataclass(frozen=True, slots=True)
class ConnectionPlan:
    """What every connection of one client has in common.

    Args:
        post: gets a connection's events, in its network thread.
        will: is asked anew for every connection.
        on_message: gets what the broker hands on, in the network thread.
        persistent: the broker keeps the session, and so the messages that were missed, under `client_id`.
    """

    client_id: str
    post: Callable[[Connection, ConnectionEvent], None]
    will: Callable[[], OutgoingMessage] | None = None
    on_message: MessageHandler | None = None
    persistent: bool = False


class Connection:
    """One connection in one version of MQTT, which edge/mqtt/dialer.py chooses, from CONNECT to its end."""

    def __init__(self, settings: BrokerSettings, version: Version, plan: ConnectionPlan) -> None:
        self.version = version
        self.max_in_flight = MAX_IN_FLIGHT
        self._max_packet = 0  # bytes that the broker takes at once; 0 where it names no limit
        self._plan = plan
        self._settings = settings
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._refusal: ReasonCode | None = None
        self._giant_seen = False
        self._tls_alert: str | None = None
        self._client = self._make_client()

    def open(self) -> None:
        """Connects and waits for the broker's consent. Raises BrokerError."""
        settings, client = self._settings, self._client
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password())
        context = settings.tls_context()
        if context is not None:
            client.tls_set_context(context)
        address, persistent = settings.address, self._plan.persistent
        options: dict[str, Any] = {}
        if self.version == "5":
            wishes = {"MaximumPacketSize": MAX_INCOMING}
            wishes |= {"SessionExpiryInterval": SESSION_EXPIRY} if persistent else {}
            options = {
                "clean_start": not persistent,
                "properties": _properties(PacketTypes.CONNECT, **wishes),
            }
        try:
            client.connect(address.host, address.port, settings.keepalive, **options)
        except OSError as error:
            self.release()
            raise unreachable(settings, error) from error
        client.loop_start()
        answered = self._answered.wait(CONNECT_TIMEOUT)
        if answered and self._refusal is None and not self._ended.is_set():
            return
        self.abort()
        self.release()
        reason = None if self._refusal is None else self._refusal.getName()
        raise refused(settings, answered=answered, reason=reason, tls_alert=self._tls_alert)

    def publish(self, message: OutgoingMessage) -> int:
        """Sends a message and returns the `mid` of its `Acknowledged`.

        Raises ValueError for a topic that MQTT cannot carry, or a size at which this broker would hang up.
        """
        correlation = (message.correlation or b"") if self.version == "5" else b""
        size = len(message.topic.encode()) + len(message.payload) + _PACKET_OVERHEAD
        if correlation:
            size += len(correlation) + _CORRELATION_OVERHEAD
        if 0 < self._max_packet < size:
            raise ValueError(f"{size} bytes are more than the {self._max_packet} that the broker takes")
        properties = None
        if correlation:
            properties = _properties(PacketTypes.PUBLISH, CorrelationData=correlation)
        return self._client.publish(
            message.topic, message.payload, message.qos, message.retain, properties
        ).mid

    def subscribe(self, filters: Sequence[str], *, own: bool = True) -> int:
        """Subscribes with QoS 1; returns the `mid` of its `Acknowledged`, 0 if the connection is gone.

        Without `own` messages, an MQTT 5 broker leaves out what this client itself publishes.
        """
        if self.version == "5":
            options = SubscribeOptions(qos=1, noLocal=not own)
            _, mid = self._client.subscribe([(each, options) for each in filters])
        else:
            _, mid = self._client.subscribe([(each, 1) for each in filters])
        return mid or 0

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Ends subscriptions; what the broker sent before it may still come."""
        self._client.unsubscribe(list(filters))

    def close(self) -> None:
        """Says goodbye, so that the last will is not sent, and waits until the connection has ended."""
        self._client.disconnect()
        if not self._ended.wait(CONNECT_TIMEOUT):
            self.abort()

    def abort(self) -> None:
        """Cuts the connection without a goodbye: the broker sends the last will."""
        cut = self._client.socket()
        if isinstance(cut, socket.socket):
            with contextlib.suppress(OSError):  # it may be cut already
                cut.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """To be called when the connection has ended: nothing of it is heard from then on.

        paho keeps sockets of its own until its client is collected, which the callbacks would put off.
        """
        client = self._client
        client.on_connect = client.on_disconnect = client.on_publish = client.on_subscribe = None
        client.on_message = client.on_log = None

    def _make_client(self) -> paho.Client:
        plan = self._plan
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=plan.client_id,
            clean_session=None if self.version == "5" else not plan.persistent,
            protocol=_PROTOCOLS[self.version],
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT
        client.max_inflight_messages = 0  # the link keeps its own window; paho must not queue behind it
        will = plan.will() if plan.will is not None else None
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_log = self._on_log
        return client

    # These run in paho's network thread, under locks that publish() needs too: so they only post.

    def _on_connect(
        self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._refusal = reason
        else:
            self.max_in_flight = min(MAX_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT))
            self._max_packet = getattr(properties, "MaximumPacketSize", 0)
        self._answered.set()

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        if self._ended.is_set():  # paho reports the end again after a DISCONNECT that named the reason
            return
        self._ended.set()
        self._answered.set()
        self._plan.post(self, Closed(reason.getName()))

    def _on_log(self, _client: Any, _data: Any, _level: int, line: str) -> None:
        # paho tells nowhere else why TLS ended a connection: with TLS 1.3 a broker judges our certificate
        # only after the handshake.
        alert = _TLS_ALERT.search(line)
        if alert is not None:
            self._tls_alert = alert.group(1)

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        self._plan.post(self, Acknowledged(mid, reason.getName() if reason.is_failure else None))

    def _on_subscribe(
        self, _client: Any, _data: Any, mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        refused = [reason.getName() for reason in reasons if reason.is_failure]
        self._plan.post(self, Acknowledged(mid, refused[0] if refused else None))

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        if self._plan.on_message is None:
            return
        try:
            if len(message.payload) <= MAX_INCOMING:
                self._plan.on_message(_incoming(message))
            elif not self._giant_seen:  # one line a connection: a hostile publisher must not fill the log
                self._giant_seen = True
                size = len(message.payload)
                log.warning(
                    "%s: %d bytes are dropped, at most %d are taken", message.topic, size, MAX_INCOMING
                )
        except Exception:  # a handler's mistake must not end the connection that feeds it
            log.exception("a message could not be handled")


def _incoming(message: paho.MQTTMessage) -> IncomingMessage:
    asked = message.properties
    return IncomingMessage(
        message.topic,
        bytes(message.payload),
        message.retain,
        getattr(asked, "ResponseTopic", None),
        getattr(asked, "CorrelationData", None),
    )


def _properties(packet: int, **values: Any) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
