"""A bundle is believed only when every byte of it is what its manifest says."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compile.sign import sign_bundle
from compile.signing_keys import SigningKey, generate_key
from edge.bundle import load as bundle_module
from edge.bundle.load import Bundle, load_bundle, load_device_bundle, write_manifest
from edge.bundle.manifest import Manifest, parse_manifest
from firmware_cfg.bundles import default_bundle_path
from firmware_cfg.device import DeviceFile, Source
from firmware_cfg.errors import BundleError, ConfigError

OWNER = SigningKey(Ed25519PrivateKey.generate(), "owner", None, encrypted=False)


def rewrite_manifest(folder: Path, **changes: Any) -> None:
    """Change fields of manifest.json as somebody with an editor would."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_whole_bundle_loads(bundle_copy: Path) -> None:
    bundle = load_bundle(bundle_copy)
    assert bundle.manifest.row_width == 8
    assert bundle.manifest_sha256 == hashlib.sha256((bundle_copy / "manifest.json").read_bytes()).hexdigest()
    assert set(bundle.manifest.files) == {path.name for path in bundle_copy.iterdir()} - {"manifest.json"}
    assert bundle.calibration.null_cells.shape == (400, 8)
    assert bundle.voucher.sentence == "unsigned"


def test_manifest_survives_writing_and_reading(tiny_bundle: Bundle) -> None:
    manifest = tiny_bundle.manifest
    text = manifest.model_dump_json(by_alias=True)
    assert json.loads(text)["schema"] == 1
    assert Manifest.model_validate_json(text) == manifest


def test_the_bundle_that_was_asked_for_is_insisted_on(bundle_copy: Path) -> None:
    found = load_bundle(bundle_copy).manifest_sha256
    assert load_bundle(bundle_copy, manifest_sha256=found.upper()).manifest_sha256 == found
    with pytest.raises(
        BundleError, match=rf"manifest\.json: SHA-256 is {found}, expected {'0' * 64} \(.*install"
    ):
        load_bundle(bundle_copy, manifest_sha256="0" * 64)


@pytest.mark.parametrize(
    "name", ["image.onnx", "text.onnx", "tokenizer.json", "calibration.npz", "golden.npz", "card.md"]
)
def test_a_missing_file_is_named(bundle_copy: Path, name: str) -> None:
    (bundle_copy / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}: missing \(copy the whole bundle again\)$"):
        load_bundle(bundle_copy)


def test_one_flipped_bit_is_found(bundle_copy: Path) -> None:
    path = bundle_copy / "image.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        BundleError, match=r"image\.onnx: SHA-256 is .* the manifest says .*copy the whole bundle"
    ):
        load_bundle(bundle_copy)


def test_a_stranger_in_the_folder_is_named(bundle_copy: Path) -> None:
    (bundle_copy / "image.int8.onnx").write_bytes(b"?")
    with pytest.raises(BundleError, match=r"image\.int8\.onnx: not part of this bundle \(remove it\)"):
        load_bundle(bundle_copy)


def test_a_folder_in_place_of_a_file_is_an_error(bundle_copy: Path) -> None:
    (bundle_copy / "card.md").unlink()
    (bundle_copy / "card.md").mkdir()
    with pytest.raises(BundleError, match=r"card\.md: cannot be read: Is a directory"):
        load_bundle(bundle_copy)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_file_is_an_error(bundle_copy: Path) -> None:
    (bundle_copy / "text.onnx").chmod(0)
    with pytest.raises(BundleError, match=r"text\.onnx: cannot be read: Permission denied"):
        load_bundle(bundle_copy)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not JSON"),
        (b'{"schema": 1,', "not JSON: .*line 1 column 14"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b"{}", "model: Field required; .*and [0-9]+ more"),
        (b'{"schema": 2}', r"schema 2 is newer than this release reads \(1\): update remoteclip-edge"),
        (b" " * (1 << 20) + b"{}", "larger than 1048576 bytes"),
    ],
)
def test_a_corrupt_manifest_is_one_clear_line(bundle_copy: Path, content: bytes, problem: str) -> None:
    (bundle_copy / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=rf"manifest\.json: {problem}") as caught:
        load_bundle(bundle_copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"stirde": 8}, "stirde: Extra inputs"),
        ({"image_sizes": []}, "image_sizes: "),
        ({"image_sizes": [[64, 60]]}, "image_sizes: image size 64x60 is not a multiple of 32"),
        ({"image_sizes": [[0, 64]]}, "image_sizes: image size 0x64"),
        ({"logit_scale": 0}, "logit_scale: "),
        ({"embedding_width": -1}, "embedding_width: "),
        ({"variants": {}}, "variants: "),
        ({"variants": {"fp32": "elsewhere.onnx"}}, "files has no hash of elsewhere.onnx"),
        ({"variants": {"bf16": "image.onnx"}}, "variants.bf16"),
        ({"files": {}}, "files has no hash of calibration.npz, card.md"),
        ({"checkpoint_sha256": "abc"}, "checkpoint_sha256: "),
        ({"licence": ""}, "licence: "),
    ],
)
def test_fields_that_make_no_sense_are_named(
    bundle_copy: Path, changes: dict[str, Any], problem: str
) -> None:
    rewrite_manifest(bundle_copy, **changes)
    with pytest.raises(BundleError, match=rf"manifest\.json: .*{problem}"):
        load_bundle(bundle_copy)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/b", "..", ".hidden", "", "manifest.json", "a\n"]
)
def test_a_manifest_cannot_point_outside_of_its_folder(bundle_copy: Path, name: str) -> None:
    files = json.loads((bundle_copy / "manifest.json").read_text())["files"]
    rewrite_manifest(bundle_copy, files={**files, name: "0" * 64})
    with pytest.raises(BundleError, match="is not the name of a bundle file"):
        load_bundle(bundle_copy)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("schema"), inner, max_size=3)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_bytes_crash_the_manifest_parser(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"^m\.json: ") as caught:
        parse_manifest(data, Path("m.json"))
    assert "\n" not in str(caught.value)


def test_a_path_that_is_no_bundle_is_explained(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"there is no such folder \(name the folder that holds manifest\.json\)"
    ):
        load_bundle(tmp_path / "nowhere")
    file = tmp_path / "bundle.tar"
    file.write_bytes(b"")
    with pytest.raises(BundleError, match=r"is not a folder .*unpack an archive with tar -xf"):
        load_bundle(file)
    with pytest.raises(BundleError, match=r"manifest\.json: missing"):
        load_bundle(tmp_path)


def test_the_default_bundle_must_be_the_pinned_one(
    bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_module, "default_bundle_path", lambda: bundle_copy)
    found = hashlib.sha256((bundle_copy / "manifest.json").read_bytes()).hexdigest()
    monkeypatch.setattr(bundle_module, "DEFAULT_MANIFEST_SHA256", found)
    assert load_bundle("default").path == bundle_copy
    monkeypatch.setattr(bundle_module, "DEFAULT_MANIFEST_SHA256", "1" * 64)
    with pytest.raises(BundleError, match=f"expected {'1' * 64}"):
        load_bundle("default")
    monkeypatch.setattr(bundle_module, "DEFAULT_MANIFEST_SHA256", None)
    with pytest.raises(BundleError, match="pins no hash for its default bundle"):
        load_bundle("default")


def test_writing_again_takes_in_what_changed(bundle_copy: Path, manifest_fields: dict[str, Any]) -> None:
    sign_bundle(bundle_copy, OWNER)
    (bundle_copy / "card.md").write_text("Changed.\n")
    assert load_failure(bundle_copy).startswith(f"{bundle_copy / 'card.md'}: SHA-256 is ")
    written = write_manifest(bundle_copy, manifest_fields)
    bundle = load_bundle(bundle_copy)
    assert bundle.manifest == written
    assert written.files["card.md"] == hashlib.sha256(b"Changed.\n").hexdigest()
    assert bundle.voucher.signature is None


def test_hashes_that_are_known_are_not_taken_again(
    bundle_copy: Path, manifest_fields: dict[str, Any]
) -> None:
    known = load_bundle(bundle_copy).manifest.files
    (bundle_copy / "card.md").write_text("Changed.\n")
    (bundle_copy / "more.md").write_text("New.\n")
    written = write_manifest(bundle_copy, manifest_fields, hashes=known)
    assert written.files == {**known, "more.md": hashlib.sha256(b"New.\n").hexdigest()}
    # It was promised that nothing had changed. A reader believes no promise.
    assert load_failure(bundle_copy).startswith(f"{bundle_copy / 'card.md'}: SHA-256 is ")


def load_failure(folder: Path, **demands: Any) -> str:
    """What load_bundle says about a bundle that it refuses."""
    with pytest.raises(BundleError) as caught:
        load_bundle(folder, **demands)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_bad_field_writes_nothing(bundle_copy: Path, manifest_fields: dict[str, Any]) -> None:
    before = (bundle_copy / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match="opset"):
        write_manifest(bundle_copy, {**manifest_fields, "opset": 0})
    (bundle_copy / "golden.npz").unlink()
    with pytest.raises(BundleError, match=r"files has no hash of golden\.npz"):
        write_manifest(bundle_copy, manifest_fields)
    assert (bundle_copy / "manifest.json").read_bytes() == before
    (bundle_copy / "folder").mkdir()
    with pytest.raises(BundleError, match="folder: not a file"):
        write_manifest(bundle_copy, manifest_fields)


@pytest.fixture
def keys(tmp_path: Path) -> Callable[..., tuple[SigningKey, Path]]:
    """`keys(name)` -> a private key, and the file of its public half."""

    def make(name: str, **facts: Any) -> tuple[SigningKey, Path]:
        _, public, key = generate_key(tmp_path / name, **facts)
        return key, public

    return make


def test_a_trusted_signature_is_demanded_and_found_while_keys_change(bundle_copy: Path, keys: Any) -> None:
    (old, old_public), (new, new_public) = keys("old"), keys("new")
    _, other = keys("other")
    demands = {"trusted_keys": [old_public, new_public], "require_signature": True}
    assert load_failure(bundle_copy, **demands) == (
        f"{bundle_copy}: unsigned, but a signature is required"
        " (sign it: remoteclip compile sign BUNDLE --key KEY)"
    )
    for key in (old, new):
        sign_bundle(bundle_copy, key)
        bundle = load_bundle(bundle_copy, **demands)
        assert bundle.voucher.trusted is not None
        assert bundle.voucher.trusted.name == key.name
    unknown = load_failure(bundle_copy, trusted_keys=[other], require_signature=True)
    assert unknown.startswith(f"{bundle_copy}: signed by key {new.id}, which calls itself new, on ")
    assert "; the trusted keys are other (key " in unknown
    assert load_bundle(bundle_copy, trusted_keys=[other]).voucher.refusal
    assert load_failure(bundle_copy, require_signature=True)


def test_an_expired_key_is_refused_only_where_a_signature_is_demanded(bundle_copy: Path, keys: Any) -> None:
    made = datetime(2020, 1, 1, tzinfo=timezone.utc)
    key, public = keys("old", days=100, now=made)
    sign_bundle(bundle_copy, key, now=made)
    message = load_failure(bundle_copy, trusted_keys=[public], require_signature=True)
    assert "the key expired on 2020-04-10T00:00:00Z (sign it again with a key that is valid" in message
    assert "the key expired" in load_bundle(bundle_copy, trusted_keys=[public]).voucher.sentence
    # Trusted for longer by whoever answers for the drone, but the signer vouched for no more.
    public.write_text(public.read_text().replace("2020-04-10T00:00:00Z", "never"))
    message = load_failure(bundle_copy, trusted_keys=[public], require_signature=True)
    assert "the signature expired on 2020-04-10T00:00:00Z" in message


def test_a_device_file_s_demands_are_met(bundle_copy: Path, keys: Any) -> None:
    key, public = keys("owner")
    device = DeviceFile(
        device="bird",
        source=Source(uri="demo"),
        bundle=str(bundle_copy),
        trusted_keys=(public,),
        require_signature=True,
    )
    with pytest.raises(BundleError, match="unsigned, but a signature is required"):
        load_device_bundle(device)
    sign_bundle(bundle_copy, key)
    assert load_device_bundle(device).voucher.refusal == ""
    public.unlink()
    with pytest.raises(ConfigError, match=r"owner\.pub: cannot be read: No such file"):
        load_device_bundle(device)


def flipped_bytes(folder: Path) -> Iterator[str]:
    """Flips a bit in the middle of every file in turn, yields the file's name, and flips it back."""
    for path in sorted(folder.iterdir()):
        middle = path.stat().st_size // 2
        with path.open("r+b") as stream:
            stream.seek(middle)
            (byte,) = stream.read(1)
            for value in (byte ^ 1, byte):
                stream.seek(middle)
                stream.write(bytes([value]))
                stream.flush()
                if value != byte:
                    yield path.name


def test_a_flipped_byte_in_any_file_of_a_signed_bundle_names_the_file(bundle_copy: Path) -> None:
    sign_bundle(bundle_copy, OWNER)
    names = []
    for name in flipped_bytes(bundle_copy):
        assert load_failure(bundle_copy).startswith(f"{bundle_copy / name}: ")
        names.append(name)
    assert {"manifest.json", "signature", "image.onnx", "golden.npz"} <= set(names)
    assert load_bundle(bundle_copy).voucher.signature is not None


def test_a_flipped_byte_in_any_file_of_the_default_bundle_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (default_bundle_path() / "manifest.json").is_file():
        pytest.skip("this checkout has no model bundle in firmware_cfg/bundles/default")
    copy = shutil.copytree(default_bundle_path(), tmp_path / "default")
    monkeypatch.setattr(bundle_module, "default_bundle_path", lambda: copy)
    names = []
    for name in flipped_bytes(copy):
        with pytest.raises(BundleError) as caught:
            load_bundle("default")
        assert str(caught.value).startswith(f"{copy / name}: SHA-256 is ")
        names.append(name)
    assert set(names) == {"manifest.json", *load_bundle("default").manifest.files}


def test_nothing_of_an_untrusted_manifest_is_read(bundle_copy: Path, keys: Any) -> None:
    _, public = keys("owner")
    (bundle_copy / "manifest.json").write_bytes(b"not even JSON")
    message = load_failure(bundle_copy, trusted_keys=[public], require_signature=True)
    assert message.startswith(f"{bundle_copy}: unsigned, but a signature is required")
