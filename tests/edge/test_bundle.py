"""A bundle is believed only when every byte of it is what its manifest says."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import bundle as bundle_module
from edge.bundle import Bundle, load_bundle, write_manifest
from edge.manifest import Manifest, parse_manifest
from firmware_cfg.errors import BundleError


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
    assert not bundle.signed


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
    with pytest.raises(BundleError, match="is not a folder"):
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
    (bundle_copy / "card.md").write_text("Changed.\n")
    (bundle_copy / "signature").write_bytes(b"of the old manifest")
    assert load_failure(bundle_copy).startswith(f"{bundle_copy / 'card.md'}: SHA-256 is ")
    written = write_manifest(bundle_copy, manifest_fields)
    bundle = load_bundle(bundle_copy)
    assert bundle.manifest == written
    assert written.files["card.md"] == hashlib.sha256(b"Changed.\n").hexdigest()
    assert not bundle.signed


def load_failure(folder: Path) -> str:
    """What load_bundle says about a bundle that it refuses."""
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
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
