"""Key files: what is read from them, and that none of it ever stands in a message."""

from __future__ import annotations

import base64
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle.keys import key_id, parse_time, read_public_key, time_text
from firmware_cfg.errors import ConfigError

# The key of RFC 8032, 7.1, TEST 1; `sha256sum` made its id, `openssl pkey -pubout` writes it so.
RAW = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
ID = "21fe31dfa154a261"
BODY = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
PEM = f"-----BEGIN PUBLIC KEY-----\n{BODY}\n-----END PUBLIC KEY-----\n"


def pem_of(key: object) -> str:
    assert isinstance(key, (ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey))
    form, no = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, no).decode()


def write(folder: Path, text: str, name: str = "owner.pub") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_plain_pem_file_has_the_file_s_name_and_never_expires(tmp_path: Path) -> None:
    key = read_public_key(write(tmp_path, PEM, "my drone's.pem"))
    assert (key.raw, key.name, key.expires) == (RAW, "my_drone_s", None)
    assert key_id(RAW) == ID
    assert str(key) == f"my_drone_s (key {ID})"


def test_the_lines_above_the_key_name_it_and_end_it(tmp_path: Path) -> None:
    head = f"A public key.\nName: field-2026\nId: {ID}\nExpires: 2027-11-23T09:00:00Z\n\n"
    for text in (head + PEM, (head + PEM).replace("\n", "\r\n")):
        key = read_public_key(write(tmp_path, text))
        assert (key.raw, key.name) == (RAW, "field-2026")
        assert key.expires == datetime(2027, 11, 23, 9, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no key in PEM form"),
        (BODY, "is no key in PEM form"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv", "is no key in PEM form"),
        (PEM + PEM, "holds more than one key"),
        (PEM * 1000, "holds more than one key"),
        ("x" * 70_000 + "\n" + PEM, "is no key in PEM form"),
        (PEM.replace("11qY", "11q*"), ":1:1: is no Ed25519 public key"),
        (PEM[:60], ":1:1: is no Ed25519 public key"),
        (PEM.replace("PUBLIC KEY", "CERTIFICATE"), ":1:1: is no Ed25519 public key"),
        ("Expirs: never\n" + PEM, r":1:1: unknown field Expirs \(the fields are Name, Id, Expires\)"),
        ("Name: a\nName: b\n" + PEM, ":2:1: Name stands here twice"),
        ("Name: \n" + PEM, ":1:1: Name is no name of a key"),
        ("Name: ../a\n" + PEM, ":1:1: Name is no name of a key"),
        (
            "\nExpires: 2027-13-01T00:00:00Z\n" + PEM,
            ":2:1: Expires is no time .*2027-11-23T09:00:00Z, or never",
        ),
        ("Expires: 2027-1-1T0:0:0Z\n" + PEM, ":1:1: Expires is no time"),
        ("Expires: tomorrow\n" + PEM, ":1:1: Expires is no time"),
        ("Id: 0123456789abcdef\n" + PEM, f"its key is {ID}, but it says Id: 0123456789abcdef"),
    ],
)
def test_what_is_wrong_with_a_key_file_is_one_line(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=problem) as caught:
        read_public_key(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert BODY[20:30] not in str(caught.value)


def test_a_private_key_among_the_trusted_ones_is_told_and_not_repeated(tmp_path: Path) -> None:
    pem = pem_of(ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(ConfigError, match=r":2:1: this is a private key, .*name its \.pub file") as caught:
        read_public_key(write(tmp_path, "Name: a\n" + pem))
    assert pem.splitlines()[1] not in str(caught.value)


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path = write(tmp_path, key.public_bytes(serialization.Encoding.PEM, form).decode())
    with pytest.raises(ConfigError, match="is no Ed25519 public key"):
        read_public_key(path)


def test_a_curve_that_nothing_here_knows_is_refused(tmp_path: Path) -> None:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(serialization.Encoding.DER, form)
    p256, sm2 = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a811ccf5501822d")
    assert der.count(p256) == 1
    body = base64.b64encode(der.replace(p256, sm2)).decode()
    path = write(tmp_path, f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    with pytest.raises(ConfigError, match=":1:1: is no Ed25519 public key"):
        read_public_key(path)


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.pub: cannot be read: No such file"):
        read_public_key(tmp_path / "gone.pub")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_public_key(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | st.binary(max_size=40).map(lambda noise: noise + b"\n" + PEM.encode()))
def test_no_bytes_crash_the_reader(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "noise.pub"
    path.write_bytes(data)
    problem = ""
    try:
        assert read_public_key(path).raw == RAW
    except ConfigError as error:
        problem = str(error)
    assert "\n" not in problem


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1)))
def test_times_survive_writing_and_reading(time: datetime) -> None:
    moment = time.replace(microsecond=0, tzinfo=timezone.utc)
    assert parse_time(time_text(moment)) == moment
    assert parse_time(time_text(None)) is None
