"""The cache of engines: found by its whole key or not at all."""

from __future__ import annotations

import os
import time
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge.engine_cache import (
    KEPT,
    ORPHANED_S,
    EngineCache,
    EngineKey,
    Environment,
    Record,
    now,
    stale_because,
)

HERE = Environment("tensorrt", "10.3.0", "Orin", "8.7", 8, "12.6 (540.4.0)")
KEY = EngineKey("ab" * 32, "fp16", (640, 384), 4, 256, HERE)


def record(key: EngineKey = KEY, age: int = 0) -> Record:
    return Record(key=key, model="remoteclip-lite-1", created_at=now() - timedelta(seconds=age))


def test_a_plan_is_found_by_its_key(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    assert cache.find(KEY) is None
    written = cache.keep(record(), b"plan")
    found = EngineCache(tmp_path).find(KEY)
    assert found is not None
    assert (found.data, found.record) == (b"plan", written)
    assert written.plan_bytes == 4


OTHERS = [
    replace(KEY, bundle="cd" * 32),
    replace(KEY, precision="int8"),
    replace(KEY, image_size=(384, 640)),
    replace(KEY, max_batch=1),
    replace(KEY, max_prompts=64),
    *(
        replace(KEY, environment=replace(HERE, **{field.name: 16 if field.type == "int" else "other"}))
        for field in fields(Environment)
    ),
]


@pytest.mark.parametrize("other", OTHERS)
def test_any_difference_is_another_engine(tmp_path: Path, other: EngineKey) -> None:
    cache = EngineCache(tmp_path)
    cache.keep(record(), b"plan")
    assert cache.find(other) is None
    cache.keep(record(other), b"other plan")
    assert [cache.find(key).data for key in (KEY, other)] == [b"plan", b"other plan"]  # type: ignore[union-attr]


def test_a_record_under_another_key_s_name_is_not_believed(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.keep(record(), b"plan")
    stale = replace(KEY, environment=replace(HERE, driver="13.0"))
    for suffix in ("json", "plan"):
        (tmp_path / f"{KEY.digest}.{suffix}").rename(tmp_path / f"{stale.digest}.{suffix}")
    assert cache.find(stale) is None


@pytest.mark.parametrize("text", [b"", b"{}", b"not json", b'{"version": 2}'])
def test_a_record_that_cannot_be_read_is_no_record(tmp_path: Path, text: bytes) -> None:
    cache = EngineCache(tmp_path)
    cache.keep(record(), b"plan")
    (tmp_path / f"{KEY.digest}.json").write_bytes(text)
    assert cache.find(KEY) is None
    assert list(cache.records()) == []


def test_a_plan_without_its_record_is_not_found(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.keep(record(), b"plan")
    (tmp_path / f"{KEY.digest}.json").unlink()
    assert cache.find(KEY) is None


def test_a_full_disk_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge.engine_cache.write_atomically", full)
    cache = EngineCache(tmp_path)
    assert cache.keep(record(), b"plan").plan_bytes == 4
    assert "the engine is not kept: No space left on device" in caplog.text
    assert list(tmp_path.iterdir()) == []
    found = cache.find(KEY)
    assert found is not None
    assert found.data == b"plan"
    assert EngineCache(tmp_path).find(KEY) is None


def test_the_oldest_go(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    keys = [replace(KEY, max_batch=batch) for batch in range(KEPT + 3)]
    for age, key in enumerate(keys):
        cache.keep(record(key, age), b"plan")
    assert {item.key for item in cache.records()} == set(keys[:KEPT])
    assert len(list(tmp_path.glob("*.plan"))) == KEPT


def test_what_no_record_speaks_of_goes_when_it_is_old(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    elsewhere = replace(HERE, driver="13.0")
    orphan, unreadable = (replace(KEY, max_batch=batch).digest for batch in (7, 8))
    cache.keep(record(), b"plan")
    kept = {f"{KEY.digest}.json", f"{KEY.digest}.plan", "notes.txt"}
    timing = [cache.timing_cache(environment) for environment in (HERE, elsewhere)]
    kept.add(timing[0].name)  # type: ignore[union-attr]
    old = [f"{orphan}.plan", f"{unreadable}.json", f"{unreadable}.plan", f".{orphan}.plan.0a1b2c.tmp"]
    for name in (*old, *kept, *(path.name for path in timing if path)):
        path = tmp_path / name
        path.touch()
        os.utime(path, (time.time() - ORPHANED_S - 60,) * 2)
    young = replace(KEY, max_batch=9).digest
    (tmp_path / f"{young}.plan").write_bytes(b"its record is written next")
    cache.keep(record(replace(KEY, precision="int8")))
    int8 = replace(KEY, precision="int8").digest
    assert {path.name for path in tmp_path.iterdir()} == {*kept, f"{young}.plan", f"{int8}.json"}
    assert cache.record(KEY) is not None


def test_an_orphan_that_cannot_be_removed_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = tmp_path / "stuck.plan"
    stuck.mkdir()
    os.utime(stuck, (0, 0))
    cache = EngineCache(tmp_path)
    cache.keep(record(), b"plan")
    assert "stuck.plan: not removed" in caplog.text
    assert EngineCache(tmp_path).find(KEY) is not None
    assert "not kept" not in caplog.text


@pytest.mark.parametrize(
    ("built", "allowed", "fits"),
    [
        (None, None, True),
        (512, None, True),
        (512, 512, True),
        (256, 512, True),
        (1024, 512, False),
        (None, 512, False),
    ],
)
def test_an_engine_is_used_within_the_memory_it_was_built_for(
    built: int | None, allowed: int | None, fits: bool
) -> None:
    assert record().model_copy(update={"workspace_mib": built}).keeps_within(allowed) is fits


def test_why_a_kept_engine_is_stale() -> None:
    assert stale_because(record(), HERE) == ""
    later = replace(HERE, library_version="10.16.1", driver="13.0")
    assert stale_because(record(), later) == (
        "library version was 10.3.0, is 10.16.1; driver was 12.6 (540.4.0), is 13.0"
    )
