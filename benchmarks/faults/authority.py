"""Certificates for the TLS faults: good ones and expired ones."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

GOOD, EXPIRED = timedelta(days=1), timedelta(hours=-1)


class Authority:
    """Signs certificates of clients, by name, and of a broker at 127.0.0.1."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        ca = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = self._sign("faults", self._key.public_key(), ca, GOOD)

    def for_broker(self, folder: Path, *, lasts: timedelta = GOOD) -> None:
        """ca.crt, broker.crt and broker.key, as the shipped configuration names them."""
        folder.mkdir(parents=True, exist_ok=True)
        self.write(folder / "ca.crt")
        host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        self._issue("broker", folder / "broker.crt", host, lasts)

    def for_client(self, name: str, path: Path, *, lasts: timedelta = GOOD) -> None:
        """A certificate at `path` whose common name is `name`, and its key beside it (.key)."""
        use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        self._issue(name, path, use, lasts)

    def write(self, path: Path) -> None:
        """The authority's own certificate."""
        path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _issue(self, name: str, path: Path, extension: x509.ExtensionType, lasts: timedelta) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        plain = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        certificate = self._sign(name, key.public_key(), extension, lasts)
        # The pair changes as operators are told to change it: each file is replaced whole.
        for file, data in (
            (path.with_suffix(".key"), pem),
            (path, certificate.public_bytes(serialization.Encoding.PEM)),
        ):
            file.with_suffix(".new").write_bytes(data)
            os.replace(file.with_suffix(".new"), file)

    def _sign(
        self, name: str, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType, lasts: timedelta
    ) -> x509.Certificate:
        now = datetime.now(timezone.utc)
        builder = x509.CertificateBuilder(
            subject_name=_named(name),
            issuer_name=_named("faults"),
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=3),
            not_valid_after=now + lasts,
        )
        return builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
