"""Who signed a bundle, and whether this drone believes it. The signatures here are made by hand."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle.keys import PublicKey, key_id
from edge.bundle.signature import Signature, read_signature, vouch
from firmware_cfg.errors import BundleError

MANIFEST = "ab" * 32
SIGNED = datetime(2026, 11, 23, 9, tzinfo=timezone.utc)
UNSET = datetime(1970, 1, 1, tzinfo=timezone.utc)
OWNER = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"owner").digest())
RAW = OWNER.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def signature_text(
    signer: Ed25519PrivateKey = OWNER, *, version: int = 1, manifest: str = MANIFEST, **changes: str
) -> bytes:
    """A signature file as the format says, signed over whatever `changes` put into it."""
    raw = signer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    fields = {"key": raw.hex(), "name": "field-2026", "signed": "2026-11-23T09:00:00Z", "expires": "never"}
    lines = [f"remoteclip-edge bundle signature {version}", f"manifest: {manifest}"]
    lines += [f"{name}: {value}" for name, value in {**fields, **changes}.items()]
    statement = ("\n".join(lines) + "\n").encode()
    return statement + b"signature: " + signer.sign(statement).hex().encode() + b"\n"


def refused(folder: Path, data: bytes) -> str:
    (folder / "signature").write_bytes(data)
    with pytest.raises(BundleError) as caught:
        read_signature(folder, MANIFEST)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_signature_is_read(tmp_path: Path) -> None:
    assert read_signature(tmp_path, MANIFEST) is None
    (tmp_path / "signature").write_bytes(signature_text(expires="2027-01-01T00:00:00Z"))
    found = read_signature(tmp_path, MANIFEST)
    assert found == Signature(RAW, "field-2026", SIGNED, datetime(2027, 1, 1, tzinfo=timezone.utc))


def test_one_flipped_bit_anywhere_in_it_is_found(tmp_path: Path) -> None:
    good = signature_text()
    for place in range(len(good)):
        data = bytearray(good)
        data[place] ^= 1 << place % 8
        assert refused(tmp_path, bytes(data)).startswith(f"{tmp_path / 'signature'}: "), place


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no signature of `remoteclip compile sign`"),
        (signature_text() + b"\n", "no signature of"),
        (signature_text() * 2, "no signature of"),
        (signature_text()[:-1], "no signature of"),
        (signature_text().upper(), "no signature of"),
        (signature_text(name="../x"), "no signature of"),
        (signature_text(signed="never"), "does not say when it was signed"),
        (signature_text(signed="yesterday"), "does not fit the key that it names"),
        (signature_text(expires="2027-1-1T0:0:0Z"), "does not fit the key that it names"),
        (signature_text(version=2), "version 2 is newer than this release reads (1): update"),
    ],
)
def test_what_is_no_signature_says_so(tmp_path: Path, data: bytes, problem: str) -> None:
    assert problem in refused(tmp_path, data)


def test_a_statement_under_somebody_else_s_key_is_a_forgery(tmp_path: Path) -> None:
    forged = signature_text(Ed25519PrivateKey.generate(), key=RAW.hex())
    assert "does not fit the key that it names: damaged or forged" in refused(tmp_path, forged)


def test_a_manifest_that_was_changed_after_signing_is_what_is_named(tmp_path: Path) -> None:
    message = refused(tmp_path, signature_text(manifest="cd" * 32))
    assert message.startswith(
        f"{tmp_path / 'manifest.json'}: SHA-256 is {MANIFEST}, but {'cd' * 32} was signed"
    )


def test_a_signature_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "signature").mkdir()
    with pytest.raises(BundleError, match="signature: cannot be read: Is a directory"):
        read_signature(tmp_path, MANIFEST)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=600) | st.binary(max_size=30).map(lambda noise: signature_text()[:-9] + noise))
def test_no_bytes_crash_the_reader(tmp_path: Path, data: bytes) -> None:
    if data != signature_text():
        refused(tmp_path, data)


def days(count: int) -> timedelta:
    return timedelta(days=count)


def trusted(expires: datetime | None = None, name: str = "field-2026", raw: bytes = RAW) -> PublicKey:
    return PublicKey(raw, name, expires)


def signature(expires: datetime | None = None) -> Signature:
    return Signature(RAW, "field-2026", SIGNED, expires)


def test_any_of_two_trusted_keys_will_do_while_keys_change() -> None:
    old, new = trusted(name="field-2025", raw=b"\1" * 32), trusted()
    for keys in ([old, new], [new, old], [new]):
        voucher = vouch(signature(), keys, SIGNED)
        assert (voucher.trusted, voucher.refusal) == (new, "")
        assert voucher.sentence == f"signed by {new}, which is trusted, on 2026-11-23T09:00:00Z"
    voucher = vouch(signature(), [old], SIGNED)
    assert voucher.trusted is None
    who = f"signed by key {key_id(RAW)}, which calls itself field-2026, on 2026-11-23T09:00:00Z"
    mend = "(sign it with a trusted key, or add this one to trusted_keys)"
    assert voucher.refusal == f"{who}; the trusted keys are field-2025 (key {key_id(old.raw)}) {mend}"


def test_no_signature_and_no_keys_are_said_plainly() -> None:
    assert vouch(None, [trusted()]).sentence == "unsigned"
    assert vouch(None, [trusted()]).refusal.startswith("unsigned, but a signature is required (sign it: ")
    alone = vouch(signature(), [], SIGNED)
    assert alone.sentence.endswith("; no key is trusted here")
    assert alone.refusal


@pytest.mark.parametrize("what", ["key", "signature", "both"])
def test_what_has_expired_is_refused_from_that_second_on(what: str) -> None:
    ends = SIGNED + days(100)
    later = None if what != "both" else ends + days(1)
    of_key, of_signature = (ends, later) if what != "signature" else (None, ends)
    signed, keys = signature(of_signature), [trusted(of_key)]
    before = vouch(signed, keys, ends - timedelta(seconds=1))
    assert (before.refusal, before.ends, before.ends_soon) == ("", ends, True)
    assert before.sentence.endswith(", valid until 2027-03-03T09:00:00Z")
    assert not vouch(signed, keys, ends - days(31)).ends_soon
    after = vouch(signed, keys, ends)
    assert after.trusted == keys[0]
    who = "signature" if what == "signature" else "key"
    assert f"; the {who} expired on 2027-03-03T09:00:00Z (sign it again" in after.refusal
    assert "the clock here says 2027-03-03T09:00:00Z" in after.refusal


def test_a_drone_that_does_not_know_the_time_flies_what_was_signed_in_time() -> None:
    ends = SIGNED + days(100)
    assert vouch(signature(), [trusted(ends)], UNSET).refusal == ""
    assert not vouch(signature(), [trusted(ends)], UNSET).ends_soon
    # Signed after the key had expired: that needs no clock to see.
    for end in (SIGNED, SIGNED - days(1)):
        assert "the key expired on" in vouch(signature(), [trusted(end)], UNSET).refusal
    assert "the signature expired on" in vouch(signature(SIGNED), [trusted()], UNSET).refusal


def test_a_signature_from_the_future_is_no_error_since_the_clock_may_be_behind() -> None:
    assert vouch(signature(), [trusted()], SIGNED - days(3)).refusal == ""


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-500, 500))
def test_moving_the_clock_back_never_ends_a_signature(clock: datetime, life: int) -> None:
    now = clock.replace(tzinfo=timezone.utc)
    keys = [trusted(SIGNED + days(life))]
    if not vouch(signature(), keys, now).refusal:
        assert not vouch(signature(), keys, min(now, SIGNED)).refusal
    if life <= 0:
        assert vouch(signature(), keys, now).refusal
