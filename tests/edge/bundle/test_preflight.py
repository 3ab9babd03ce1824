"""A checked device file is one whose bundle flies, where bundle and keys are on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from compile.signing_keys import generate_key
from edge.bundle.preflight import bundle_problem


@pytest.fixture
def device_path(tmp_path: Path) -> Path:
    return tmp_path / "device.yaml"


def write(path: Path, bundle: str, more: str = "") -> Path:
    path.write_text(f"device: bird\nsource: {{uri: demo}}\nbundle: {bundle}\n{more}")
    return path


def test_a_whole_bundle_is_no_problem(device_path: Path, bundle_copy: Path) -> None:
    assert bundle_problem(write(device_path, "bundle")) == ""


def test_a_damaged_file_is_named(device_path: Path, bundle_copy: Path) -> None:
    (bundle_copy / "card.md").write_text("Another card.\n")
    assert f"{bundle_copy / 'card.md'}: SHA-256 is " in bundle_problem(write(device_path, "bundle"))


def test_an_unsigned_bundle_is_a_problem_where_signatures_are_required(
    device_path: Path, bundle_copy: Path, tmp_path: Path
) -> None:
    generate_key(tmp_path / "release")
    keys = "require_signature: true\ntrusted_keys: [release.pub]\n"
    assert "signed" in bundle_problem(write(device_path, "bundle", keys))


def test_a_private_key_among_the_trusted_ones_is_found(
    device_path: Path, bundle_copy: Path, tmp_path: Path
) -> None:
    generate_key(tmp_path / "release")
    problem = bundle_problem(write(device_path, "bundle", "trusted_keys: [release.key]\n"))
    assert "this is a private key" in problem


def test_what_belongs_to_another_machine_is_not_judged(
    device_path: Path, bundle_copy: Path, tmp_path: Path
) -> None:
    (bundle_copy / "card.md").write_text("Another card.\n")
    assert bundle_problem(write(device_path, "/no/such/bundle")) == ""
    assert bundle_problem(write(device_path, "bundle", "trusted_keys: [/no/such/key.pub]\n")) == ""
