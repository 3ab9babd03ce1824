"""GStreamer pipelines in a process of their own, and the protocol by which their pictures come."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sources import CameraOptions, gstreamer, open_source
from edge.sources.gdp import HEADER_BYTES, RawFormat, buffer_record, caps_record, read_header
from edge.sources.gst_process import Frozen, GstProcess, check_elements, elements
from firmware_cfg.errors import SourceError

needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="no GStreamer (apt install gstreamer1.0-tools)"
)
BARS = "videotestsrc pattern=smpte num-buffers=3 ! video/x-raw,format={},width=67,height=35,framerate=10/1"


def frames_of(pipeline: str, options: CameraOptions | None = None) -> list:
    return list(open_source(f"gstreamer:{pipeline}", camera=options))


@needs_gstreamer
@pytest.mark.parametrize("layout", ["I420", "NV12"])
def test_pictures_are_the_same_in_every_layout(layout: str) -> None:
    # GStreamer's own RGB is the reference; width and height are odd, and no multiple of its row padding.
    (want, *_), frames = frames_of(BARS.format("RGB")), frames_of(BARS.format(layout))
    assert (frames[0].width, frames[0].height) == (67, 35)
    difference = np.abs(frames[0].image.rgb().astype(int) - want.image.rgb().astype(int))
    # All bars but their edges, whose colours 4:2:0 cannot hold; what is below the bars is partly noise.
    assert np.mean(difference[:20].max(axis=2) <= 3) > 0.85


@needs_gstreamer
def test_times_are_the_pipelines_own() -> None:
    frames = frames_of(BARS.format("I420"))
    assert [frame.number for frame in frames] == [0, 1, 2]
    assert all(one.time_s < other.time_s for one, other in pairwise(frames))


@needs_gstreamer
def test_a_frozen_pipeline_is_killed_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[GstProcess] = []

    class Noted(GstProcess):
        def __init__(self, pipeline: list[str]) -> None:
            super().__init__(pipeline)
            started.append(self)

    monkeypatch.setattr(gstreamer, "GstProcess", Noted)
    source = open_source(
        "gstreamer:videotestsrc is-live=true ! video/x-raw,width=64,height=48",
        camera=CameraOptions(patient=True, stall_s=0.5),
    )
    frames = iter(source)
    assert next(frames).number == 0
    os.kill(started[0]._process.pid, signal.SIGSTOP)
    while source.outages == 0:
        next(frames)
    assert source.skipped["stream frozen"] > 0
    assert len(started) == 2
    assert started[0]._process.returncode == -signal.SIGKILL


@needs_gstreamer
@pytest.mark.parametrize(
    ("pipeline", "problem"),
    [
        ("filesrc location=/nowhere/a.mp4 ! decodebin", r"Resource not found|No such file"),
        ("videotestsrc ! video/x-raw,format=GRAY8", r"could not link|not negotiated|can't handle caps"),
        ("rtspsrc location=rtsp://pilot:hunter2@127.0.0.1:1/a ! rtph264depay ! avdec_h264", "."),
    ],
)
def test_why_a_pipeline_fails_is_its_own_first_word_without_secrets(pipeline: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem) as caught:
        frames_of(pipeline)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@needs_gstreamer
def test_a_talkative_pipeline_takes_no_memory_and_its_reason_is_still_known() -> None:
    # Dumps every picture in hex to its standard output, 300 times 34 KiB, and fails.
    words = "videotestsrc ! identity dump=true error-after=300 ! video/x-raw,format=I420,width=64,height=64"
    with GstProcess(words.split()) as process:
        pictures = 0
        while process.next(10) is not None:
            pictures += 1
        assert "Failed after iterations as requested" in process.last_words()
        assert len(process._words) <= 1 << 16
    assert pictures == 299


@needs_gstreamer
def test_a_pipeline_that_only_talks_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.sources.gst_process._KEPT_BYTES", 1)  # it talks faster than we listen
    words = "videotestsrc num-buffers=5000 ! identity dump=true ! identity drop-probability=1"
    with GstProcess(words.split()) as process, pytest.raises(Frozen):
        process.next(0.5)


@needs_gstreamer
@pytest.mark.parametrize(
    ("pipeline", "problem"),
    [
        ("v4l2src ! nvv4l2decoder ! nvvidconv", r"no element nvv4l2decoder here .*JetPack"),
        ("no_such_source", r"no element no_such_source here \(gst-inspect-1\.0 lists all\)"),
        ("", "no pipeline"),
        ("videotestsrc 'a", "No closing quotation"),
    ],
)
def test_what_can_never_work_is_refused_at_once(pipeline: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        open_source(f"gstreamer:{pipeline}")


@needs_gstreamer
def test_the_jetsons_decoder_is_looked_for_before_the_flight() -> None:
    if shutil.which("gst-inspect-1.0") and os.path.exists("/etc/nv_tegra_release"):
        pytest.skip("this is a Jetson")
    with pytest.raises(SourceError, match="no element nvv4l2decoder"):
        open_source("rtsp://camera/stream", camera=CameraOptions(decoder="jetson"))


def test_without_gstreamer_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SourceError, match=r"apt install gstreamer1\.0-tools"):
        check_elements(["videotestsrc"])


def test_the_elements_of_a_pipeline() -> None:
    pipeline = "rtspsrc location=rtsp://a/b name=s s. ! queue ! video/x-raw,width=3 ! x. ! b"
    assert elements(shlex.split(pipeline)) == ["rtspsrc", "queue", "b"]


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(0, 2**63)))
def test_what_is_written_is_read(data: bytes, pts_ns: int | None) -> None:
    written = buffer_record(data, pts_ns)
    record = read_header(written[:HEADER_BYTES])
    assert record.is_buffer
    assert (record.length, record.pts_ns, record.damaged) == (len(data), pts_ns, False)
    assert written[HEADER_BYTES:] == data
    assert read_header(caps_record("video/x-raw")[:HEADER_BYTES]).is_caps


@given(st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES))
def test_any_bytes_are_a_header_of_bounded_length_or_none(data: bytes) -> None:
    try:
        record = read_header(data)
    except ValueError:
        return
    assert 0 <= record.length <= 64 << 20


@pytest.mark.parametrize(
    ("colours", "standard", "full_range"),
    [
        ("bt709", "bt709", False),
        ("1:4:0:0", "bt601", True),
        ("2:3:5:1", "bt709", False),
        ("", "bt601", False),
    ],
)
def test_the_colours_of_a_format(colours: str, standard: str, full_range: bool) -> None:
    caps = (
        f"video/x-raw, format=(string)I420, width=(int)4, height=(int)2, colorimetry=(string){colours or 'x'}"
    )
    found = RawFormat.parse(caps + ", framerate=(fraction)30000/1001")
    assert (found.standard, found.full_range) == (standard, full_range)
    assert found.fps == pytest.approx(29.97, abs=0.01)


@pytest.mark.parametrize(
    "caps",
    [
        "audio/x-raw",
        "video/x-raw, format=(string)GRAY8",
        "video/x-raw, format=(string)I420, width=(int)0, height=(int)1",
    ],
)
def test_a_format_that_cannot_be_shown_is_refused(caps: str) -> None:
    with pytest.raises(ValueError, match=r"not raw video|a picture of"):
        RawFormat.parse(caps)


def test_a_picture_of_the_wrong_size_is_refused() -> None:
    shape = RawFormat.parse("video/x-raw, format=(string)NV12, width=(int)4, height=(int)4")
    with pytest.raises(ValueError, match="a picture of 7 bytes, not 24"):
        shape.image(np.zeros(7, dtype=np.uint8))
