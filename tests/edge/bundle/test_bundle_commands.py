"""`remoteclip bundle install | activate | rollback | show`, as an operator types them."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from compile.sign import sign_bundle
from compile.signing_keys import generate_key
from edge.bundle.load import load_bundle, write_manifest
from edge.bundle.preflight import bundle_problem
from edge.cli import app
from edge.prompts.shelf import PromptShelf, list_path
from firmware_cfg.device import load_device
from firmware_cfg.errors import ConfigErrors

DEVICE = """\
device: bird
source: {{uri: demo}}
prompts: list.yaml
bundle: {bundle}
engine: {{name: onnxruntime}}
trusted_keys: [{key}]
require_signature: true
"""


def remoteclip(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bundle", *map(str, arguments)])


def refusal(*arguments: object, code: int = 1) -> str:
    """What a command says that fails; nothing else."""
    done = remoteclip(*arguments)
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    return done.stderr.rstrip("\n")


@pytest.fixture
def device(tmp_path: Path, bundle_copy: Path) -> Path:
    """A device file for slots that does not exist yet; `bundle_copy` is signed as it demands."""
    _, public, key = generate_key(tmp_path / "owner")
    sign_bundle(bundle_copy, key)
    (tmp_path / "list.yaml").write_text("prompts: [{id: red, text: red}]\n")
    path = tmp_path / "device.yaml"
    path.write_text(DEVICE.format(bundle=tmp_path / "bundles", key=public))
    return path


def test_a_bundle_is_installed_activated_and_rolled_back_for_a_device(
    device: Path, bundle_copy: Path, tmp_path: Path, manifest_fields: dict[str, Any]
) -> None:
    first = load_bundle(bundle_copy).manifest_sha256
    slots = tmp_path / "bundles"
    done = remoteclip("install", bundle_copy, "--device", device)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == f"tiny-colours, manifest {first}"
    assert lines[1].startswith("signed by owner (key ")
    assert lines[2:] == [
        f"{slots / 'a'}: installed, its self-test passed on onnxruntime",
        f"it flies after: remoteclip bundle activate --device {device}, and a restart",
    ]
    assert remoteclip("activate", "--device", device).stdout.splitlines()[1].endswith("; flies")
    again = remoteclip("install", bundle_copy, "--device", device)
    assert again.exit_code == 0
    assert f"{slots / 'a'}: is this bundle and active already; nothing was installed" in again.stdout

    write_manifest(bundle_copy, {**manifest_fields, "model": "tiny-2"})
    assert "unsigned, but a signature is required" in refusal("install", bundle_copy, "--device", device)
    _, _, key = generate_key(tmp_path / "other")
    sign_bundle(bundle_copy, key)
    assert "the trusted keys are owner" in refusal("install", bundle_copy, "--device", device)
    named = remoteclip("install", bundle_copy, "--slots", slots, "--key", tmp_path / "other.pub", "--json")
    facts = json.loads(named.stdout)
    second = load_bundle(bundle_copy).manifest_sha256
    assert (facts["folder"], facts["slot"], facts["model"]) == (str(slots / "b"), "b", "tiny-2")
    assert (facts["manifest_sha256"], facts["was_active"]) == (second, False)
    assert "the trusted keys are owner" in refusal("activate", "--device", device)

    on_trial = remoteclip("activate", "--slots", slots)
    _, line_a, line_b = on_trial.stdout.splitlines()
    assert line_a.startswith(f"a: tiny-colours {first[:12]}, 20")
    assert line_a.endswith("Z; flew before")
    assert line_b.endswith("Z; flies, on trial with 3 starts left")
    back = json.loads(remoteclip("rollback", "--device", device, "--json").stdout)
    assert (back["active"], back["rolled_back"]["manifest_sha256"]) == ("a", second)
    shown = remoteclip("show", "--device", device).stdout.splitlines()
    assert shown[0] == str(slots)
    assert shown[1].endswith("; flies")
    assert shown[3].startswith(f"{second[:12]} was rolled back at 20")
    assert shown[3].endswith("Z: asked for")
    assert refusal("rollback", "--device", device) == (
        f"{slots}: there is no bundle to go back to (remoteclip bundle show)"
    )


def test_the_self_test_runs_what_would_fly(device: Path, bundle_copy: Path, tmp_path: Path) -> None:
    device.write_text(device.read_text().replace("onnxruntime}", "onnxruntime, precision: int8}"))
    said = refusal("install", bundle_copy, "--device", device)
    assert said.startswith(f"{bundle_copy}: failed its self-test here, not installed: onnxruntime int8: ")
    assert "no int8 image graph in this bundle" in said
    assert not (tmp_path / "bundles" / "a").exists()

    device.write_text(device.read_text().replace("precision: int8", "precision: fp32"))
    (tmp_path / "list.yaml").write_text(f"prompts: [{{id: red, text: {'red ' * 10}}}]\n")
    said = refusal("install", bundle_copy, "--device", device)
    assert "failed its self-test here, not installed: " in said
    assert "list.yaml:1:" in said
    (tmp_path / "list.yaml").write_text("prompts: [{id: red, text: green}]\n")
    assert remoteclip("install", bundle_copy, "--device", device).exit_code == 0


def test_the_self_test_tries_the_list_in_force(device: Path, bundle_copy: Path, tmp_path: Path) -> None:
    device.write_text(f"{device.read_text()}state_dir: state\n")
    sent = f"prompts: [{{id: red, text: {'red ' * 10}}}]\n".encode()
    kept = list_path(tmp_path / "state" / "prompts", hashlib.sha256(sent).hexdigest())
    with PromptShelf(kept.parent) as shelf:
        shelf.put(sent, "mqtt", datetime.now(timezone.utc))
    said = refusal("install", bundle_copy, "--device", device)
    assert f"failed its self-test here, not installed: {kept}:1:" in said
    kept.unlink()
    done = remoteclip("install", bundle_copy, "--device", device)
    assert done.exit_code == 0
    assert "the bundle is not tried with the list in force" in done.stderr


def test_an_active_bundle_that_lacks_the_signature_is_installed_with_it(
    device: Path, bundle_copy: Path, tmp_path: Path
) -> None:
    slots, signature = tmp_path / "bundles", bundle_copy / "signature"
    signed = signature.read_bytes()
    signature.unlink()
    assert remoteclip("install", bundle_copy, "--slots", slots, "--engine", "onnxruntime").exit_code == 0
    assert remoteclip("activate", "--slots", slots).exit_code == 0
    assert "unsigned, but a signature is required" in bundle_problem(device)

    signature.write_bytes(signed)
    done = remoteclip("install", bundle_copy, "--device", device)
    assert done.exit_code == 0, done.output
    assert f"{slots / 'b'}: installed, its self-test passed on onnxruntime" in done.stdout
    assert remoteclip("activate", "--device", device).exit_code == 0
    assert bundle_problem(device) == ""


def test_the_slots_of_a_relative_path_need_not_exist_before_the_first_install(
    device: Path, bundle_copy: Path, tmp_path: Path
) -> None:
    text = device.read_text()
    assert f"bundle: {tmp_path / 'bundles'}" in text
    device.write_text(text.replace(f"bundle: {tmp_path / 'bundles'}", "bundle: bundles"))
    nowhere = f"{tmp_path / 'bundles'}: there is no such folder (remoteclip bundle install makes it)"
    for command in ("show", "activate", "rollback"):
        assert refusal(command, "--device", device) == nowhere
    with pytest.raises(ConfigErrors, match=r"name a bundle that exists.*; remoteclip bundle install makes"):
        load_device(device)
    (tmp_path / "bundles").mkdir()
    assert f"{tmp_path / 'bundles'}: holds no bundle (remoteclip bundle install" in bundle_problem(device)
    (tmp_path / "bundles").rmdir()
    assert remoteclip("install", bundle_copy, "--device", device).exit_code == 0
    assert remoteclip("activate", "--device", device).exit_code == 0
    assert bundle_problem(device) == ""


def test_wrong_use_is_said(device: Path, bundle_copy: Path, tmp_path: Path) -> None:
    both = "name the device file with --device, or its slots with --slots"
    assert both in refusal("show", code=2)
    assert both in refusal("activate", "--device", device, "--slots", tmp_path, code=2)
    assert "--key goes with --slots" in refusal("activate", "--device", device, "--key", "k.pub", code=2)
    options = ("--device", device, "--engine", "openvino")
    assert "--engine goes with --slots" in refusal("install", bundle_copy, *options, code=2)
    said = refusal("show", "--slots", tmp_path / "nowhere")
    assert said.endswith("nowhere: there is no such folder (remoteclip bundle install makes it)")
    assert "is one bundle, not a folder for slots" in refusal("show", "--slots", bundle_copy)
    device.write_text("device: bird\nsource: {uri: demo}\nprompts: list.yaml\n")
    assert refusal("show", "--device", device) == (
        f"{device}: bundle is the shipped one, not a folder of slots"
        " (bundle: /var/lib/remoteclip/bundles, for example)"
    )
