"""The memory that health reports."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.health import resident_mib


def test_resident_memory_is_pages_in_mib(tmp_path: Path) -> None:
    statm = tmp_path / "statm"
    statm.write_text("900 512 3 4 5 6 7\n")
    assert resident_mib(statm) == pytest.approx(512 * os.sysconf("SC_PAGE_SIZE") / 2**20, abs=0.05)


@pytest.mark.parametrize("text", [None, "", "900", "900 many"])
def test_a_system_that_does_not_tell_gives_none(tmp_path: Path, text: str | None) -> None:
    statm = tmp_path / "statm"
    if text is not None:
        statm.write_text(text)
    assert resident_mib(statm) is None
