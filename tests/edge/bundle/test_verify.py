"""Verifying a bundle: who vouches for it, and whether this machine's engines reproduce it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import edge.bundle.verify as verify_module
from compile.sign import sign_bundle
from compile.signing_keys import generate_key
from edge.bundle.keys import time_text
from edge.bundle.load import Bundle, load_bundle, write_manifest
from edge.bundle.verify import verify_bundle, verify_loaded
from edge.cli import app
from firmware_cfg.errors import EngineError


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


def with_variants(
    folder: Path, fields: dict[str, Any], variants: tuple[str, ...], failed: tuple[str, ...] = ()
) -> Bundle:
    """The bundle with the same graph under more names, of which some failed their accuracy gate."""
    files = {name: "image.onnx" if name == "fp32" else f"image.{name}.onnx" for name in variants}
    for name in files.values():
        if name != "image.onnx":
            (folder / name).write_bytes((folder / "image.onnx").read_bytes())
    gate = {
        "probe": "p",
        "engine": "openvino",
        "images": 1,
        "cosine_mean": 0.9,
        "cosine_min": 0.8,
        "places": 1,
    }
    gates = {
        name: {**gate, "passed": name not in failed, "problems": ["cosine 0.9"] if name in failed else []}
        for name in variants
    }
    regressions = [f"{name} on openvino: cosine 0.9" for name in failed]
    write_manifest(folder, {**fields, "variants": files, "gates": gates, "regressions": regressions})
    return load_bundle(folder)


def test_what_was_let_pass_is_told_and_no_problem_of_this_machine(
    bundle_copy: Path, manifest_fields: dict[str, Any]
) -> None:
    with_variants(bundle_copy, manifest_fields, ("fp32", "int8"), failed=("int8",))
    told = CliRunner().invoke(app, ["bundle", "verify", str(bundle_copy)])
    assert told.exit_code == 0
    assert "lost when this bundle was made, and let pass: int8 on openvino: cosine 0.9\n" in told.stdout
    assert "openvino int8: ok (" in told.stdout
    report = json.loads(CliRunner().invoke(app, ["bundle", "verify", str(bundle_copy), "--json"]).stdout)
    assert report["regressions"] == ["int8 on openvino: cosine 0.9"]
    assert report["ok"]


def test_a_variant_that_cannot_run_is_a_problem_and_the_others_are_still_run(
    bundle_copy: Path, manifest_fields: dict[str, Any]
) -> None:
    bundle = with_variants(bundle_copy, manifest_fields, ("int8", "fp32"))
    (bundle_copy / "image.int8.onnx").write_bytes(b"no graph")
    write_manifest(bundle_copy, {**manifest_fields, "variants": bundle.manifest.variants})
    report = verify_bundle(bundle_copy)
    assert [(check.precision, bool(check.problems)) for check in report.golden] == [
        ("int8", True),
        ("fp32", False),
        ("text", False),
    ]
    (problem,) = report.problems
    assert problem.startswith(f"openvino int8: {bundle_copy / 'image.int8.onnx'}")
    shown = CliRunner().invoke(app, ["bundle", "verify", str(bundle_copy)])
    assert shown.exit_code == 1
    assert "openvino int8: off\n" in shown.stdout


def test_an_engine_that_there_is_not_is_no_problem_of_the_bundle(tiny_bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"there is no engine 'tensorflow' \(choose one of openvino, "):
        verify_loaded(tiny_bundle, ("tensorflow",))
