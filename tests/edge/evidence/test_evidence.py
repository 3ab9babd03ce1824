"""Pictures of alerts: what they show, how small they are, and the ring that keeps them."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.evidence.picture import MAX_SIDE, MIN_SIDE, picture
from edge.evidence.store import EvidenceStore
from edge.frames import I420Image, Image, NV12Image, RgbImage
from edge.letterbox import letterbox
from edge.runs.pictures import THUMBNAIL_SIDE, crop, thumbnail

KIB = 1024
BLOCK = 4096


def noise(width: int, height: int, seed: int = 0) -> RgbImage:
    """What compresses worst."""
    return RgbImage(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def scene(width: int, height: int, box: tuple[int, int, int, int]) -> RgbImage:
    """Grey, with a red box."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = (220, 20, 20)
    return RgbImage(pixels)


def as_i420(image: RgbImage) -> I420Image:
    """The same picture as a decoder hands it out, full range BT.601, with an odd size if it has one."""
    ycc = cv2.cvtColor(image.pixels, cv2.COLOR_RGB2YCrCb)
    y, v, u = (np.ascontiguousarray(ycc[..., channel]) for channel in range(3))
    return I420Image(y, u[::2, ::2].copy(), v[::2, ::2].copy(), "bt601", True)


def as_nv12(image: RgbImage) -> NV12Image:
    """As `as_i420`, from a hardware decoder."""
    planar = as_i420(image)
    return NV12Image(planar.y, np.stack([planar.u, planar.v], axis=2), "bt601", True)


KINDS: dict[str, Callable[[RgbImage], Image]] = {"RGB": lambda image: image, "I420": as_i420, "NV12": as_nv12}


def decoded(data: bytes) -> np.ndarray:
    """(H, W, 3) RGB."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def crop_of(data: bytes) -> list[float]:
    """The fractions that the JPEG's comment tells, found as any JPEG reader finds it: segment by segment."""
    place = 2
    while data[place : place + 2] != b"\xff\xfe":
        assert data[place] == 0xFF
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    length = int.from_bytes(data[place + 2 : place + 4], "big")
    return list(json.loads(data[place + 4 : place + 2 + length])["crop"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_shows_what_is_inside_the_boxes_and_says_where_that_was(kind: str) -> None:
    box = (301, 203, 501, 323)
    data = picture(KINDS[kind](scene(1001, 701, box)), [box], 64 * KIB)
    shown, crop = decoded(data), crop_of(data)
    left, top, right, bottom = (round(c * s) for c, s in zip(crop, (1001, 701) * 2, strict=True))
    assert (right - left, bottom - top) == shown.shape[1::-1]
    assert left < 301 < 501 < right  # with its surroundings
    assert top < 203 < 323 < bottom
    red = (shown[..., 0].astype(int) - shown[..., 1] > 100).nonzero()
    edges = (red[1].min() + left, red[0].min() + top, red[1].max() + left + 1, red[0].max() + top + 1)
    assert np.abs(np.subtract(edges, box)).max() <= 2
    middle = shown[(203 + 323) // 2 - top, (301 + 501) // 2 - left]
    assert np.abs(middle.astype(int) - (220, 20, 20)).max() < 12


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_that_are_made_small_keep_their_colours_and_places(kind: str) -> None:
    """As evidence of a large frame, and as the thumbnails and crops of a run."""
    image = KINDS[kind](scene(2601, 1501, (1300, 400, 2400, 1200)))
    for data, long_side in ((picture(image, [], 64 * KIB), MAX_SIDE), (thumbnail(image), THUMBNAIL_SIDE)):
        shown = decoded(data)
        assert max(shown.shape) == long_side
        scale = long_side / 2601
        for (x, y), colour in (((1850, 800), (220, 20, 20)), ((600, 800), (90, 90, 90))):
            assert np.abs(shown[round(y * scale), round(x * scale)].astype(int) - colour).max() < 12
    shown = decoded(crop(image, (1300, 400, 2400, 1200)))
    assert np.abs(shown[shown.shape[0] // 2, shown.shape[1] // 2].astype(int) - (220, 20, 20)).max() < 16


def test_no_boxes_mean_the_whole_frame_scaled_down() -> None:
    data = picture(scene(3840, 2160, (0, 0, 10, 10)), [], 64 * KIB)
    assert decoded(data).shape == (720, MAX_SIDE, 3)
    assert crop_of(data) == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "box", [(0, 0, 4, 4), (996, 697, 1001, 701), (500, 300, 500, 300), (-20, 690, 30, 720), (0, 0, 1001, 701)]
)
def test_a_small_thing_or_one_at_the_edge_gets_a_picture_inside_the_frame(
    box: tuple[float, float, float, float],
) -> None:
    for image in (noise(1001, 701), as_i420(noise(1001, 701))):
        data = picture(image, [box], 256 * KIB)
        left, top, right, bottom = (c * s for c, s in zip(crop_of(data), (1001, 701) * 2, strict=True))
        assert 0 <= left < right <= 1001.001
        assert 0 <= top < bottom <= 701.001
        assert min(right - left, bottom - top) >= MIN_SIDE - 2


def test_a_frame_smaller_than_the_least_that_is_shown_is_shown_whole() -> None:
    assert decoded(picture(noise(33, 21), [(5, 5, 9, 9)], 64 * KIB)).shape == (21, 33, 3)
    assert decoded(picture(as_i420(noise(1, 1)), [(0, 0, 1, 1)], 64 * KIB)).shape == (1, 1, 3)


@pytest.mark.parametrize("max_bytes", [4 * KIB, 16 * KIB, 64 * KIB])
def test_the_cap_holds_for_what_compresses_worst(max_bytes: int) -> None:
    data = picture(noise(1920, 1080), [], max_bytes)
    assert max_bytes / 4 < len(data) <= max_bytes  # and the room is used
    assert min(decoded(data).shape[:2]) > 16


def test_a_cap_below_any_jpeg_is_refused() -> None:
    with pytest.raises(ValueError, match="no picture fits into 100 bytes"):
        picture(noise(640, 480), [], 100)


def test_a_decoders_memory_is_not_written(tmp_path: Path) -> None:
    image = as_i420(noise(641, 481))
    for plane in (image.y, image.u, image.v):
        plane.setflags(write=False)
    before = letterbox(image, 64, 64)[0].copy()
    store = EvidenceStore(tmp_path, max_bytes_each=16 * KIB, keep_bytes=1 << 20)
    assert store.keep(image, [(10, 10, 300, 200)]) is not None
    assert np.array_equal(before, letterbox(image, 64, 64)[0])


def test_what_is_kept_is_found_by_its_hash_also_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "evidence"
    store = EvidenceStore(folder, max_bytes_each=64 * KIB, keep_bytes=1 << 20)
    name = store.keep(noise(200, 200), [])
    assert name is not None
    data = store.get(name)
    assert data is not None
    assert hashlib.sha256(data).hexdigest() == name
    assert [path.name for path in folder.iterdir()] == [f"{name}.jpg"]
    again = EvidenceStore(folder, max_bytes_each=64 * KIB, keep_bytes=1 << 20)
    assert (again.get(name), again.count, again.kept_bytes) == (data, 1, store.kept_bytes)
    assert again.get("0" * 64) is None
    assert again.get("../outbox.db") is None


def test_the_ring_forgets_the_oldest_and_never_exceeds_its_bound(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, max_bytes_each=16 * KIB, keep_bytes=10 * BLOCK)
    names: list[str] = []
    for seed in range(12):
        name = store.keep(noise(40, 40, seed), [])
        assert name is not None
        names.append(name)
        on_disk = {path.stem: path.stat().st_size for path in tmp_path.iterdir()}
        assert sum(-(-size // BLOCK) * BLOCK for size in on_disk.values()) <= 10 * BLOCK
        assert set(on_disk) == set(names[-store.count :])
    assert store.count < 12
    # The same picture again is the newest again, not a second file.
    assert store.keep(noise(40, 40, 12 - store.count), []) == names[-store.count]
    oldest = names[-store.count + 1]
    assert store.keep(noise(40, 40, 99), []) is not None
    assert store.get(oldest) is None
    assert store.get(names[-1]) is not None


def test_a_clock_that_was_set_back_does_not_turn_the_ring_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    year = 365 * 24 * 3600 * 10**9
    names = []
    for seed, now in enumerate([60 * year, 50 * year, 40 * year]):
        monkeypatch.setattr("edge.evidence.store.time.time_ns", lambda now=now: now)
        store = EvidenceStore(tmp_path, max_bytes_each=16 * KIB, keep_bytes=1 << 20)
        names.append(store.keep(noise(30, 30, seed), []))
    small = EvidenceStore(tmp_path, max_bytes_each=16 * KIB, keep_bytes=BLOCK)
    assert [small.get(name or "") is not None for name in names] == [False, False, True]


def test_foreign_damaged_and_half_written_files_do_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = EvidenceStore(tmp_path, max_bytes_each=64 * KIB, keep_bytes=1 << 20)
    damaged, cut, good = (store.keep(noise(64, 64, seed), []) or "" for seed in range(3))
    assert store.count == 3
    (tmp_path / f"{damaged}.jpg").write_bytes(b"\0" * 5000)
    (tmp_path / f"{cut}.jpg").write_bytes(b"")
    foreign = [tmp_path / "notes.txt", tmp_path / "photo.jpg", tmp_path / ".hidden.tmp"]
    for path in foreign:
        path.write_bytes(b"mine")
    (tmp_path / f"{'a' * 64}.jpg").mkdir()
    (tmp_path / f"{'b' * 64}.jpg").symlink_to(foreign[0])
    left_over = tmp_path / f".{'c' * 64}.jpg.0123456789ab.tmp"
    left_over.write_bytes(b"half a pict")
    again = EvidenceStore(tmp_path, max_bytes_each=64 * KIB, keep_bytes=1 << 20)
    assert not left_over.exists()
    assert again.count == 3
    with caplog.at_level(logging.WARNING):
        assert again.get(damaged) is None
        assert again.get(cut) is None
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / name}.jpg: damaged, removed" for name in (damaged, cut)
    ]
    assert again.get(good) is not None
    assert again.get("a" * 64) is None
    assert again.get("b" * 64) is None
    assert all(path.read_bytes() == b"mine" for path in foreign)
    (tmp_path / f"{good}.jpg").unlink()
    assert again.get(good) is None
    assert (again.count, again.kept_bytes) == (0, 0)
    assert again.keep(noise(64, 64, 2), []) == good
    assert again.get(good) is not None


def test_a_disk_that_cannot_be_written_costs_the_picture_and_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    in_the_way = tmp_path / "evidence"
    in_the_way.write_bytes(b"")  # a file where the folder belongs: nobody, root neither, can write there
    store = EvidenceStore(in_the_way, max_bytes_each=64 * KIB, keep_bytes=1 << 20)
    assert [store.keep(noise(30, 30, seed), []) for seed in range(3)] == [None] * 3
    assert [record.getMessage() for record in caplog.records] == [
        f"{in_the_way}: alerts go without a picture for now: File exists"
    ]
    os.unlink(in_the_way)
    assert store.keep(noise(30, 30), []) is not None
    assert caplog.records[-1].getMessage() == f"{in_the_way}: pictures of alerts can be kept again"


def test_a_cap_that_no_picture_meets_costs_the_picture_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = EvidenceStore(tmp_path, max_bytes_each=100, keep_bytes=1 << 20)
    assert store.keep(noise(64, 64), []) is None
    assert "no picture fits into 100 bytes" in caplog.text


def test_a_ring_that_became_smaller_is_cut_at_the_start(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, max_bytes_each=64 * KIB, keep_bytes=1 << 20)
    names = [store.keep(noise(20, 20, seed), []) for seed in range(5)]
    assert EvidenceStore(tmp_path, max_bytes_each=64 * KIB, keep_bytes=2 * BLOCK).count == 2
    assert {path.stem for path in tmp_path.iterdir()} == set(names[-2:])


def test_what_cannot_be_looked_at_or_removed_costs_no_other_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = EvidenceStore(tmp_path, max_bytes_each=16 * KIB, keep_bytes=1 << 20)
    names = [first.keep(noise(40, 40, seed), []) for seed in range(4)]
    unreadable, left_over = tmp_path / f"{names[0]}.jpg", tmp_path / f".{'0' * 64}.jpg.00aa.tmp"
    left_over.write_bytes(b"half of it")
    lstat, unlink = Path.lstat, Path.unlink

    def broken_lstat(path: Path) -> os.stat_result:
        if path == unreadable:
            raise OSError(errno.EIO, "Input/output error")
        return lstat(path)

    def broken_unlink(path: Path, missing_ok: bool = False) -> None:
        if path == left_over:
            raise OSError(errno.EPERM, "Operation not permitted")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "lstat", broken_lstat)
    monkeypatch.setattr(Path, "unlink", broken_unlink)
    again = EvidenceStore(tmp_path, max_bytes_each=16 * KIB, keep_bytes=first.kept_bytes - BLOCK)
    assert again.count == 3
    assert again.get(names[3] or "") is not None
    assert sorted(caplog.messages) == sorted(
        [
            f"{unreadable}: cannot be looked at, or removed: Input/output error",
            f"{left_over}: cannot be looked at, or removed: Operation not permitted",
        ]
    )
    assert again.keep(noise(40, 40, 4), []) is not None
    assert (again.count, again.get(names[1] or "")) == (3, None)


def test_a_picture_that_cannot_be_removed_stays_and_the_next_one_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = EvidenceStore(tmp_path, max_bytes_each=16 * KIB, keep_bytes=1 << 20)
    names = [first.keep(noise(40, 40, seed), []) for seed in range(3)]
    unlink = Path.unlink

    def broken_unlink(path: Path, missing_ok: bool = False) -> None:
        if path.stem == names[0]:
            raise OSError(errno.EPERM, "Operation not permitted")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", broken_unlink)
    again = EvidenceStore(tmp_path, max_bytes_each=16 * KIB, keep_bytes=first.kept_bytes)
    assert again.keep(noise(40, 40, 3), []) is not None
    assert (again.count, again.kept_bytes) == (3, first.kept_bytes)
    assert again.get(names[0] or "") is not None
    assert again.get(names[1] or "") is None


def test_a_folder_that_could_not_be_listed_is_counted_before_the_next_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = EvidenceStore(tmp_path, max_bytes_each=16 * KIB, keep_bytes=1 << 20)
    name = first.keep(noise(40, 40), [])
    with monkeypatch.context() as broken:
        broken.setattr(Path, "iterdir", lambda path: os.listdir("/no/such/folder"))
        again = EvidenceStore(tmp_path, max_bytes_each=16 * KIB, keep_bytes=first.kept_bytes)
        assert again.count == 0
        assert again.keep(noise(40, 40, 1), []) is None
    assert again.keep(noise(40, 40, 1), []) is not None
    assert (again.count, again.get(name or "")) == (1, None)
    assert len(list(tmp_path.iterdir())) == 1
    assert "alerts go without a picture for now" in caplog.text
