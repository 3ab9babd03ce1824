"""The pin of the shipped bundle."""

from __future__ import annotations

import hashlib
import re

import pytest

from firmware_cfg.bundles import DEFAULT_MANIFEST_SHA256, default_bundle_path


def test_the_pinned_hash_is_that_of_the_shipped_manifest() -> None:
    manifest = default_bundle_path() / "manifest.json"
    if not manifest.is_file():
        pytest.skip(f"this tree has no bundle at {default_bundle_path()}")
    assert DEFAULT_MANIFEST_SHA256 is not None
    assert re.fullmatch("[0-9a-f]{64}", DEFAULT_MANIFEST_SHA256)
    assert hashlib.sha256(manifest.read_bytes()).hexdigest() == DEFAULT_MANIFEST_SHA256
