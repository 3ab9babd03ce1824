from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from compile.distill.answers import Answers
from compile.distill.store import TeacherStore
from firmware_cfg.errors import RemoteclipError, UsageError
from training.errors import CheckpointError

IDENTITY = {"teacher_sha256": "aa", "drawn": {"seed": 3}}


def drawn_answers(seed: int, prompts: int = 5, boxes: int = 4) -> Answers:
    rng = np.random.default_rng(seed)

    def half(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float16)

    return Answers(
        half(2, prompts, 6, 6),
        half(2, boxes, 6, 6),
        half(2, 8),
        half(3, 8),
        rng.integers(0, 255, (2, 4, 4, 3), np.uint8),
        rng.integers(0, 255, (3, 4, 4, 3), np.uint8),
    )


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """A disk that is full, as far as this process can see."""
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("boxes", [4, 0])
def test_answers_come_back_as_they_were_without_being_read_at_once(tmp_path: Path, boxes: int) -> None:
    store = TeacherStore(tmp_path / "store", IDENTITY)
    written = [drawn_answers(step, prompts=3 + step, boxes=boxes) for step in range(3)]
    for step, answers in enumerate(written):
        store.write(step, answers)
    again = TeacherStore(tmp_path / "store", IDENTITY)
    for step, answers in enumerate(written):
        found = again.read(step, answers.crop_mark, answers.scene_mark)
        assert isinstance(found.maps, np.memmap)
        for field in fields(Answers):
            wanted = getattr(answers, field.name)
            assert getattr(found, field.name).dtype == wanted.dtype
            np.testing.assert_array_equal(getattr(found, field.name), wanted)


def test_what_is_missing_is_told_apart_from_what_is_there(tmp_path: Path) -> None:
    store = TeacherStore(tmp_path, IDENTITY)
    for step in (0, 3):
        store.write(step, drawn_answers(step))
    assert store.missing(5) == [1, 2, 4]


def test_answers_to_other_questions_are_refused(tmp_path: Path) -> None:
    TeacherStore(tmp_path, IDENTITY)
    with pytest.raises(UsageError, match="answers of another teacher"):
        TeacherStore(tmp_path, {**IDENTITY, "teacher_sha256": "bb"})


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"sea")
    with pytest.raises(UsageError, match="not a teacher's store"):
        TeacherStore(tmp_path, IDENTITY)
    assert [file.name for file in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("kept", [0, 40, 0.6])
def test_a_torn_shard_is_named(tmp_path: Path, kept: float) -> None:
    store, answers = TeacherStore(tmp_path, IDENTITY), drawn_answers(0)
    store.write(0, answers)
    file = tmp_path / "step-000000.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept if kept >= 1 else kept * len(whole))])
    with pytest.raises(CheckpointError, match=r"step-000000\.npy: damaged \(remove it"):
        store.read(0, answers.crop_mark, answers.scene_mark)


def test_crops_that_the_teacher_did_not_see_are_noticed(tmp_path: Path) -> None:
    store, answers = TeacherStore(tmp_path, IDENTITY), drawn_answers(0)
    store.write(0, answers)
    nearly = np.clip(answers.crop_mark.astype(int) + 2, 0, 255).astype(np.uint8)  # another JPEG decoder
    store.read(0, nearly, answers.scene_mark)
    with pytest.raises(CheckpointError, match="the teacher saw other crops"):
        store.read(0, answers.crop_mark[::-1], answers.scene_mark)
    with pytest.raises(CheckpointError, match="the teacher saw other crops"):
        store.read(0, answers.crop_mark, answers.scene_mark[:2])


def test_an_answer_that_is_no_number_is_not_stored(tmp_path: Path) -> None:
    store, answers = TeacherStore(tmp_path, IDENTITY), drawn_answers(0)
    broken = answers.maps.copy()
    broken[1, 2, 3, 4] = np.inf
    with pytest.raises(RemoteclipError, match=r"step 0 \(maps\) is not a number"):
        store.write(0, replace(answers, maps=broken))
    assert store.missing(1) == [0]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    store = TeacherStore(tmp_path, IDENTITY)
    with files_at_most(300), pytest.raises(RemoteclipError, match=r"step-000000\.npy: cannot be written"):
        store.write(0, drawn_answers(0))
    assert [file.name for file in tmp_path.iterdir()] == ["store.json"]


def test_a_round_that_cannot_fit_is_refused_after_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TeacherStore(tmp_path, IDENTITY)
    store.write(0, drawn_answers(0))
    size = (tmp_path / "step-000000.npy").stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=9 * size))
    store.require_space(10)
    with pytest.raises(UsageError, match=r"11 answers need .*\(lower --round"):
        store.require_space(11)


def test_sentences_are_encoded_once(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def encode(texts: list[str]) -> np.ndarray:
        asked.append(texts)
        return np.eye(len(texts), 4, dtype=np.float32)

    for _ in range(2):
        bank = TeacherStore(tmp_path, IDENTITY).bank(["a ship", "a car", "a ship"], encode)
        assert bank.of(["a car"]).tolist() == [[0, 1, 0, 0]]
    assert asked == [["a ship", "a car"]]
    TeacherStore(tmp_path, IDENTITY).bank(["a ship"], encode)
    assert asked[1:] == [["a ship"]]
