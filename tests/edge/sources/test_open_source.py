from __future__ import annotations

import os
from datetime import datetime, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sources import FrameSource, open_source
from edge.sources.base import CaptureClock
from firmware_cfg.errors import SourceError


def test_a_path_may_be_written_in_several_ways(make_video, monkeypatch):
    path = make_video("my clip:1.MP4", frames=3)
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    for uri in (path, str(path), path.name, f"~/{path.name}", path.as_uri()):
        with open_source(uri) as source:
            assert source.name == "my clip:1.MP4"
            assert len(list(source)) == 3


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("nowhere/clip.mp4", "no such file or folder"),
        ("", "no such file or folder"),
        ("file:///nowhere/clip.mp4", "no such file or folder"),
        ("a\0b.mp4", "no such file or folder"),
        ("rtmp://camera/stream", "no source for rtmp://"),
    ],
)
def test_a_source_that_is_not_there_is_one_clear_line(uri, problem):
    with pytest.raises(SourceError, match=problem) as caught:
        open_source(uri)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "rtmp://pilot:hunter2@camera/stream",
        "rtmp://pilot:slash/hunter2@camera/stream",
        "rtsp:/pilot:hunter2@camera/stream",
        "rtsp:pilot:hunter2@camera/stream",
        "rtsp//pilot:hunter2@camera/stream",
        "rtsp://pilot:12/hunter2@camera/stream",
    ],
)
def test_a_password_in_a_uri_is_not_repeated(uri):
    with pytest.raises(SourceError) as caught:
        open_source(uri)
    assert "hunter2" not in str(caught.value)


def test_an_empty_file_says_so(tmp_path):
    path = tmp_path / "clip.mp4"
    path.touch()
    with pytest.raises(SourceError, match=r"clip\.mp4: the file is empty, 0 bytes"):
        open_source(path)


def test_a_kind_of_file_that_has_no_frames(tmp_path):
    path = tmp_path / "flight.log"
    path.write_text("take-off")
    with pytest.raises(SourceError, match=r"flight\.log: not a kind of file .*\.mp4"):
        open_source(path)


def test_a_link_to_nowhere_and_a_pipe_are_refused_without_waiting(tmp_path):
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("link.mp4", "pipe.mp4"):
        with pytest.raises(SourceError, match=rf"{name}: not a regular file"):
            open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["clip.mp4", "picture.png"])
def test_a_file_without_read_permission(open_folder, as_nobody, name):
    path = open_folder / name
    path.write_bytes(b"secret")
    path.chmod(0)
    with as_nobody(), pytest.raises(SourceError, match=rf"{name}: cannot be read: Permission denied"):
        open_source(path)


def test_a_folder_without_read_permission(open_folder, as_nobody):
    closed = open_folder / "closed"
    closed.mkdir()
    (closed / "1.png").write_bytes(b"secret")
    closed.chmod(0o111)
    with as_nobody(), pytest.raises(SourceError, match="closed: cannot be read: Permission denied"):
        open_source(closed)


def test_a_subclass_announces_itself_and_no_two_claim_the_same(monkeypatch):
    monkeypatch.setattr(FrameSource, "by_scheme", dict(FrameSource.by_scheme))

    class Nothing(FrameSource, schemes=("nothing",)):
        @classmethod
        def from_uri(cls, uri, *, sequence):
            source = cls(uri)
            source.independent = not sequence
            return source

        def __iter__(self):
            return iter(())

    for uri in ("nothing", "NOTHING", "nothing://at?all"):
        source = open_source(uri, sequence=True)
        assert isinstance(source, Nothing)
        assert source.name == uri
        assert not source.independent

    with pytest.raises(TypeError, match="Other claims 'nothing', which is Nothing's"):

        class Other(Nothing, schemes=("nothing",)):
            pass


@given(
    st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=30),
    st.floats(0.001, 2),
)
def test_capture_times_always_increase(stamps, step_s):
    began_at = datetime(2024, 1, 1, tzinfo=timezone.utc)
    clock = CaptureClock(step_s, began_at)
    ticks = [clock.tick(stamp) for stamp in stamps]
    times = [time_s for time_s, _ in ticks]
    assert all(later > sooner for sooner, later in pairwise(times))
    assert times[0] >= 0
    assert all((at - began_at).total_seconds() == pytest.approx(t, abs=1e-5) for t, at in ticks)


@pytest.mark.parametrize("wild", [1e9, 1e14, float("inf"), float("nan")])
def test_a_stamp_centuries_ahead_is_not_believed(wild):
    clock = CaptureClock(0.1)
    assert [clock.tick(stamp)[0] for stamp in (0.0, 0.1, wild, 0.3)] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert CaptureClock(0.1).tick(wild)[0] == 0.0


@given(st.lists(st.floats(0, 80_000), min_size=1, max_size=30, unique=True).map(sorted))
def test_good_stamps_are_kept_as_they_are(stamps):
    clock = CaptureClock(0.1)
    assert [clock.tick(stamp)[0] for stamp in stamps] == stamps
