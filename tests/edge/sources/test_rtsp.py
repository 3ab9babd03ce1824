"""RTSP against a real server that is killed, frozen, damaged, changed in mid-stream, and locked."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from edge.backoff import Backoff
from edge.frames import Frame, I420Image
from edge.sources import CameraOptions, FrameSource, LiveSource, open_source
from edge.sources.jetson import JetsonRtspSource
from firmware_cfg.errors import SourceError
from tests.edge.sources.rtsp_camera import BadLink, RtspCamera, skip_without_server

MOST_FRAMES = 300
PATIENT = CameraOptions(patient=True, stall_s=0.7)


@pytest.fixture(scope="module", autouse=True)
def _server() -> None:
    skip_without_server()


@pytest.fixture
def camera() -> Iterator[RtspCamera]:
    running = RtspCamera().start()
    yield running
    running.kill()


@pytest.fixture
def link(camera: RtspCamera) -> Iterator[BadLink]:
    proxy = BadLink(camera.port)
    yield proxy
    proxy.close()


def opened(url: str, options: CameraOptions = PATIENT) -> LiveSource:
    source = open_source(url, camera=options)
    assert isinstance(source, LiveSource)
    source._backoff = Backoff(first=0.05, longest=0.2)
    return source


def until(frames: Iterator[Frame], condition: Callable[[Frame], bool]) -> list[Frame]:
    """The frames up to the first for which it holds."""
    taken = []
    for frame in frames:
        taken.append(frame)
        if condition(frame):
            return taken
        assert len(taken) < MOST_FRAMES
    raise AssertionError("the camera ended")


def take(frames: Iterator[Frame], many: int) -> list[Frame]:
    return [next(frames) for _ in range(many)]


def assert_nothing_else_missing(source: FrameSource, taken: list[Frame]) -> None:
    """`taken` are all frames from number 0 on."""
    assert taken[-1].number == len(taken) - 1 + source.skipped.total()


def assert_in_order(frames: list[Frame]) -> None:
    for one, other in pairwise(frames):
        assert other.number > one.number
        assert other.time_s > one.time_s
        assert other.captured_at > one.captured_at


def test_a_camera_gives_frames_with_true_times(camera: RtspCamera) -> None:
    source = opened(camera.url())
    frames = take(iter(source), 30)
    assert source.live
    assert source.fps == 25
    assert frames[0].time_s == 0
    assert [frame.number for frame in frames] == list(range(30))
    assert_in_order(frames)
    # Whatever the time at which they arrived, 25 a second is what the camera's clock says.
    assert frames[29].time_s - frames[9].time_s == pytest.approx(20 / 25, abs=0.02)
    assert isinstance(frames[0].image, I420Image)
    assert (frames[0].width, frames[0].height) == (320, 240)
    assert source.skipped == {}


def test_over_udp_what_is_lost_or_cut_short_is_counted(camera: RtspCamera) -> None:
    source = opened(camera.url(), CameraOptions(transport="udp"))
    frames = iter(source)
    taken = take(frames, 5)
    camera.say("lose")
    taken += until(frames, lambda _: source.skipped.total() > 5)
    assert_in_order(taken)
    assert_nothing_else_missing(source, taken)


def test_a_camera_with_udp_alone_is_read_without_being_told(camera: RtspCamera) -> None:
    assert len(take(iter(opened(camera.url("udp"))), 3)) == 3


@pytest.mark.parametrize("decoder", ["software", "jetson"])
def test_a_killed_camera_is_found_again_and_time_goes_on(
    camera: RtspCamera, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, decoder: str
) -> None:
    # The Jetson's decoder is on Jetsons only; everything around it is what flies there.
    monkeypatch.setattr(JetsonRtspSource, "decoding", ("avdec_h264",))
    source = opened(camera.url(), CameraOptions(patient=True, decoder=decoder))  # type: ignore[arg-type]
    frames = iter(source)
    taken = take(frames, 10)
    camera.kill()
    killed_s = time.monotonic()
    starter = threading.Timer(0.5, camera.start)
    starter.start()
    taken += until(frames, lambda _: source.outages > 0 and not source.problem)
    starter.join()
    away_s = time.monotonic() - killed_s
    assert_in_order(taken)
    assert source.outages == 1
    gap_s = taken[-1].time_s - taken[-2].time_s
    assert 0.5 < gap_s < away_s + 0.5
    # What it missed is counted by the rate it had.
    missed = source.skipped["stream ended"] + source.skipped["connection lost"]
    assert missed == pytest.approx(gap_s * 25, abs=2)
    assert taken[-1].number == taken[-2].number + 1 + missed
    # However often it tried, each problem is told once.
    told = [record.getMessage() for record in caplog.records if "trying again" in record.getMessage()]
    assert len(told) == len(set(told))


def test_a_frozen_camera_is_noticed_and_goes_on(camera: RtspCamera) -> None:
    source = opened(camera.url())
    frames = iter(source)
    taken = take(frames, 10)
    camera.freeze()
    threading.Timer(1.0, camera.thaw).start()
    taken += until(frames, lambda _: source.outages > 0)
    assert source.skipped["stream frozen"] > 0
    assert_in_order(taken)


def test_damage_on_the_way_is_counted_and_never_an_end(camera: RtspCamera, link: BadLink) -> None:
    source = opened(camera.url(port=link.port))
    frames = iter(source)
    taken = take(frames, 5)
    link.damage = 0.001
    taken += until(frames, lambda _: source.skipped.total() > 10)
    link.damage = 0.0
    counted = 0

    def whole_again(frame: Frame) -> bool:
        nonlocal counted
        counted = counted + 1 if frame.number == taken[-1].number + 1 else 0
        taken.append(frame)
        return counted == 20

    until(frames, whole_again)
    assert_in_order(taken)


def test_what_comes_too_late_is_dropped_up_to_a_key_frame(camera: RtspCamera, link: BadLink) -> None:
    source = opened(camera.url(port=link.port), CameraOptions(latency_s=0.4, stall_s=20))
    frames = iter(source)
    taken = take(frames, 10)
    link.down = False
    threading.Timer(1.0, setattr, (link, "down", True)).start()
    taken += until(frames, lambda _: source.skipped["too late"] > 0)
    assert source.skipped["too late"] >= 10
    assert_nothing_else_missing(source, taken)
    assert source.outages == 0


def test_who_wants_every_frame_gets_the_late_ones_too(camera: RtspCamera, link: BadLink) -> None:
    source = opened(camera.url(port=link.port), CameraOptions(latency_s=None, stall_s=20))
    frames = iter(source)
    take(frames, 10)
    link.down = False
    threading.Timer(1.0, setattr, (link, "down", True)).start()
    assert [frame.number for frame in take(frames, 30)] == list(range(10, 40))


def test_frames_of_another_size_are_handed_out(camera: RtspCamera) -> None:
    source = opened(camera.url())
    frames = iter(source)
    take(frames, 3)
    camera.say("resize 480 360")
    taken = until(frames, lambda frame: frame.width == 480)
    assert taken[-1].height == 360
    assert source.outages == 0


def test_a_login_is_asked_for_and_never_repeated() -> None:
    camera = RtspCamera(locked=True).start()
    try:
        right = CameraOptions(username="pilot", password="s3cret")
        assert next(iter(opened(camera.url(), right))).number == 0
        in_the_url = camera.url().replace("//", "//pilot:s3cret@")
        assert next(iter(opened(in_the_url, CameraOptions()))).name == camera.url()
        wrong = CameraOptions(username="pilot", password="hunter2")
        for source in (opened(camera.url(), CameraOptions()), opened(camera.url(), wrong)):
            with pytest.raises(SourceError, match=r"refuses the login \(check username") as caught:
                next(iter(source))
            assert "hunter2" not in str(caught.value)
    finally:
        camera.kill()


def test_why_a_camera_cannot_be_reached_is_one_line_with_a_mend(camera: RtspCamera) -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    for url, problem in (
        (camera.url("nowhere?token=hunter2"), r"no stream of that path \(look"),
        (f"rtsp://127.0.0.1:{port}/cam", rf"nothing listens at port {port}"),
        ("rtsp://no-such-host.invalid/cam", "no host of the name no-such-host.invalid"),
    ):
        with pytest.raises(SourceError, match=problem) as caught:
            next(iter(opened(url, CameraOptions())))
        assert "\n" not in str(caught.value)
        assert "hunter2" not in str(caught.value)


def test_what_is_no_rtsp_server_is_said_to_be_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                connection.sendall(b"220 mail.example ESMTP\r\n")
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(SourceError, match="is it really an RTSP camera"):
            next(iter(opened(f"rtsp://127.0.0.1:{server.getsockname()[1]}/", CameraOptions())))


@pytest.mark.parametrize("url", ["rtsp://", "rtsp://[::1/cam", "rtsp://camera:port/cam"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(SourceError, match="no URL"):
        open_source(url)


def test_stop_ends_a_pause_at_once_and_a_dead_read_in_time(camera: RtspCamera) -> None:
    source: FrameSource = opened(camera.url())
    frames = iter(source)
    take(frames, 3)
    camera.freeze()
    threading.Timer(0.1, source.stop).start()
    rest = list(frames)  # it ends
    assert len(rest) < MOST_FRAMES
    assert source.outages == 0
