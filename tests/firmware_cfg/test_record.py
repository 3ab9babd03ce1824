"""The section `record` of a device file."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_cfg.device import load_device
from firmware_cfg.errors import ConfigErrors


def device(folder: Path, record: str) -> Path:
    path = folder / "drone.yaml"
    path.write_text(f"version: 1\ndevice: drone-7\nsource: {{uri: demo}}\n{record}")
    return path


def test_nothing_is_recorded_unless_asked_for(tmp_path):
    assert load_device(device(tmp_path, "")).record is None


def test_it_has_defaults_and_a_folder_beside_the_file(tmp_path):
    record = load_device(device(tmp_path, "record: {folder: kept, thumbnail_every: 500ms}\n")).record
    assert (record.folder, record.keep_mib, record.thumbnail_every) == (tmp_path / "kept", 1024, 0.5)
    assert load_device(device(tmp_path, "record: {}\n")).record.folder is None


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("record: {thumbnail_every: 10ms}", "thumbnail_every must be between 100ms and 1h"),
        ("record: {keep_mib: 0}", "keep_mib must be"),
        ("record: {keep: 3}", "unknown key keep"),
    ],
)
def test_slips_are_named_with_their_line(tmp_path, record, said):
    with pytest.raises(ConfigErrors) as caught:
        load_device(device(tmp_path, record))
    assert "drone.yaml:4:" in str(caught.value)
    assert said in str(caught.value)
