"""Verifying a bundle: who vouches for it, and whether this machine's engines reproduce it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import edge.verify as verify_module
from edge.bundle import load_bundle
from edge.verify import verify_bundle


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
    (bundle_copy / "signature").write_bytes(b"?")
    assert verify_bundle(bundle_copy, ()).signature == "has a signature, which this release cannot check"
