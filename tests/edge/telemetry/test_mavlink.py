"""Real MAVLink by pymavlink: over a real socket, in a real .tlog, and in a dataflash log."""

from __future__ import annotations

import math
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.frames import RgbImage
from edge.geo.attitude import from_angles
from edge.sources import CameraOptions, LiveSource
from edge.sources.camera import Shot
from edge.telemetry import open_telemetry
from edge.telemetry.mavlink import MavlinkMessages
from edge.telemetry.mavlink_live import LiveMavlink
from edge.telemetry.position import Position
from edge.telemetry.record import FlightRecord
from firmware_cfg.device import Camera, Telemetry
from firmware_cfg.errors import MissingExtra, SourceError

mavlink = pytest.importorskip("pymavlink.dialects.v20.ardupilotmega")

STABILISED = Camera(hfov_deg=70, gimbal="stabilised", pitch_deg=-60)
GIMBAL = Camera(hfov_deg=70)


class Autopilot:
    """Packs what a drone at 47 N, 8 E would send, `boot_s` after it was switched on."""

    def __init__(self, system: int = 1, component: int = 1) -> None:
        self.packer = mavlink.MAVLink(None, srcSystem=system, srcComponent=component)

    def pack(self, message: Any) -> bytes:
        return bytes(message.pack(self.packer))

    def position(self, boot_s: float, latitude: float = 47.0, height_m: float = 50.0) -> bytes:
        height_mm = round(height_m * 1000)
        return self.pack(
            mavlink.MAVLink_global_position_int_message(
                round(boot_s * 1000), round(latitude * 1e7), 80_000_000, 450_000, height_mm, 0, 0, 0, 0
            )
        )

    def attitude(self, boot_s: float, yaw_deg: float = 90.0) -> bytes:
        yaw = math.radians(yaw_deg)
        return self.pack(
            mavlink.MAVLink_attitude_message(round(boot_s * 1000), 0.1, -0.05, yaw, 0.0, 0.0, 0.0)
        )

    def gps(self, fix: int, h_acc_mm: int = 0) -> bytes:
        return self.pack(mavlink.MAVLink_gps_raw_int_message(0, fix, 0, 0, 0, 0, 0, 0, 0, 9, h_acc=h_acc_mm))

    def gimbal(self, boot_s: float, flags: int, yaw_deg: float) -> bytes:
        q = list(from_angles(yaw_deg, -70, 0))
        return self.pack(
            mavlink.MAVLink_gimbal_device_attitude_status_message(
                0, 0, round(boot_s * 1000), flags, q, 0.0, 0.0, 0.0, 0
            )
        )


def fed(record: FlightRecord, *data: bytes, system_id: int | None = None) -> FlightRecord:
    """The record after the messages arrived, a tenth of a second apart from 1000 s on."""
    from edge.telemetry.mavlink import new_parser

    parser, messages = new_parser(), MavlinkMessages(record, system_id)
    for index, each in enumerate(data):
        for message in parser.parse_buffer(each) or ():
            messages.take(message, 1000 + index / 10)
    return record


def test_position_and_attitude_become_a_pose(new_record: Any) -> None:
    pilot = Autopilot()
    record = fed(new_record(STABILISED), pilot.gps(3, 2500), pilot.position(7.1), pilot.attitude(7.2))
    pose = record.pose_at(1000.2)
    assert pose is not None
    assert (pose.latitude, pose.longitude) == pytest.approx((47.0, 8.0))
    assert (pose.height_m, pose.altitude_m) == (50.0, 450.0)
    assert (pose.yaw_deg, pose.pitch_deg, pose.roll_deg) == pytest.approx((90.0, -60.0, 0.0), abs=1e-4)
    assert pose.accuracy.horizontal_m >= 2.5


@pytest.mark.parametrize("fix", [0, 1, 2])
def test_positions_without_a_fix_are_refused(new_record: Any, fix: int) -> None:
    pilot = Autopilot()
    record = fed(new_record(STABILISED), pilot.gps(fix), pilot.position(7.1), pilot.attitude(7.2))
    assert record.pose_at(1000.2) is None
    assert record.refused == Counter({"no fix": 1, "no position": 1})


@pytest.mark.parametrize(("system_id", "latitude"), [(None, 47.0), (1, 47.0), (9, 47.05)])
def test_another_drone_on_the_link_is_ignored(
    new_record: Any, system_id: int | None, latitude: float
) -> None:
    ours, other = Autopilot(1), Autopilot(9)
    data = [ours.position(7), other.position(3, 47.05), ours.attitude(7.2), other.attitude(3.2)]
    record = fed(new_record(STABILISED), *data, system_id=system_id)
    pose = record.pose_at(1000.3)
    assert pose is not None
    assert pose.latitude == pytest.approx(latitude)
    assert not record.refused


@pytest.mark.parametrize(
    ("flags", "told_yaw_deg", "yaw_deg"),
    [(32, 10.0, 100.0), (64, 10.0, 10.0), (16, 10.0, 10.0), (0, 10.0, 100.0), (64 | 16, 350.0, 350.0)],
)
def test_a_gimbals_yaw_is_from_the_nose_or_from_north(
    new_record: Any, flags: int, told_yaw_deg: float, yaw_deg: float
) -> None:
    pilot, gimbal = Autopilot(), Autopilot(component=154)
    record = fed(
        new_record(GIMBAL),
        pilot.position(7.0),
        pilot.attitude(7.1, 90),
        gimbal.gimbal(2000.0, flags, told_yaw_deg),  # switched on long before the autopilot
    )
    pose = record.pose_at(1000.2)
    assert pose is not None
    assert (pose.yaw_deg, pose.pitch_deg) == pytest.approx((yaw_deg, -70.0), abs=1e-3)


def test_older_mounts_are_understood(new_record: Any) -> None:
    pilot = Autopilot()
    status = mavlink.MAVLink_mount_status_message(0, 0, -4500, 0, 1500)
    record = fed(new_record(GIMBAL), pilot.position(7.0), pilot.attitude(7.1, 90), pilot.pack(status))
    pose = record.pose_at(1000.2)
    assert (pose.yaw_deg, pose.pitch_deg) == pytest.approx((105.0, -45.0), abs=1e-3)
    told = mavlink.MAVLink_mount_orientation_message(7200, 0.0, -45.0, 15.0, yaw_absolute=200.0)
    record = fed(new_record(GIMBAL), pilot.position(7.0), pilot.attitude(7.1, 90), pilot.pack(told))
    assert record.pose_at(1000.2).yaw_deg == pytest.approx(200.0, abs=1e-3)


def test_a_gimbal_alone_has_no_heading(new_record: Any) -> None:
    record = fed(new_record(GIMBAL), Autopilot().position(7.0), Autopilot(1, 154).gimbal(1.0, 32, 0.0))
    assert record.refused == Counter({"no attitude": 1})


def test_damage_costs_the_message_that_it_hits(new_record: Any) -> None:
    pilot = Autopilot()
    bad = bytearray(pilot.position(7.0))
    bad[12] ^= 0xFF
    record = fed(
        new_record(STABILISED), bytes(bad), b"\x00\xffnoise", pilot.position(7.2), pilot.attitude(7.3)
    )
    assert record.refused["damaged message"] >= 1
    assert record.pose_at(1000.3) is not None


ANY = st.floats(width=32)
OF_16, OF_32, OF_U32 = (
    st.integers(*ends) for ends in ((-(2**15), 2**15 - 1), (-(2**31), 2**31 - 1), (0, 2**32 - 1))
)
WILD = st.one_of(
    st.builds(mavlink.MAVLink_attitude_message, OF_U32, ANY, ANY, ANY, ANY, ANY, ANY),
    st.builds(
        mavlink.MAVLink_global_position_int_message, OF_U32, OF_32, OF_32, OF_32, OF_32, OF_16, OF_16, OF_16,
        st.integers(0, 65535),
    ),
    st.builds(
        mavlink.MAVLink_gimbal_device_attitude_status_message, st.just(0), st.just(0), OF_U32,
        st.integers(0, 65535), st.lists(ANY, min_size=4, max_size=4), ANY, ANY, ANY, st.just(0),
    ),
    st.builds(mavlink.MAVLink_mount_status_message, st.just(0), st.just(0), OF_32, OF_32, OF_32),
    st.builds(mavlink.MAVLink_mount_orientation_message, OF_U32, ANY, ANY, ANY, yaw_absolute=ANY),
)  # fmt: skip


@given(st.lists(WILD, max_size=8))
def test_no_message_stops_the_reader_whatever_it_says(messages: list[Any]) -> None:
    record = FlightRecord(Telemetry(uri="mavlink:udp:a:1"), GIMBAL)
    pilot = Autopilot()
    fed(record, pilot.position(7.0), pilot.attitude(7.1), *map(pilot.pack, messages))
    pose = record.pose_at(1000.2)
    assert pose is None or math.isfinite(pose.yaw_deg)


@pytest.fixture
def live() -> Iterator[Callable[[str, FlightRecord], LiveMavlink]]:
    opened: list[LiveMavlink] = []

    def listen(address: str, record: FlightRecord) -> LiveMavlink:
        opened.append(LiveMavlink(record, address))
        return opened[-1]

    yield listen
    for each in opened:
        each.close()


def until(found: Callable[[], Any]) -> Any:
    """Asks until there is an answer; the messages take their way through sockets and a thread."""
    end = time.monotonic() + 10
    while (answer := found()) is None:
        assert time.monotonic() < end, "no answer in ten seconds"
        threading.Event().wait(0.01)
    return answer


def test_a_live_link_over_udp(new_record: Any, frame_at: Any, live: Any) -> None:
    telemetry = live("udpin:127.0.0.1:0", new_record(STABILISED))
    pilot = Autopilot()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", telemetry._link.port))

        def pose() -> Any:
            now = time.monotonic()
            sender.send(pilot.position(now) + pilot.attitude(now, math.inf) + pilot.attitude(now))
            return telemetry.pose_of(frame_at(mono_s=time.monotonic()))

        assert until(pose).height_m == 50.0
    late = telemetry.pose_of(frame_at(mono_s=time.monotonic() + 60))
    assert late is None
    assert telemetry.refused["telemetry is silent"] == 1
    assert telemetry.refused["not a number"] >= 1


class LateCamera(LiveSource):
    """Its one picture comes out of the stream 0.75 s after it was taken."""

    @classmethod
    def from_options(cls, uri: str, options: CameraOptions) -> LateCamera:
        return cls(uri, options)

    def _shots(self) -> Generator[Shot, None, None]:
        yield Shot(RgbImage(np.zeros((2, 2, 3), np.uint8)), time.monotonic() - 0.75)


def test_a_live_pose_is_of_the_capture_however_late_the_frame_comes(new_record: Any, live: Any) -> None:
    (frame,) = LateCamera("rtsp://camera", CameraOptions())
    assert frame.captured_mono_ns is not None
    captured_s = frame.captured_mono_ns / 1e9
    assert captured_s <= frame.mono_ns / 1e9 - 0.75
    record = new_record(STABILISED)
    for step in range(11):
        record.add_position(captured_s + (step - 5) / 10, Position(47 + step * 1e-5, 8.0, 50.0, None))
        record.add_body(captured_s + (step - 5) / 10, from_angles(0, 0, 0))
    pose = live("udpin:127.0.0.1:0", record).pose_of(frame)
    assert pose.latitude == pytest.approx(47 + 5e-5, abs=1e-9)


def test_a_tcp_link_is_opened_again(
    new_record: Any, frame_at: Any, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.telemetry.mavlink_live._AGAIN_S", 0.02)
    pilot = Autopilot()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        telemetry = live(f"tcp:127.0.0.1:{server.getsockname()[1]}", new_record(STABILISED))
        for height_m in (50.0, 60.0):
            with server.accept()[0] as peer:

                def pose(peer: socket.socket = peer, height_m: float = height_m) -> Any:
                    now = time.monotonic()
                    peer.send(pilot.position(now, height_m=height_m) + pilot.attitude(now))
                    pose = telemetry.pose_of(frame_at(mono_s=now))
                    return pose if pose is not None and pose.height_m > height_m - 5 else None

                assert until(pose) is not None


def test_a_port_in_use_is_told_at_once(new_record: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(SourceError, match="cannot listen: Address already in use"):
            LiveMavlink(new_record(STABILISED), f"udpin:127.0.0.1:{other.getsockname()[1]}")


def section(path: Path, **fields: Any) -> Telemetry:
    return Telemetry.model_validate({"uri": str(path), **fields})


def tlog(*data: bytes, began_s: float = 1.7e9) -> bytes:
    return b"".join(struct.pack(">Q", round((began_s + i / 10) * 1e6)) + each for i, each in enumerate(data))


def test_a_ground_stations_recording(tmp_path: Path, frame_at: Any) -> None:
    pilot = Autopilot()
    old = mavlink.MAVLink(None, srcSystem=1, srcComponent=1)
    old_style = mavlink.MAVLink_attitude_message(7100, 0.1, -0.05, math.radians(90), 0.0, 0.0, 0.0)
    path = tmp_path / "flight.tlog"
    path.write_bytes(
        tlog(
            pilot.position(7.0),
            bytes(old_style.pack(old, force_mavlink1=True)),
            b"\xfe\xff torn",
            pilot.position(7.3, 47.00001),
            pilot.attitude(7.4, 90),
        )
    )
    with open_telemetry(section(path, clock_offset_s=5), STABILISED) as telemetry:
        pose = telemetry.pose_of(frame_at(utc_s=1.7e9 - 5 + 0.15))
        assert pose is not None
        assert pose.latitude == pytest.approx(47.000005, abs=1e-7)
        assert telemetry.refused["damaged message"] >= 1
        assert telemetry.pose_of(frame_at(utc_s=1.7e9)) is None


@pytest.mark.parametrize("data", [b"", b"no log at all, but long enough to be one", tlog(b"\xfe\x00")])
def test_a_recording_of_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "flight.tlog"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"flight\.tlog: has no credible position"):
        open_telemetry(section(path), STABILISED)


FORMATS = {
    # type, name, pymavlink's format letters, struct, columns
    130: ("GPS", "QBIHBcLLe", "<QBIHBhiii", "TimeUS,Status,GMS,GWk,NSats,HDop,Lat,Lng,Alt"),
    131: ("POS", "QLLff", "<Qiiff", "TimeUS,Lat,Lng,Alt,RelHomeAlt"),
    132: ("ATT", "Qfff", "<Qfff", "TimeUS,Roll,Pitch,Yaw"),
    133: ("MNT", "QBfff", "<QBfff", "TimeUS,I,R,P,YE"),
}


def dataflash(*rows: tuple[Any, ...]) -> bytes:
    """An ArduPilot log: the messages that describe the messages, then `(type, values...)`."""
    head = b"\xa3\x95"
    own = ("FMT", "BBnNZ", "", "Type,Length,Name,Format,Columns")
    out = b""
    for number, (name, letters, layout, columns) in {128: own, **FORMATS}.items():
        length = 89 if number == 128 else 3 + struct.calcsize(layout)
        out += (
            head
            + bytes([128])
            + struct.pack("<BB4s16s64s", number, length, name.encode(), letters.encode(), columns.encode())
        )
    for number, *values in rows:
        out += head + bytes([number]) + struct.pack(FORMATS[number][2], *values)
    return out


GPS_WEEK = 2200
WEEK_BEGAN_S = 315964800 + GPS_WEEK * 604800 - 18  # leap seconds since 1980


def logged(latitude_1e7: int = 470_000_000) -> bytes:
    rows: list[tuple[Any, ...]] = []
    for tenth in range(30):
        micro = 60_000_000 + tenth * 100_000
        if tenth % 2 == 0:
            rows.append((130, micro, 3, tenth * 100, GPS_WEEK, 9, 90, latitude_1e7, 80_000_000, 45000))
        rows += [
            (131, micro, latitude_1e7, 80_000_000, 450.0, 50.0),
            (132, micro, 1.0, 2.0, 90.0),
            (133, micro, 0, 0.0, -60.0, 120.0),
        ]
    return dataflash(*rows)


@pytest.mark.parametrize(("camera", "yaw_deg"), [(STABILISED, 90.0), (GIMBAL, 120.0)])
def test_ardupilots_own_log(tmp_path: Path, frame_at: Any, camera: Camera, yaw_deg: float) -> None:
    path = tmp_path / "00000042.BIN"
    path.write_bytes(logged())
    with open_telemetry(section(path), camera) as telemetry:
        pose = telemetry.pose_of(frame_at(utc_s=WEEK_BEGAN_S + 1.5))
    assert pose is not None
    assert (pose.latitude, pose.longitude) == pytest.approx((47.0, 8.0))
    assert (pose.height_m, pose.altitude_m) == (50.0, 450.0)
    assert (pose.yaw_deg, pose.pitch_deg) == pytest.approx((yaw_deg, -60.0), abs=1e-4)


@pytest.mark.parametrize("data", [b"", b"x" * 300, logged()[:200]])
def test_a_dataflash_log_that_is_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "log.bin"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"log\.bin: "):
        open_telemetry(section(path), STABILISED)


UNKNOWN_LETTER = b"\xa3\x95\x80" + struct.pack("<BB4s16s64s", 150, 11, b"BAD", b"\x01", b"A")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"\xa3\x95\x80" + b"?" * 3000, "not a dataflash log that can be read"),
        (UNKNOWN_LETTER * 20, "not a dataflash log that can be read"),
        (bytes(range(256)) * 20, "no credible position; refused: damaged message 1"),
    ],
)
def test_a_damaged_dataflash_log_is_told_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: bytes, message: str
) -> None:
    path = tmp_path / "log.bin"
    path.write_bytes(damage)
    with pytest.raises(SourceError, match=message):
        open_telemetry(section(path), STABILISED)
    assert capfd.readouterr() == ("", "")


def test_damage_inside_a_dataflash_log_is_counted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], frame_at: Any
) -> None:
    path = tmp_path / "log.bin"
    path.write_bytes(logged() + b"damage" + logged())
    with open_telemetry(section(path), STABILISED) as telemetry:
        assert telemetry.pose_of(frame_at(utc_s=WEEK_BEGAN_S + 1.5)) is not None
        assert telemetry.refused["damaged message"] == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["log.bin", "log.tlog"])
def test_without_pymavlink_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(logged())
    for module in [each for each in sys.modules if each.partition(".")[0] == "pymavlink"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pymavlink", None)
    with pytest.raises(MissingExtra, match=r"pymavlink is not installed .*remoteclip-edge\[mavlink\]"):
        open_telemetry(section(path), STABILISED)
