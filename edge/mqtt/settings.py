"""Where the broker is and how to log in there. No password is kept in an object or repeated in a message."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.x509.oid import NameOID

from firmware_cfg.broker_url import BrokerUrl, parse_broker_url
from firmware_cfg.device import Mqtt
from firmware_cfg.errors import BrokerError

Version = Literal["5", "3.1.1"]


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """A broker and the login for it. The password is read anew for every connection, so that a mended
    password file works without a restart.

    `ca` replaces the system's certificate authorities; `certificate` and `key` are this client's own (PEM
    files). `keepalive` is in whole seconds. Where `first_version` is not spoken, the other one is tried.
    """

    address: BrokerUrl
    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    keepalive: int = 30
    first_version: Version = "5"

    @classmethod
    def from_url(cls, url: str) -> BrokerSettings:
        """Settings without a login, from mqtt://HOST:PORT or mqtts://HOST:PORT. Raises BrokerError."""
        try:
            return cls(parse_broker_url(url))
        except ValueError as error:
            raise BrokerError(
                f"the broker's URL must {error}"
            ) from None  # never the URL: it may hold a password

    @classmethod
    def from_config(cls, mqtt: Mqtt) -> BrokerSettings:
        """The `mqtt` section of a device file."""
        tls = mqtt.tls
        return cls(
            address=parse_broker_url(mqtt.url),
            username=mqtt.username,
            password_env=mqtt.password_env,
            password_file=mqtt.password_file,
            ca=tls.ca if tls is not None else None,
            certificate=tls.cert if tls is not None else None,
            key=tls.key if tls is not None else None,
            keepalive=max(1, round(mqtt.keepalive)),
        )

    def password(self) -> str | None:
        """The password, or None where the settings name none. Raises BrokerError if it cannot be read."""
        if self.password_env is not None:
            value = os.environ.get(self.password_env)
            if not value:
                raise BrokerError(f"{self.address}: password_env: {self.password_env} is not set (export it)")
            return value
        if self.password_file is not None:
            try:
                lines = self.password_file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                problem = f"password_file {self.password_file}: {_reason(error)}"
                raise BrokerError(f"{self.address}: {problem} (make it a readable text file)") from None
            if not lines or not lines[0]:
                problem = f"password_file {self.password_file}: its first line is empty"
                raise BrokerError(f"{self.address}: {problem} (write the password there)")
            return lines[0]
        return None

    def tls_context(self) -> ssl.SSLContext | None:
        """For an encrypted address, a context that checks the broker's certificate and its host name.

        Raises BrokerError if a certificate or key file cannot be used.
        """
        if not self.address.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        except OSError as error:  # ssl.SSLError is one
            raise BrokerError(
                f"{self.address}: tls.ca {self.ca}: {_reason(error)} (name a PEM file)"
            ) from error
        if self.certificate is not None:
            try:
                # Without a callback OpenSSL would ask the terminal for the password of an encrypted key.
                context.load_cert_chain(self.certificate, self.key, password=lambda: "")
            except OSError as error:
                files = f"tls.cert {self.certificate}, tls.key {self.key}"
                raise BrokerError(f"{self.address}: {files}: {self._why_unfit(error)}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _why_unfit(self, error: OSError) -> str:
        """What is wrong with certificate and key, which OpenSSL names by a number or not at all."""
        if isinstance(error, ssl.SSLError) and error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            return "tls.key does not belong to tls.cert (put the two there that were made together)"
        if _holds(self.certificate, b"PRIVATE KEY-----") and _holds(self.key, b"-----BEGIN CERTIFICATE-----"):
            return "tls.cert holds a key, tls.key a certificate (swap them)"
        return f"{_reason(error)} (name PEM files, the key unencrypted)"

    def login_name(self) -> str | None:
        """The user name, or the common name of the certificate; None without either."""
        if self.username is not None or self.certificate is None:
            return self.username
        try:
            subject = x509.load_pem_x509_certificate(self.certificate.read_bytes()).subject
        except (OSError, ValueError):  # `tls_context` is what says so
            return None
        names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[0].value) if names else None

    def certificate_ended(self) -> datetime | None:
        """When this client's certificate expired, by this machine's clock; None if it has not, or is none."""
        if self.certificate is None:
            return None
        try:
            ends = x509.load_pem_x509_certificate(self.certificate.read_bytes()).not_valid_after_utc
        except (OSError, ValueError):  # `tls_context` is what says so
            return None
        return ends if ends < datetime.now(timezone.utc) else None


def _holds(path: Path | None, line: bytes) -> bool:
    try:
        return path is not None and line in path.read_bytes()
    except OSError:
        return False


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"  # the error itself would quote the bytes
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
