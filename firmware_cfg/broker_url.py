"""`mqtt://host:port` and `mqtts://host:port`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """Where a broker listens; `tls` is True for mqtts."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_broker_url(text: str) -> BrokerUrl:
    """Raises ValueError for more or less than scheme, host and a port.

    Its text can follow "must", and never repeats the URL: what stands in it may be a password.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise ValueError("be mqtt://HOST:PORT or mqtts://HOST:PORT") from None
    if "@" in text:
        raise ValueError("not carry a user name or password")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or any(c.isspace() for c in text):
        raise ValueError("be mqtt://HOST:PORT or mqtts://HOST:PORT")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("end after the port")
    if port == 0:
        raise ValueError("have a port between 1 and 65535")
    return BrokerUrl(parts.hostname, port or _DEFAULT_PORTS[parts.scheme], parts.scheme == "mqtts")
