"""Verifying a bundle: who vouches for it, and whether this machine's engines reproduce it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import edge.verify as verify_module
from compile.sign import sign_bundle
from compile.signing_keys import generate_key
from edge.bundle import Bundle, load_bundle
from edge.keys import time_text
from edge.verify import verify_bundle, verify_loaded


def test_verify_runs_every_graph_on_every_engine(bundle_copy: Path) -> None:
    report = verify_bundle(bundle_copy, ("openvino", "onnxruntime"))
    assert report.problems == ()
    assert [(check.engine, check.precision) for check in report.golden] == [
        ("openvino", "fp32"),
        ("openvino", "text"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "text"),
    ]
    assert report.signature == "unsigned; its manifest hash is not the one pinned in firmware_cfg"
    assert not report.pinned
    assert report.ok
    assert json.loads(json.dumps(report.as_dict()))["golden"][0]["differences"]["scene"] < 1e-3


def test_verify_says_who_vouches(bundle_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_bundle(bundle_copy).manifest_sha256
    monkeypatch.setattr(verify_module, "DEFAULT_MANIFEST_SHA256", found)
    report = verify_bundle(bundle_copy, ())
    assert report.pinned
    assert report.signature == "unsigned; its manifest hash matches the one pinned in firmware_cfg"
    assert report.as_dict()["signed_by"] is None


def test_verify_says_who_signed_and_whether_that_key_was_named(bundle_copy: Path, tmp_path: Path) -> None:
    _, public, key = generate_key(tmp_path / "owner", days=10)
    _, other, _ = generate_key(tmp_path / "other")
    unsigned = verify_bundle(bundle_copy, (), trusted_keys=[public])
    assert not unsigned.ok
    assert unsigned.problems[0].startswith(f"{bundle_copy}: unsigned, but a signature is required")
    sign_bundle(bundle_copy, key)

    nobody = verify_bundle(bundle_copy, ())
    assert nobody.ok
    assert nobody.signature.startswith(f"signed by key {key.id}, which calls itself owner, on ")
    assert nobody.signature.endswith("; no key is trusted here")

    named = verify_bundle(bundle_copy, (), trusted_keys=[other, public])
    assert named.ok
    assert named.signature.startswith(f"signed by owner (key {key.id}), which is trusted, on ")
    facts = json.loads(json.dumps(named.as_dict()))
    assert facts["problems"] == []
    assert facts["signed_by"]["key_id"] == key.id
    assert (facts["signed_by"]["name"], facts["signed_by"]["trusted"]) == ("owner", True)
    assert facts["signed_by"]["expires_at"] == time_text(key.expires)

    stranger = verify_bundle(bundle_copy, (), trusted_keys=[other])
    assert not stranger.ok
    assert "; the trusted keys are other (key " in stranger.problems[0]
    assert stranger.as_dict()["problems"] == list(stranger.problems)


def test_an_archive_is_verified_like_the_folder_it_came_from(bundle_copy: Path, tmp_path: Path) -> None:
    _, public, key = generate_key(tmp_path / "owner")
    archive = tmp_path / "bundle.tar"
    sign_bundle(bundle_copy, key, out=archive)
    report = verify_bundle(archive, trusted_keys=[public])
    assert report.problems == ()
    assert report.as_dict()["bundle"] == str(archive)
    assert [check.precision for check in report.golden] == ["fp32", "text"]
    assert verify_bundle(archive, (), trusted_keys=[]).bundle.manifest == report.bundle.manifest


def test_a_loaded_bundle_is_not_hashed_again(tiny_bundle: Bundle) -> None:
    report = verify_loaded(tiny_bundle, ("onnxruntime",))
    assert report.ok
    assert report.bundle is tiny_bundle
    assert report.name == str(tiny_bundle.path)
