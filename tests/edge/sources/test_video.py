from __future__ import annotations

import logging
import math
import re
import struct
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge.frames import I420Image, RgbImage
from edge.sources import open_source
from firmware_cfg.errors import SourceError

CLOSE = 12  # grey levels that encoding and decoding may cost


def solid_rgb(number, width, height):
    return np.broadcast_to(np.array([200, 60, 20], np.uint8), (height, width, 3)).copy()


def white_corner(number, width, height):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 255
    return picture


def set_display_matrix(path, a, b, c, d):
    data = bytearray(path.read_bytes())
    matrix = data.find(b"tkhd") + 4 + 4 + 20 + 16
    data[matrix : matrix + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def frames_or_problem(path):
    try:
        return list(open_source(path)), ""
    except SourceError as error:
        return [], str(error)


def test_a_video_gives_every_frame_with_its_number_and_capture_time(make_video):
    with open_source(make_video(frames=12)) as source:
        frames = list(source)
    assert (source.fps, source.length, source.independent) == (10.0, 12, False)
    assert [frame.number for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == pytest.approx([n / 10 for n in range(12)])
    assert {frame.name for frame in frames} == {"clip.mp4"}
    assert all(later.mono_ns >= sooner.mono_ns for sooner, later in pairwise(frames))
    assert not source.skipped


def test_iterating_again_starts_at_the_beginning(make_video):
    source = open_source(make_video(frames=4))
    first = [frame.number for frame in source]
    assert [frame.number for frame in source] == first == [0, 1, 2, 3]


def test_the_decoder_planes_are_handed_out_unconverted_and_cannot_be_written(make_video):
    frame = next(iter(open_source(make_video(width=90, height=50, paint=solid_rgb))))
    assert isinstance(frame.image, I420Image)
    assert (frame.width, frame.height) == (90, 50)
    assert frame.image.y.strides[0] > 90  # a view of the padded rows, not a copy
    with pytest.raises(ValueError, match="read-only"):
        frame.image.y[0, 0] = 0
    assert np.abs(frame.image.rgb().astype(int) - [200, 60, 20]).max() <= CLOSE


def test_frames_outlive_the_source(make_video):
    path = make_video(frames=20, options={"g": "1"})
    with open_source(path) as source:
        kept = list(source)
    again = [frame.image.rgb() for frame in open_source(path)]
    assert all(np.array_equal(frame.image.rgb(), pixels) for frame, pixels in zip(kept, again, strict=True))


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "kind"),
    [
        ("a.mp4", "libx264", "yuv420p", I420Image),
        ("a.mov", "libx264", "yuv422p", I420Image),
        ("a.mkv", "libx264", "yuv420p10le", I420Image),
        ("a.ts", "libx264", "yuv420p", I420Image),
        ("a.h264", "libx264", "yuv420p", I420Image),
        ("a.avi", "libx264", "yuv420p", I420Image),
        ("a.webm", "libvpx", "yuv420p", I420Image),
        ("b.webm", "libvpx-vp9", "yuv420p", I420Image),
        ("b.avi", "mjpeg", "yuvj422p", I420Image),
        ("b.mp4", "libx264rgb", "rgb24", RgbImage),
        ("grey.mkv", "ffv1", "gray", RgbImage),
        ("a.GIF", "gif", "rgb8", RgbImage),
    ],
)
def test_containers_and_pixel_formats(make_video, name, codec, pix_fmt, kind):
    source = open_source(make_video(name, codec=codec, pix_fmt=pix_fmt, frames=8, paint=white_corner))
    frames = list(source)
    assert [frame.number for frame in frames] == list(range(8))
    assert not source.skipped
    assert all(isinstance(frame.image, kind) for frame in frames)
    corner, opposite = frames[-1].image.rgb()[8, 8], frames[-1].image.rgb()[-8, -8]
    assert corner.min() >= 255 - CLOSE
    assert opposite.max() <= CLOSE


def test_invisible_reference_frames_of_vp8_are_not_taken_for_lost_ones(make_video):
    options = {"auto-alt-ref": "1", "lag-in-frames": "10", "b": "100k"}
    source = open_source(make_video("a.webm", codec="libvpx", options=options, frames=40))
    assert [frame.number for frame in source] == list(range(40))
    assert not source.skipped


@pytest.mark.parametrize(
    ("colour", "height", "standard", "full_range"),
    [
        ((1, 1), 64, "bt709", False),
        ((5, 1), 64, "bt601", False),
        ((6, 2), 64, "bt601", True),
        ((1, 2), 64, "bt709", True),
        (None, 64, "bt601", False),
        (None, 720, "bt709", False),
    ],
)
def test_colour_standard_and_range_are_read_or_assumed_from_the_size(
    make_video, colour, height, standard, full_range
):
    path = make_video(frames=2, height=height, colour=colour)
    image = next(iter(open_source(path))).image
    assert (image.standard, image.full_range) == (standard, full_range)


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((1, 0, 0, 1), (0, 0)),
        ((0, 1, -1, 0), (0, -1)),  # a quarter turn clockwise
        ((-1, 0, 0, -1), (-1, -1)),
        ((0, -1, 1, 0), (-1, 0)),
    ],
)
def test_rotation_of_the_recording_is_applied(make_video, matrix, corner):
    path = make_video(frames=2, width=96, height=64, paint=white_corner)
    set_display_matrix(path, *matrix)
    frame = next(iter(open_source(path)))
    turned = matrix[0] == 0
    assert (frame.width, frame.height) == ((64, 96) if turned else (96, 64))
    luma = frame.image.rgb()[..., 1]
    corners = {(0, 0): luma[8, 8], (0, -1): luma[8, -8], (-1, 0): luma[-8, 8], (-1, -1): luma[-8, -8]}
    assert max(corners, key=corners.__getitem__) == corner


def test_capture_times_follow_the_stamps_of_a_variable_rate(make_video):
    gaps = [0, 1, 2, 9, 10, 31]
    frames = list(open_source(make_video("a.mkv", frames=6, stamp=gaps.__getitem__)))
    assert [frame.time_s for frame in frames] == pytest.approx([gap / 10 for gap in gaps])
    assert [frame.number for frame in frames] == list(range(6))


def test_the_recording_date_gives_the_capture_time(make_video):
    path = make_video(frames=11, metadata={"creation_time": "2024-05-06T07:08:09.000000Z"})
    last = list(open_source(path))[-1]
    assert last.captured_at == datetime(2024, 5, 6, 7, 8, 10, tzinfo=timezone.utc)


@pytest.mark.parametrize("date", ["1970-01-01T00:00:00Z", "2199-01-01T00:00:00Z"])
def test_an_unset_clock_of_the_recorder_is_not_believed(make_video, date):
    before = datetime.now(timezone.utc)
    first = next(iter(open_source(make_video(frames=2, metadata={"creation_time": date}))))
    assert before <= first.captured_at <= datetime.now(timezone.utc) + timedelta(seconds=1)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_an_undecodable_frame_in_mid_stream_is_counted_logged_and_left_out(
    make_video, damage_packet, caplog, name
):
    path = make_video(name, frames=30, options={"g": "10", "bf": "0"})
    damage_packet(path, 15)
    source = open_source(path)
    with caplog.at_level(logging.WARNING, "edge.sources"):
        frames = list(source)
    assert [frame.number for frame in frames] == [n for n in range(30) if n != 15]
    assert source.skipped == {"undecodable frame": 1}
    assert frames[15].time_s == pytest.approx(1.6)
    assert [name in record.getMessage() for record in caplog.records] == [True]


def test_a_lost_frame_is_placed_right_among_reordered_ones(make_video, damage_packet):
    options = {"g": "10", "bf": "2", "sc_threshold": "0", "x264-params": "b-adapt=0:b-pyramid=none"}
    path = make_video(frames=30, options=options)
    with av.open(str(path)) as container:
        stamps = [p.pts for p in container.demux(video=0) if p.size]
    lost = next(
        i for i in range(13, 20) if stamps[i] < max(stamps[:i])
    )  # stored after one that is shown later
    damage_packet(path, lost)
    source = open_source(path)
    numbers = [frame.number for frame in source]
    assert set(range(30)) - set(numbers) == {sorted(stamps).index(stamps[lost])}
    assert source.skipped == {"undecodable frame": 1}


def test_a_flood_of_bad_frames_does_not_flood_the_log(make_video, damage_packet, caplog):
    path = make_video(frames=60, options={"g": "1"})
    for index in range(10, 50):
        damage_packet(path, index)
    source = open_source(path)
    with caplog.at_level(logging.WARNING, "edge.sources"):
        numbers = [frame.number for frame in source]
    assert numbers == [*range(10), *range(50, 60)]
    assert sum(source.skipped.values()) == 40
    assert len(caplog.records) < 10


def test_a_file_cut_off_says_how_many_frames_are_missing(make_video):
    path = make_video(frames=40, options={"g": "5", "bf": "0"}, file_options={"movflags": "faststart"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    source = open_source(path)
    frames = list(source)
    assert 0 < len(frames) < 40
    assert len(frames) + sum(source.skipped.values()) == 40
    assert source.skipped["frame cut off"] > 0


def test_a_video_without_one_decodable_frame_is_an_error(make_video, damage_packet):
    path = make_video(frames=5)
    for index in range(5):
        damage_packet(path, index)
    source = open_source(path)
    with pytest.raises(SourceError, match=r"clip\.mp4: not one frame can be decoded"):
        list(source)
    assert source.skipped == {"undecodable frame": 5}


def test_a_file_that_lost_its_index_is_one_clear_line(make_video):
    path = make_video(frames=20)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SourceError, match=r"clip\.mp4: cannot be opened as a video: .+ \(.+\)$") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_video(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_bytes(b"these are not the frames you are looking for" * 50)
    with pytest.raises(SourceError, match=r"notes\.mp4: cannot be opened as a video"):
        open_source(path)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 48000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(SourceError, match=r"sound\.mp4: there is no video in this file"):
        open_source(path)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(seed=4_294_967_296, hits=255, from_share=0.0)  # a codec that nobody knows
@example(seed=385, hits=385, from_share=0.0)  # metadata that is no text
@given(seed=st.integers(0, 2**32), hits=st.integers(1, 400), from_share=st.floats(0, 1))
def test_whatever_is_flipped_in_a_file_frames_come_out_in_order_or_one_clear_error(
    make_video, seed, hits, from_share
):
    path = make_video("clip.mkv", frames=12, options={"g": "4"})
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    chance = np.random.default_rng(seed)
    begin = int(from_share * (len(data) - 1))
    data[chance.integers(begin, len(data), hits)] ^= chance.integers(1, 256, hits, np.uint8)
    damaged = Path(path).with_name("damaged.mkv")
    damaged.write_bytes(data.tobytes())
    frames, problem = frames_or_problem(damaged)
    assert bool(frames) != bool(problem)
    assert "\n" not in problem
    assert all(later.number > sooner.number for sooner, later in pairwise(frames))
    assert all(later.time_s > sooner.time_s for sooner, later in pairwise(frames))
    assert all(math.isfinite(frame.time_s) and frame.time_s >= 0 for frame in frames)


@pytest.mark.parametrize(("name", "count"), [("boat1", 301), ("truck4", 421)])
def test_real_drone_clips(data_root, name, count):
    source = open_source(data_root / "video" / f"{name}.mp4")
    seen = [(frame.number, frame.time_s, (frame.width, frame.height)) for frame in source]
    numbers, times, sizes = zip(*seen, strict=True)
    assert source.length == count
    assert list(numbers) == list(range(count))
    assert times[-1] == pytest.approx((count - 1) / 10, abs=0.05)
    assert set(sizes) == {(1280, 720)}


def test_a_real_clip_with_flipped_bytes_loses_only_what_is_damaged(data_root, tmp_path):
    data = bytearray((data_root / "video" / "boat1.mp4").read_bytes())
    with av.open(str(data_root / "video" / "boat1.mp4")) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    for start, size in packets[100:103]:
        data[start : start + size] = bytes(255 - byte for byte in data[start : start + size])
    path = tmp_path / "boat1.mp4"
    path.write_bytes(data)
    source = open_source(path)
    numbers = [frame.number for frame in source]
    assert 1 <= sum(source.skipped.values()) <= 40
    assert len(numbers) + sum(source.skipped.values()) == 301
    assert numbers[:90] == list(range(90))
    assert numbers[-1] == 300


def test_a_slice_that_is_missing_in_the_midst_of_a_picture_is_noticed(make_video):
    path = make_video(
        "slices.h264",
        frames=12,
        width=320,
        height=240,
        options={"x264-params": "slices=2:bframes=0:scenecut=0:threads=1"},
    )
    data = path.read_bytes()
    begins = [match.start() for match in re.finditer(rb"\x00\x00\x01[\x01\x41\x61]", data)]
    assert len(begins) == 11 * 2  # all but the key frame
    path.write_bytes(data[: begins[11]] + data[begins[12] :])
    source = open_source(path)
    frames = list(source)
    assert source.skipped == {"damaged frame": 1}
    assert len(frames) == 11
