"""File habits: writes are whole or not at all, and a missing cache is said once and survived."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest

from edge import files
from edge.files import cache_folder, open_npz, sha256_of_file, write_atomically


def test_writing_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"a longer old content")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_hash_of_a_file_longer_than_one_read(tmp_path: Path) -> None:
    path = tmp_path / "long"
    data = bytes(range(256)) * (3 << 12) + b"rest"
    path.write_bytes(data)
    assert sha256_of_file(path) == hashlib.sha256(data).hexdigest()


def test_cache_root_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("text") == tmp_path / "own" / "text"
    monkeypatch.delenv("REMOTECLIP_CACHE")
    assert cache_folder("text") == tmp_path / "xdg" / "remoteclip" / "text"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("text") == tmp_path / "home" / ".cache" / "remoteclip" / "text"
    assert (tmp_path / "home" / ".cache" / "remoteclip" / "text").is_dir()


def test_no_place_for_a_cache_is_logged_and_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert cache_folder("text") is None
    assert "set REMOTECLIP_CACHE to a writable folder" in caplog.text


def test_a_cache_without_write_permission_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("REMOTECLIP_CACHE", str(tmp_path))
    monkeypatch.setattr(files.os, "access", lambda *_: False)  # root may write anywhere
    assert cache_folder("text") is None
    assert "is not writable" in caplog.text


def test_an_array_is_not_an_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros(2))
    with pytest.raises(ValueError, match="one array, not an archive"):
        open_npz(tmp_path / "array.npy")
