"""Signing as its users meet it: keys made, a bundle signed, and a drone that takes no other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from firmware_cfg.bundles import default_bundle_path

Command = Callable[..., "subprocess.CompletedProcess[str]"]

DEVICE = """\
device: bird
source: {{uri: ground.png}}
prompts: list.yaml
state_dir: state
mqtt: {{url: 'mqtt://127.0.0.1:9'}}
bundle: mine
require_signature: true
trusted_keys: [{keys}]
"""


@pytest.fixture
def remoteclip(repository: Path, tmp_path: Path) -> Command:
    """`remoteclip(*arguments)`, run in tmp_path; with the group `compile`, which an installation adds."""
    installed = tmp_path / "site" / "remoteclip_edge-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: remoteclip-edge\nVersion: 0\n")
    (installed / "entry_points.txt").write_text("[remoteclip.commands]\ncompile = compile.cli:app\n")
    environment = {**os.environ, "PYTHONPATH": f"{repository}{os.pathsep}{installed.parent}"}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge.cli", *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    return run


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A copy of the shipped bundle, of which any file may be changed."""
    if not (default_bundle_path() / "manifest.json").is_file():
        pytest.skip("this checkout has no model bundle in firmware_cfg/bundles/default")
    return Path(shutil.copytree(default_bundle_path(), tmp_path / "mine"))


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_drone_takes_what_a_trusted_key_signed_and_says_why_it_refuses_the_rest(
    remoteclip: Command, mine: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.yaml").write_text("prompts: [{id: car, text: a car seen from above}]\n")
    cv2.imwrite(str(tmp_path / "ground.png"), np.full((96, 160, 3), 90, np.uint8))

    def fly(*keys: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "device.yaml").write_text(DEVICE.format(keys=", ".join(keys)))
        return remoteclip("run", "device.yaml")

    def refusal(*keys: str) -> str:
        done = fly(*keys)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        return line

    for name in ("old", "new"):
        made = remoteclip("compile", "keygen", "-o", name)
        assert made.returncode == 0, made.stderr
    assert remoteclip("compile", "keygen", "-o", "old").returncode == 1

    assert refusal("old.pub").startswith(f"{mine}: unsigned, but a signature is required")
    assert remoteclip("compile", "sign", "mine", "--key", "new.key").returncode == 0
    assert "which calls itself new, on " in refusal("old.pub")

    flip_a_bit(mine / "signature")
    assert refusal("new.pub").startswith(f"{mine / 'signature'}: ")
    flip_a_bit(mine / "signature")
    public = (tmp_path / "new.pub").read_text()
    (tmp_path / "new.pub").write_text(public.replace("Expires: never", "Expires: 2020-01-01T00:00:00Z"))
    assert "the key expired on 2020-01-01T00:00:00Z" in refusal("old.pub", "new.pub")
    assert "new.key:5:1: this is a private key" in refusal("new.key")

    (tmp_path / "new.pub").write_text(public)
    flown = fly("old.pub", "new.pub")
    assert flown.returncode == 0, flown.stderr
    assert f"{mine}: signed by new (key " in flown.stderr
    assert "), which is trusted, on " in flown.stderr
    secret = (tmp_path / "new.key").read_text().splitlines()[5]
    assert secret not in flown.stderr + flown.stdout


def test_verify_tells_who_signed_an_archive_and_which_file_was_changed(
    remoteclip: Command, mine: Path, tmp_path: Path
) -> None:
    assert remoteclip("compile", "keygen", "-o", "owner").returncode == 0
    signed = remoteclip("compile", "sign", "mine", "--key", "owner.key", "--out", "mine.tar")
    assert signed.returncode == 0, signed.stderr
    assert not (mine / "signature").exists()
    good = remoteclip("bundle", "verify", "mine.tar", "--key", "owner.pub")
    assert good.returncode == 0, good.stderr
    assert "signed by owner (key " in good.stdout
    assert remoteclip("bundle", "verify", "mine", "--key", "owner.pub").returncode == 1

    data = bytearray((tmp_path / "mine.tar").read_bytes())
    at = data.index(b"tokenizer.json\0") + 512 + 100
    data[at] ^= 1
    (tmp_path / "mine.tar").write_bytes(data)
    bad = remoteclip("bundle", "verify", "mine.tar", "--key", "owner.pub")
    assert bad.returncode == 1
    (line,) = bad.stderr.splitlines()
    assert line.startswith("mine.tar/tokenizer.json: SHA-256 is ")
