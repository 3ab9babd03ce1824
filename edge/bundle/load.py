"""A model bundle: reading it, every byte checked against its manifest, and writing that manifest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge.bundle.calibration import Calibration, load_calibration
from edge.bundle.keys import read_public_key
from edge.bundle.manifest import (
    CALIBRATION_NAME,
    COPY_AGAIN,
    MANIFEST_NAME,
    SIGNATURE_NAME,
    Manifest,
    TextTower,
    one_line,
    parse_manifest,
)
from edge.bundle.signature import Voucher, read_signature, vouch
from edge.bundle.slot_files import resolve
from edge.files import sha256_of_file, write_atomically
from edge.prompts.rectification import RECTIFICATION_NAME, load_rectification
from firmware_cfg.bundles import DEFAULT_MANIFEST_SHA256, default_bundle_path
from firmware_cfg.device import DeviceFile
from firmware_cfg.errors import BundleError

__all__ = [
    "DEFAULT",
    "Bundle",
    "Manifest",
    "TextTower",
    "load_bundle",
    "load_device_bundle",
    "write_manifest",
]

DEFAULT = "default"
MANIFEST_LIMIT = 1 << 20  # bytes; a real one has a few kilobytes


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A bundle whose every file had the hash that its manifest states when it was loaded.

    Attributes:
        path: its folder.
        manifest: the parsed manifest.
        manifest_sha256: hex SHA-256 of manifest.json's bytes; it covers every file, so it names the bundle.
        calibration: the parsed calibration.npz, and rectification.npz where there is one.
        voucher: who signed it, and whether that key is trusted.
    """

    path: Path
    manifest: Manifest
    manifest_sha256: str
    calibration: Calibration
    voucher: Voucher

    def file(self, name: str) -> Path:
        """Path of one of its files."""
        return self.path / name

    @property
    def text_graph(self) -> Path:
        """Path of the text graph."""
        return self.path / self.manifest.text.file


def load_bundle(
    path: str | Path,
    *,
    manifest_sha256: str | None = None,
    trusted_keys: Sequence[Path] = (),
    require_signature: bool = False,
) -> Bundle:
    """Read a bundle and verify every byte of it. A signature that does not fit is refused in any case.

    Args:
        path: the bundle's folder, or "default" for the one shipped in firmware_cfg, which is checked against
            the hash pinned there.
        manifest_sha256: the manifest hash that the caller insists on.
        trusted_keys: files of the public keys that may sign it.
        require_signature: refuse a bundle without a signature by one of them that is valid now.

    Raises:
        BundleError: a file is missing, changed, extra or unreadable, the manifest is not valid or too new,
            the bundle is not the one insisted on, or its signature will not do. Names the file and the mend.
        ConfigError: a trusted key's file cannot be read.
    """
    keys = [read_public_key(key) for key in trusted_keys]
    if path == DEFAULT:
        path = default_bundle_path()
        manifest_sha256 = manifest_sha256 or DEFAULT_MANIFEST_SHA256
        if manifest_sha256 is None:
            raise BundleError(
                f"{path}: firmware_cfg pins no hash for its default bundle (reinstall remoteclip-edge)"
            )
    folder = Path(path)
    data = _manifest_bytes(folder)
    found = hashlib.sha256(data).hexdigest()
    if manifest_sha256 is not None and found != manifest_sha256.lower():
        raise BundleError(
            f"{folder / MANIFEST_NAME}: SHA-256 is {found}, expected {manifest_sha256.lower()}"
            " (this is another bundle, or it was changed: install the one that was meant)"
        )
    # Before anything of the manifest is read: what is not signed shall not even reach the parser.
    voucher = vouch(read_signature(folder, found), keys)
    if require_signature and voucher.refusal:
        raise BundleError(f"{folder}: {voucher.refusal}")
    manifest = parse_manifest(data, folder / MANIFEST_NAME)
    _verify_files(folder, manifest)
    calibration = load_calibration(
        folder / CALIBRATION_NAME, manifest.embedding_width, manifest.position_width
    )
    if manifest.rectified:
        rectification = load_rectification(
            folder / RECTIFICATION_NAME, manifest.embedding_width, manifest.position_width
        )
        calibration = replace(calibration, rectification=rectification)
    return Bundle(folder, manifest, found, calibration, voucher)


def load_device_bundle(device: DeviceFile) -> Bundle:
    """`load_bundle` as a device file says: its bundle, judged by its trusted_keys and require_signature.

    Where `bundle` names slots it is the active one's; no start of a trial is counted (see begin_flight).
    """
    path = resolve(device.bundle)
    if path == device.bundle != DEFAULT:
        _expect_bundle(path)
    return load_bundle(path, trusted_keys=device.trusted_keys, require_signature=device.require_signature)


def _expect_bundle(path: str) -> None:
    try:
        os.lstat(os.path.join(path, MANIFEST_NAME))
    except FileNotFoundError as error:
        mend = "remoteclip bundle install makes slots there; or copy a whole bundle there"
        raise BundleError(f"{path}: holds no bundle ({mend})") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror} (name a bundle's folder)") from error


def write_manifest(
    folder: str | Path, manifest_fields: Mapping[str, Any], *, hashes: Mapping[str, str] | None = None
) -> Manifest:
    """Hash every file in `folder` and write its manifest.json atomically; the last step of making a bundle.

    Args:
        folder: holds the bundle's files. An older manifest and signature there are not part of the bundle's
            content: the manifest is replaced and the signature, which would no longer fit, is removed.
        manifest_fields: the fields of Manifest except `files`; `created_at` defaults to now.
        hashes: SHA-256 by name of files that have not changed since it was taken, such as the `files` of the
            manifest written a moment ago; they are not read again.

    Raises:
        BundleError: a field or a file is wrong or missing. Nothing is written then.
        OSError: the folder cannot be read or written.
    """
    folder = Path(folder)
    names = sorted(path.name for path in folder.iterdir() if path.name not in (MANIFEST_NAME, SIGNATURE_NAME))
    for name in names:
        if not (folder / name).is_file():
            raise BundleError(f"{folder / name}: not a file (a bundle is a flat folder: remove it)")
    fields: dict[str, Any] = {
        "created_at": datetime.now(timezone.utc).replace(microsecond=0),
        **manifest_fields,
    }
    known = hashes or {}
    fields["files"] = {name: known.get(name) or sha256_of_file(folder / name) for name in names}
    try:
        manifest = Manifest.model_validate(fields)
    except ValidationError as error:
        raise BundleError(f"{folder / MANIFEST_NAME}: {one_line(error)}") from error
    (folder / SIGNATURE_NAME).unlink(missing_ok=True)
    text = manifest.model_dump_json(by_alias=True, indent=2)
    write_atomically(folder / MANIFEST_NAME, (text + "\n").encode())
    return manifest


def _manifest_bytes(folder: Path) -> bytes:
    path = folder / MANIFEST_NAME
    try:
        if not folder.is_dir():
            problem = "there is no such folder"
            mend = f"name the folder that holds {MANIFEST_NAME}"
            if folder.exists():
                problem, mend = "is not a folder", f"{mend}; unpack an archive with tar -xf"
            raise BundleError(f"{folder}: {problem} ({mend})")
        with path.open("rb") as stream:
            data = stream.read(MANIFEST_LIMIT + 1)
    except FileNotFoundError as error:
        raise BundleError(f"{path}: missing (name a bundle folder, or {COPY_AGAIN})") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MANIFEST_LIMIT:
        raise BundleError(f"{path}: larger than {MANIFEST_LIMIT} bytes, no manifest is ({COPY_AGAIN})")
    return data


def _verify_files(folder: Path, manifest: Manifest) -> None:
    for name, expected in manifest.files.items():
        path = folder / name
        try:
            found = sha256_of_file(path)
        except FileNotFoundError as error:
            raise BundleError(f"{path}: missing ({COPY_AGAIN})") from error
        except OSError as error:
            raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
        if found != expected:
            raise BundleError(
                f"{path}: SHA-256 is {found}, the manifest says {expected}"
                f" (the file was changed or damaged: {COPY_AGAIN})"
            )
    known = {*manifest.files, MANIFEST_NAME, SIGNATURE_NAME}
    try:
        extras = sorted(path.name for path in folder.iterdir() if path.name not in known)
    except OSError as error:
        raise BundleError(f"{folder}: cannot be listed: {error.strerror}") from error
    for extra in extras:
        raise BundleError(f"{folder / extra}: not part of this bundle (remove it)")
