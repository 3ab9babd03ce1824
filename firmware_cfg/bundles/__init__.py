"""The model bundle that ships with the package, and the hash that pins it."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def default_bundle_path() -> Path:
    """Folder of the shipped bundle."""
    return _HERE / "default"


def _pinned_hash() -> str | None:
    try:
        return (_HERE / "default.sha256").read_text(encoding="ascii").split()[0]
    except FileNotFoundError:
        return None


#: SHA-256 (hex) of the shipped bundle's manifest.json, from default.sha256; None in a tree without one.
DEFAULT_MANIFEST_SHA256: str | None = _pinned_hash()
