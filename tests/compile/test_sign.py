"""Keys and signing: what the files hold, what is never overwritten, and that no secret is ever shown."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from compile.cli import app
from compile.sign import sign_bundle
from compile.signing_keys import SigningKey, generate_key, passphrase_from, read_signing_key
from edge.bundle.calibration import Calibration
from edge.bundle.keys import key_id, read_public_key, time_text
from edge.bundle.load import load_bundle, write_manifest
from firmware_cfg.errors import BundleError, ConfigError, RemoteclipError, UsageError

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=timezone.utc)
PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder whose files are what its manifest says. Its graphs are none: nothing here runs them."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in ("image.onnx", "text.onnx", "tokenizer.json", "golden.npz", "card.md"):
        (folder / name).write_bytes(name.encode() * 100)
    cells = np.eye(8, dtype=np.float32)[np.zeros(100, int)]
    Calibration(cells, cells[:, :6].copy(), (1.0, 0.0), (1.0, 0.0), 0.01, 0.01).save(
        folder / "calibration.npz"
    )
    write_manifest(
        folder,
        {
            "model": "none",
            "tower": "none",
            "image_sizes": [[64, 64]],
            "embedding_width": 6,
            "position_width": 2,
            "logit_scale": 1.0,
            "logit_bias": 0.0,
            "opset": 20,
            "variants": {"fp32": "image.onnx"},
            "text": {"max_tokens": 8, "cosine_to_float": 1.0},
            "checkpoint_sha256": "0" * 64,
            "licence": "Apache-2.0",
            "created_by": "tests",
        },
    )
    return folder


@pytest.fixture
def owner(tmp_path: Path) -> SigningKey:
    return generate_key(tmp_path / "owner")[2]


def test_a_key_pair_is_two_files_and_only_one_may_be_read_by_all(tmp_path: Path) -> None:
    secret, public, made = generate_key(tmp_path / "field-2026.1", days=400, now=NOW)
    assert (secret.name, public.name) == ("field-2026.1.key", "field-2026.1.pub")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert not made.exposed
    trusted = read_public_key(public)
    assert (trusted.raw, trusted.name, trusted.expires) == (
        made.raw,
        "field-2026.1",
        NOW + timedelta(days=400),
    )
    read = read_signing_key(secret)
    assert (read.raw, read.name, read.expires, read.encrypted) == (
        made.raw,
        made.name,
        trusted.expires,
        False,
    )
    assert "Expires: never\n" in generate_key(tmp_path / "forever")[1].read_text()
    assert generate_key(tmp_path / "other.key")[1] == tmp_path / "other.pub"


def test_no_key_is_ever_overwritten_and_no_half_a_pair_is_left(tmp_path: Path) -> None:
    secret, public, _ = generate_key(tmp_path / "owner")
    before = (secret.read_bytes(), public.read_bytes())
    with pytest.raises(RemoteclipError, match=r"owner\.key: exists already, and keys are never overwritten"):
        generate_key(tmp_path / "owner")
    assert (secret.read_bytes(), public.read_bytes()) == before
    secret.rename(tmp_path / "safe")
    with pytest.raises(RemoteclipError, match=r"owner\.pub: exists already"):
        generate_key(tmp_path / "owner")
    assert not secret.exists()
    secret.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RemoteclipError, match=r"owner\.key: exists already"):
        generate_key(tmp_path / "owner")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["my key", ".hidden", "a" * 65, "schl\u00fcssel"])
def test_a_name_that_no_signature_could_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"a key's name has 1 to 64 of"):
        generate_key(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RemoteclipError, match=r"owner\.key: cannot be written: No such file"):
        generate_key(tmp_path / "nowhere" / "owner")


def test_a_passphrase_locks_the_key_and_is_never_repeated(tmp_path: Path) -> None:
    secret, _, made = generate_key(tmp_path / "owner", passphrase=PASSPHRASE)
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in secret.read_bytes()
    assert read_signing_key(secret, PASSPHRASE).raw == made.raw
    with pytest.raises(
        ConfigError, match=r"this key has a passphrase .*--passphrase-env or --passphrase-file"
    ):
        read_signing_key(secret)
    with pytest.raises(ConfigError, match="this is not its passphrase") as caught:
        read_signing_key(secret, PASSPHRASE + b"!")
    assert PASSPHRASE.decode() not in str(caught.value)


def test_a_passphrase_comes_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(PASSPHRASE + b"\nsecond line")
    monkeypatch.setenv("KEY_PASSPHRASE", PASSPHRASE.decode())
    assert passphrase_from("KEY_PASSPHRASE", None) == passphrase_from(None, file) == PASSPHRASE
    assert passphrase_from(None, None) is None
    with pytest.raises(UsageError, match="give one of them"):
        passphrase_from("KEY_PASSPHRASE", file)
    monkeypatch.delenv("KEY_PASSPHRASE")
    with pytest.raises(RemoteclipError, match="--passphrase-env: KEY_PASSPHRASE is not set, or empty"):
        passphrase_from("KEY_PASSPHRASE", None)
    with pytest.raises(RemoteclipError, match="No such file"):
        passphrase_from(None, tmp_path / "gone")
    for content, problem in ((b"", "its first line is empty"), (b"x" * 1024, "longer than 1023 bytes")):
        file.write_bytes(content)
        with pytest.raises(RemoteclipError, match=problem) as caught:
            passphrase_from(None, file)
        assert "xx" not in str(caught.value)


def test_what_cannot_sign_is_told_apart_without_repeating_it(tmp_path: Path) -> None:
    secret, public, _ = generate_key(tmp_path / "owner")
    with pytest.raises(
        ConfigError, match=r"owner\.pub:5:1: this is a public key, which cannot sign .*owner\.key"
    ):
        read_signing_key(public)
    body = secret.read_text().splitlines()[5]
    cases = {
        "is no Ed25519 private key": secret.read_text().replace(body, body[:-4]),
        "unknown field Expirs": secret.read_text().replace("Expires", "Expirs"),
        "but it says Id": secret.read_text().replace("\nId: ", "\nId: 0"),
        "is no key in PEM form": body,
    }
    for problem, text in cases.items():
        broken = tmp_path / "broken.key"
        broken.write_text(text)
        with pytest.raises(ConfigError, match=problem) as caught:
            read_signing_key(broken)
        assert body[:20] not in str(caught.value)
    assert "Ed25519PrivateKey" not in repr(read_signing_key(secret))


def test_private_keys_of_other_programs_are_refused_in_one_line(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    old_form = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(PASSPHRASE),
    ).decode()
    assert "Proc-Type: 4,ENCRYPTED" in old_form
    der = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    p256, sm2 = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a811ccf5501822d")
    assert der.count(p256) == 1
    body = base64.b64encode(der.replace(p256, sm2)).decode()
    unknown_curve = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    for text, passphrase in ((old_form, None), (old_form, PASSPHRASE), (unknown_curve, None)):
        path = tmp_path / "foreign.key"
        path.write_text(text)
        with pytest.raises(ConfigError, match="is no Ed25519 private key") as caught:
            read_signing_key(path, passphrase)
        assert "\n" not in str(caught.value)


def test_a_private_key_that_others_can_read_is_noticed(tmp_path: Path) -> None:
    secret, _, _ = generate_key(tmp_path / "owner")
    secret.chmod(0o644)
    assert read_signing_key(secret).exposed
    locked, _, _ = generate_key(tmp_path / "locked", passphrase=PASSPHRASE)
    locked.chmod(0o644)
    assert not read_signing_key(locked, PASSPHRASE).exposed


def test_openssl_agrees_with_the_signature(bundle: Path, tmp_path: Path) -> None:
    program = shutil.which("openssl")
    if (
        program is None
        or "-rawin"
        not in subprocess.run(
            [program, "pkeyutl", "-help"], capture_output=True, text=True, check=False
        ).stderr
    ):
        pytest.skip("no openssl that can verify Ed25519 (3.0 or newer)")
    _, public, key = generate_key(tmp_path / "owner")
    sign_bundle(bundle, key)
    lines = (bundle / "signature").read_bytes().splitlines(keepends=True)
    assert lines[1].decode() == f"manifest: {load_bundle(bundle).manifest_sha256}\n"
    (tmp_path / "statement").write_bytes(b"".join(lines[:6]))
    (tmp_path / "bytes").write_bytes(bytes.fromhex(lines[6].split()[1].decode()))
    command = [program, "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin"]
    command += ["-in", tmp_path / "statement", "-sigfile", tmp_path / "bytes"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "statement").write_bytes(b"".join(lines[:5]))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_signing_in_place_and_again_with_another_key(bundle: Path, owner: SigningKey, tmp_path: Path) -> None:
    manifest = load_bundle(bundle).manifest_sha256
    signed = sign_bundle(bundle, owner, now=NOW)
    assert (signed.path, signed.manifest_sha256) == (bundle, manifest)
    assert (
        signed.voucher.sentence
        == f"signed by owner (key {owner.id}), which is trusted, on 2026-11-23T09:30:00Z"
    )
    _, public, other = generate_key(tmp_path / "other")
    sign_bundle(bundle, other)
    assert load_bundle(bundle, trusted_keys=[public], require_signature=True).manifest_sha256 == manifest


def test_a_signature_ends_with_its_key_or_sooner(bundle: Path, tmp_path: Path) -> None:
    _, _, key = generate_key(tmp_path / "owner", days=100, now=NOW)
    assert sign_bundle(bundle, key, now=NOW).voucher.ends == NOW + timedelta(days=100)
    assert sign_bundle(bundle, key, now=NOW, days=7).voucher.ends == NOW + timedelta(days=7)
    assert sign_bundle(bundle, key, now=NOW, days=700).voucher.ends == NOW + timedelta(days=100)
    before = (bundle / "signature").read_bytes()
    for late in (100, 101):
        with pytest.raises(
            RemoteclipError, match=r"owner: this key expired on 2027-03-03T09:30:00Z .*keygen"
        ):
            sign_bundle(bundle, key, now=NOW + timedelta(days=late))
    assert (bundle / "signature").read_bytes() == before


def test_a_damaged_bundle_is_not_signed(bundle: Path, owner: SigningKey, tmp_path: Path) -> None:
    (bundle / "card.md").write_text("tampered")
    for out in (None, tmp_path / "copy", tmp_path / "copy.tar"):
        with pytest.raises(BundleError, match=r"card\.md: SHA-256 is"):
            sign_bundle(bundle, owner, out=out)
    assert not (bundle / "signature").exists()
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / "copy.tar").exists()


def test_a_signed_copy_leaves_the_original_alone(bundle: Path, owner: SigningKey, tmp_path: Path) -> None:
    copy, archive, again = tmp_path / "copy", tmp_path / "copy.tar", tmp_path / "again.tar"
    assert sign_bundle(bundle, owner, out=copy, now=NOW).path == copy
    assert not (bundle / "signature").exists()
    assert copy.stat().st_mode & 0o777 == 0o755
    assert load_bundle(copy).voucher.signature is not None
    sign_bundle(copy, owner, out=archive, now=NOW)
    sign_bundle(archive, owner, out=again, now=NOW)
    assert archive.read_bytes() == again.read_bytes()
    for taken in (copy, archive):
        with pytest.raises(UsageError, match=r"exists already"):
            sign_bundle(bundle, owner, out=taken)
    with pytest.raises(UsageError, match="an archive is not signed in place"):
        sign_bundle(archive, owner)
    with pytest.raises(RemoteclipError, match="copy2: cannot be written: No such file"):
        sign_bundle(bundle, owner, out=tmp_path / "nowhere" / "copy2")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"bundle", "copy", "copy.tar", "again.tar", "owner.key", "owner.pub"}


def test_a_full_disk_leaves_no_half_key_signature_or_copy(
    bundle: Path, owner: SigningKey, tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    sign_bundle(bundle, owner, now=NOW)
    before = (bundle / "signature").read_bytes()
    with full_disk(50):
        with pytest.raises(RemoteclipError, match=r"second\.key: cannot be written: File too large"):
            generate_key(tmp_path / "second")
        for out in (None, tmp_path / "copy", tmp_path / "copy.tar"):
            with pytest.raises(RemoteclipError, match=rf"{out or bundle}: cannot be written: File too large"):
                sign_bundle(bundle, owner, out=out)
    assert (bundle / "signature").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "owner.key", "owner.pub"}


def test_the_shipped_bundle_is_only_signed_as_a_copy(owner: SigningKey) -> None:
    with pytest.raises(UsageError, match="default: the shipped bundle stays as it is"):
        sign_bundle("default", owner)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_commands_say_what_to_do_next_and_never_the_secret(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KEY_PASSPHRASE", PASSPHRASE.decode())
    place = tmp_path / "field"
    made = run("keygen", "-o", place, "--days", 400, "--passphrase-env", "KEY_PASSPHRASE")
    assert made.exit_code == 0, made.output
    assert f"{place}.key: the private key, needs the passphrase" in made.output
    assert "On the drone: require_signature: true, trusted_keys: [field.pub]" in made.output
    signed = run("sign", bundle, "--key", f"{place}.key", "--passphrase-env", "KEY_PASSPHRASE", "--json")
    assert signed.exit_code == 0, signed.output
    voucher = load_bundle(bundle, trusted_keys=[Path(f"{place}.pub")], require_signature=True).voucher
    facts = json.loads(signed.stdout)
    assert voucher.trusted is not None
    assert facts["key_id"] == key_id(voucher.trusted.raw)
    assert facts["expires_at"] == time_text(voucher.ends)
    body = Path(f"{place}.key").read_text().splitlines()[5]
    for text in (made.output, signed.output, caplog.text):
        assert PASSPHRASE.decode() not in text
        assert body not in text


def test_the_sign_command_warns_of_a_key_that_others_can_read(bundle: Path, tmp_path: Path) -> None:
    assert "not encrypted: whoever reads it can sign" in run("keygen", "-o", tmp_path / "open").output
    (tmp_path / "open.key").chmod(0o644)
    signed = run("sign", bundle, "--key", tmp_path / "open.key")
    assert signed.exit_code == 0
    assert f"others can read this private key (chmod 600 {tmp_path / 'open.key'})" in signed.stderr
