"""Watches the files of a login (certificates, key, password), so that they can be replaced in flight."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable

from cryptography import x509

from edge.mqtt.refusals import DialError, LoginError, VersionError, certificate_refused, unreachable
from edge.mqtt.settings import BrokerSettings
from firmware_cfg.errors import BrokerError

log = logging.getLogger(__name__)

CHECK_INTERVAL = 3.0  # seconds between two looks at the files
_ALERT_TIME = 1.0  # seconds in which a broker that speaks TLS 1.3 says that it does not like a certificate
_CONNECT_TIME = 5.0
_MOST_FAILED = 5  # tries that end without a verdict before a line says so

_State = tuple[tuple[int, int, int] | None, ...]


class Credentials:
    """`used` before each connection is made, then `renewed` again and again.

    Files that change are looked at once they stand still, so that a key may follow its certificate. A new
    login that cannot work is one warning, and the connection that was made with the old one stays.

    Args:
        try_login: logs in with a user name and password, beside the connection that there is. Raises
            BrokerError. A login by certificate alone is not tried so: the broker may take the client id from
            the certificate, and would end the connection that there is.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        interval: float = CHECK_INTERVAL,
        try_login: Callable[[], None] = lambda: None,
    ) -> None:
        self.certain = True  # the login that `renewed` found was let in, as far as can be told
        self._settings = settings
        self._interval = interval
        self._try_login = try_login
        self._failed = 0
        paths = (settings.ca, settings.certificate, settings.key, settings.password_file)
        self._paths = tuple(path for path in paths if path is not None)
        self.used()

    def used(self) -> None:
        """The files as they are now are those of the connection that is made now."""
        self._in_use = self._candidate = self._rejected = self._state()
        self._subject = _subject(self._settings.certificate)
        self._next, self._failed = time.monotonic() + self._interval, 0

    def wait(self) -> float | None:
        """Seconds until `renewed` looks again; None where there are no files."""
        return max(0.0, self._next - time.monotonic()) if self._paths else None

    def renewed(self) -> bool:
        """Whether another login than the one in use is there, complete and fit to be used."""
        if not self._paths or time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._interval
        state = self._state()
        stands_still, self._candidate = state == self._candidate, state
        if not stands_still or state in (self._in_use, self._rejected):
            return False
        try:
            self.certain = self._try_out()
        except BrokerError as error:
            self._rejected = state
            log.warning("%s; the connection made with the old login stays", error)
            return False
        except OSError as error:  # the network's fault, not the login's: the next look tries again
            self._failed += 1
            if self._failed == _MOST_FAILED:
                what = "the new login cannot be tried out; the connection made with the old one stays"
                log.warning("%s: %s (%s)", self._settings.address, what, error)
            return False
        return True

    def _state(self) -> _State:
        return tuple(_fingerprint(path) for path in self._paths)

    def _try_out(self) -> bool:
        """Whether the broker will let it in, as far as that can be known.

        Raises BrokerError where it will not, OSError where the network has no answer.
        """
        settings = self._settings
        settings.password()
        context = settings.tls_context()
        if context is not None:
            self._try_tls(context)
        if settings.username is None:
            return _subject(settings.certificate) == self._subject  # else it is another name that logs in
        try:
            self._try_login()
        except LoginError:
            raise
        except DialError as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            if isinstance(error, VersionError) and error.silence:
                raise TimeoutError(str(error)) from None
            return False  # it may be only this client id that the broker does not let in
        return True

    def _try_tls(self, context: ssl.SSLContext) -> None:
        settings = self._settings
        if settings.certificate_ended() is not None:
            raise certificate_refused(settings, "CERTIFICATE_EXPIRED")
        address = (settings.address.host, settings.address.port)
        with contextlib.ExitStack() as stack:
            plain = stack.enter_context(socket.create_connection(address, _CONNECT_TIME))
            try:
                secure = stack.enter_context(context.wrap_socket(plain, server_hostname=address[0]))
                secure.settimeout(_ALERT_TIME)
                with contextlib.suppress(TimeoutError):  # silence is consent
                    if not secure.recv(1):
                        raise certificate_refused(settings, "hangs up")
            except ssl.SSLError as error:
                raise unreachable(settings, error) from error


def _subject(certificate: os.PathLike[str] | None) -> x509.Name | None:
    if certificate is None:
        return None
    try:
        with open(certificate, "rb") as file:
            return x509.load_pem_x509_certificate(file.read()).subject
    except (OSError, ValueError):  # `tls_context` is what says so
        return None


def _fingerprint(path: os.PathLike[str]) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
