"""One connection to a broker. The only file that knows paho, and the only one that knows MQTT's versions.

paho's own reconnecting and queueing are left unused: the outbox is the queue, and a connection that ended is
replaced by a new one (edge/link.py).
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.broker_settings import BrokerSettings, Version
from edge.mqtt_messages import (
    Acknowledged,
    Closed,
    ConnectionEvent,
    DialError,
    IncomingMessage,
    MessageHandler,
    OutgoingMessage,
)

__all__ = [
    "Acknowledged",
    "Closed",
    "Connection",
    "ConnectionEvent",
    "DialError",
    "Dialer",
    "IncomingMessage",
    "MessageHandler",
    "OutgoingMessage",
]

log = logging.getLogger(__name__)

_PROTOCOLS: dict[Version, MQTTProtocolVersion] = {
    "5": MQTTProtocolVersion.MQTTv5,
    "3.1.1": MQTTProtocolVersion.MQTTv311,
}

CONNECT_TIMEOUT = 5.0  # seconds, for the TCP and TLS handshakes and again for the broker's CONNACK
MAX_INCOMING = (
    512 * 1024
)  # bytes; far above any prompt list or request. The broker is told, and it is checked
MAX_IN_FLIGHT = 20  # messages sent and not yet acknowledged; a broker may ask for fewer
_PACKET_OVERHEAD = 10  # bytes of a PUBLISH beside topic and payload: header, lengths, id, empty properties
SESSION_EXPIRY = 7 * 24 * 3600  # seconds for which a broker keeps messages for a subscriber that is away


class _VersionError(DialError):
    """This MQTT version found no answer. Is a switch to the other one to be `lasting`?"""

    def __init__(self, line: str, *, lasting: bool) -> None:
        super().__init__(line)
        self.lasting = lasting


class Connection:
    """One connection, from CONNECT to its end, made by a `Dialer`.

    The dialer's `post` gets its events and `on_message` its messages, in the connection's network thread.
    """

    def __init__(self, settings: BrokerSettings, version: Version, plan: Dialer) -> None:
        self.version = version
        self.max_in_flight = MAX_IN_FLIGHT
        self._max_packet = 0  # bytes that the broker takes at once; 0 where it names no limit
        self._plan = plan
        self._settings = settings
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._refusal: ReasonCode | None = None
        self._giant_seen = False
        self._client = self._make_client()

    def open(self) -> None:
        """Connects and waits for the broker's consent. Raises BrokerError."""
        settings, client = self._settings, self._client
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password())
        context = settings.tls_context()
        if context is not None:
            client.tls_set_context(context)
        properties = None
        if self.version == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = MAX_INCOMING
            if self._plan.persistent:
                properties.SessionExpiryInterval = SESSION_EXPIRY
        address = settings.address
        try:
            client.connect(
                address.host,
                address.port,
                settings.keepalive,
                clean_start=not self._plan.persistent
                if self.version == "5"
                else paho.MQTT_CLEAN_START_FIRST_ONLY,
                properties=properties,
            )
        except OSError as error:
            raise DialError(
                f"{address}: {_network_problem(error)} (is the broker up and the network there?)"
            ) from error
        client.loop_start()
        answered = self._answered.wait(CONNECT_TIMEOUT)
        if answered and self._refusal is None and not self._ended.is_set():
            return
        self.abort()
        raise self._refused(answered)

    def publish(self, message: OutgoingMessage) -> int:
        """Sends a message and returns the `mid` of its `Acknowledged`.

        Raises ValueError for a topic that MQTT cannot carry, or a size at which this broker would hang up.
        """
        size = len(message.topic.encode()) + len(message.payload) + _PACKET_OVERHEAD
        size += len(message.correlation or b"")
        if 0 < self._max_packet < size:
            raise ValueError(f"{size} bytes are more than the {self._max_packet} that the broker takes")
        properties = None
        if self.version == "5" and message.correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = message.correlation
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
        return client

    def _refused(self, answered: bool) -> DialError:
        address, refusal = self._settings.address, self._refusal
        if not answered:
            # amqtt, for one, reads on for ever in a CONNECT of MQTT 5 that carries a last will.
            return _VersionError(
                f"{address}: connects, but does not answer (is it an MQTT broker?)", lasting=True
            )
        if refusal is None:
            return _VersionError(
                f"{address}: hangs up without an answer (is it an MQTT broker?)", lasting=False
            )
        name = refusal.getName()
        if name == "Unsupported protocol version":
            return _VersionError(f"{address}: the broker speaks neither MQTT 5 nor 3.1.1", lasting=True)
        if name in ("Not authorized", "Bad user name or password"):
            user = self._settings.username
            who = "a login without user name" if user is None else f"the password or the user name {user!r}"
            return DialError(
                f"{address}: the broker refused {who} (mend the login in the device file's mqtt section)"
            )
        return DialError(f"{address}: the broker refused the connection: {name}")

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
            if len(message.payload) > MAX_INCOMING:
                self._refuse_giant(message)
            else:
                self._plan.on_message(_incoming(message))
        except Exception:  # a handler's mistake must not end the connection that feeds it
            log.exception("a message could not be handled")

    def _refuse_giant(self, message: paho.MQTTMessage) -> None:
        if not self._giant_seen:  # one line a connection: a hostile publisher must not fill the log
            self._giant_seen = True
            log.warning(
                "%s: a message of %d bytes is dropped, at most %d are taken",
                *(message.topic, len(message.payload), MAX_INCOMING),
            )


@dataclass(slots=True)
class Dialer:
    """Makes connections: MQTT 5 first, then 3.1.1, which it stays with unless the broker had merely hung up.

    `will` is asked anew for every connection. `persistent` asks the broker to keep the session, and so the
    messages that a subscriber missed, under the fixed `client_id`.
    """

    settings: BrokerSettings
    client_id: str
    post: Callable[[Connection, ConnectionEvent], None]
    will: Callable[[], OutgoingMessage] | None = None
    on_message: MessageHandler | None = None
    persistent: bool = False
    version: Version = field(init=False)

    def __post_init__(self) -> None:
        self.version = self.settings.first_version

    def dial(self) -> Connection:
        """A connection that the broker accepted. Raises BrokerError with the one line to show."""
        try:
            return self._dial(self.version)
        except _VersionError as first:
            other: Version = "3.1.1" if self.version == "5" else "5"
            try:
                connection = self._dial(other)
            except _VersionError:
                raise first from None
            log.info("%s: no MQTT %s there, speaking MQTT %s", self.settings.address, self.version, other)
            if first.lasting:
                self.version = other
            return connection

    def _dial(self, version: Version) -> Connection:
        connection = Connection(self.settings, version, self)
        connection.open()
        return connection


def _incoming(message: paho.MQTTMessage) -> IncomingMessage:
    asked = message.properties
    return IncomingMessage(
        message.topic,
        bytes(message.payload),
        message.retain,
        getattr(asked, "ResponseTopic", None),
        getattr(asked, "CorrelationData", None),
    )


def _network_problem(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror or str(error)).lower()
