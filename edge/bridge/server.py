"""Where Cursor-on-Target events go: a TAK server over TCP or TLS, or whoever listens to UDP."""

from __future__ import annotations

import os
import re
import ssl
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from firmware_cfg.errors import MissingExtra, UsageError

TYPE_PATTERN = re.compile(r"[a-z](-[A-Za-z0-9.]+)+")
_SCHEMES = ("tcp", "udp", "tls")
_NO_PASSWORD = "none"  # pytak leaves an empty one out, and OpenSSL asks at the terminal where there is none


@dataclass(frozen=True, slots=True)
class CotServer:
    """An address and, for TLS, the files to log in with. No password is kept in it.

    Attributes:
        url: tcp://HOST:PORT, udp://HOST:PORT (multicast, too) or tls://HOST:PORT.
        ca: the authority that signed the server; certificate, key: this client's own. PEM files, or the
            certificate a .p12 with its key inside.
        password_env: environment variable with the password of the key or the .p12.
    """

    url: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    password_env: str | None = None

    def check(self) -> None:
        """Raises UsageError for what can never work, without quoting the URL: it may hold a password."""
        try:
            parts = urlsplit(self.url)
            fits = parts.scheme in _SCHEMES and parts.hostname and parts.port and "@" not in self.url
            fits = fits and parts.path in ("", "/") and not parts.query and not parts.fragment
        except ValueError:
            fits = False
        if not fits:
            raise UsageError("--cot must be tcp://HOST:PORT, udp://HOST:PORT or tls://HOST:PORT")
        if parts.scheme != "tls":
            if self.ca or self.certificate or self.key or self.password_env:
                raise UsageError("--cot-ca, --cot-cert, --cot-key and --cot-password-env need tls://")
            return
        if self.ca is None or self.certificate is None:
            raise UsageError("tls:// needs --cot-ca and --cot-cert: a TAK server asks for a certificate")
        for option, file in (("ca", self.ca), ("cert", self.certificate), ("key", self.key)):
            if file is not None and not file.is_file():
                raise UsageError(f"--cot-{option} {file}: there is no such file")
        if self.certificate.suffix != ".p12" and self.key is None:
            raise UsageError("--cot-cert needs --cot-key beside it, unless it is a .p12")
        if self.password_env and not os.environ.get(self.password_env):
            raise UsageError("--cot-password-env must name an environment variable that is set (export it)")
        if self.certificate.suffix == ".p12" and not self.password_env:
            raise UsageError("--cot-cert: a .p12 has a password, give it with --cot-password-env")

    def settings(self) -> dict[str, str]:
        """What pytak reads; its TLS values pass through a parser to which % is special."""
        base = self.url.removesuffix("/")
        given = {"COT_URL": base.replace("udp://", "udp+wo://", 1), "TAK_PROTO": "0"}
        if urlsplit(self.url).scheme != "tls":
            return given
        password = os.environ[self.password_env] if self.password_env else _NO_PASSWORD
        tls = {
            "PYTAK_TLS_CLIENT_CAFILE": self.ca,
            "PYTAK_TLS_CLIENT_CERT": self.certificate,
            "PYTAK_TLS_CLIENT_KEY": self.key,
            "PYTAK_TLS_CLIENT_PASSWORD": password,
            # Its own default lets ciphers in that check no certificate.
            "PYTAK_TLS_CLIENT_CIPHERS": "DEFAULT",
        }
        return given | {name: str(value).replace("%", "%%") for name, value in tls.items() if value}


class CotConnection:
    """One connection. `open` it, `send`, `closed` waits for the server to end it, `close`."""

    def __init__(self, reader: Any, writer: Any, sender: Any) -> None:
        self._reader, self._writer, self._sender = reader, writer, sender

    @classmethod
    async def open(cls, server: CotServer) -> CotConnection:
        """Raises OSError with one line, and MissingExtra without pytak."""
        import asyncio

        pytak = load_pytak()
        settings = server.settings()
        try:
            reader, writer = await pytak.protocol_factory(settings)
        except ssl.SSLError:
            raise  # an OSError that says what is wrong with the handshake
        except (SyntaxError, ValueError, SystemError, AttributeError) as error:
            said = str(error.__cause__ or error)  # AttributeError: pytak found no key in a .p12
            if server.certificate is not None:
                said = f"{server.certificate} does not open with its key and password: {said}"
            raise OSError(said) from error
        return cls(reader, writer, pytak.TXWorker(asyncio.Queue(), settings, writer))

    async def send(self, event: bytes) -> None:
        """Hand one event to the system. Raises OSError."""
        await self._sender.send_data(event)

    async def closed(self) -> None:
        """Returns when the server has ended the connection; what it says until then is read and dropped."""
        import asyncio

        if not isinstance(self._reader, asyncio.StreamReader):
            await asyncio.Event().wait()  # UDP has no end
        while await self._reader.read(1 << 16):
            pass

    def close(self) -> None:
        """Let go of it."""
        self._writer.close()


def load_pytak() -> Any:
    """The module. Raises MissingExtra."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of transports that are not used here
            import pytak
    except ImportError as error:
        raise MissingExtra("pytak", extra="cot") from error
    return pytak
