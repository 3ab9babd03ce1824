"""The daemon without a broker: what the frame loop finds is in the outbox, however the run ends."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pymap3d
import pytest

from compile.signing_keys import generate_key
from edge.alerts.machine import Transition
from edge.broker import find_mosquitto, free_port, start_demo_broker
from edge.bundle.load import Bundle, write_manifest
from edge.daemon import Daemon
from edge.frames import Frame, RgbImage
from edge.mqtt.subscriber import Subscriber
from edge.onboard import OUTBOX_NAME
from edge.outbox.outbox import Outbox
from edge.pipeline import FrameResult
from edge.prompts.shelf import FOLDER_NAME as PROMPTS_NAME
from edge.prompts.shelf import read_record
from edge.sources import FrameSource, open_source
from firmware_cfg.device import Camera, DeviceFile, Mqtt, Source, Telemetry, load_device
from firmware_cfg.errors import BundleError, OutboxError, RemoteclipError, SourceError
from firmware_cfg.messages import Counts, Event, Health, PromptsState

PROMPTS = """
prompts:
  - id: red
    text: red
    threshold: 0.5
    alerts: [{when: count >= 1, for: 300ms, severity: critical}]
  - {id: haze, kind: scene, text: grey}
background: [grey grey]
"""
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
FPS = 10


class Squares(FrameSource):
    """One frame a letter: `r` has a red square, `.` has none, `!` fails."""

    def __init__(self, script: str, before: Callable[[int], object] = lambda number: None) -> None:
        super().__init__("squares")
        self.script = script
        self.closed = False
        self._before = before

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> FrameSource:
        return cls(uri)

    def close(self) -> None:
        self.closed = True

    def __iter__(self) -> Iterator[Frame]:
        for number, letter in enumerate(self.script):
            self._before(number)
            if letter == "!":
                raise SourceError("squares: the camera is gone")
            pixels = np.full((64, 128, 3), 114, np.uint8)
            if letter == "r":
                pixels[24:32, 16:24] = (255, 0, 0)
            time_s = number / FPS
            captured = START + timedelta(seconds=time_s)
            yield Frame(RgbImage(pixels), number, time_s, captured, number, self.name)


@pytest.fixture
def device_file(tiny_bundle: Bundle, tmp_path: Path) -> DeviceFile:
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text(PROMPTS)
    return DeviceFile(
        device="bird",
        source=Source(uri="squares"),
        prompts=prompts,
        bundle=str(tiny_bundle.path),
        mqtt=Mqtt(url=f"mqtt://127.0.0.1:{free_port()}"),
        state_dir=tmp_path / "state",
    )


def queued_messages(device: DeviceFile) -> list[tuple[str, Any, str]]:
    """(topic below the device, parsed payload or None, kind) of what waits in the outbox."""
    with Outbox(Path(device.state_dir) / OUTBOX_NAME) as outbox:
        return [
            (m.topic.removeprefix("remoteclip/1/bird/"), json.loads(m.payload) if m.payload else None, m.kind)
            for m in outbox.pending(1000)
        ]


def queued_events(device: DeviceFile) -> list[Event]:
    return [
        Event.from_payload(json.dumps(body))
        for topic, body, _ in queued_messages(device)
        if topic == "events"
    ]


def test_an_alert_is_raised_and_cleared_under_one_id(device_file: DeviceFile) -> None:
    summary = Daemon(device_file, source=Squares("..rrrrrr....")).run()
    assert (summary.frames, summary.raised, summary.unique) == (12, 1, {"red": 1})
    first, *updates, last = queued_events(device_file)
    assert (first.msg_type, last.msg_type) == ("raise", "clear")
    assert {event.alert_id for event in (first, *updates, last)} == {first.alert_id}
    assert (first.prompt, first.prompt_text, first.severity) == ("red", ("red",), "critical")
    assert (first.count, first.count_kind, first.threshold, first.precision) == (1.0, "count", 0.5, "fp32")
    assert first.observed_at == START + timedelta(seconds=first.frame / FPS)
    assert first.frame_size == (128, 64)
    ((left, top, right, bottom),) = first.boxes
    assert (left + right) / 2 == pytest.approx(20 / 128, abs=0.01)
    assert (top + bottom) / 2 == pytest.approx(28 / 64, abs=0.01)
    assert [first.seq, *(event.seq for event in updates), last.seq] == list(range(1, len(updates) + 3))
    assert last.frame == 8
    assert last.urgency == "past"


SUBTITLES = """1
00:00:00,000 --> 00:00:01,000
[latitude: 47.000000] [longitude: 8.000000] [rel_alt: 32.000 abs_alt: 432.000] \
[gb_yaw: 90.0 gb_pitch: -90.0 gb_roll: 0.0]

2
00:00:01,000 --> 00:00:02,000
[latitude: 47.000000] [longitude: 8.000000] [rel_alt: 32.000 abs_alt: 432.000] \
[gb_yaw: 90.0 gb_pitch: -90.0 gb_roll: 0.0]
"""


@pytest.mark.skipif(
    find_mosquitto() is None and find_spec("amqtt") is None, reason="neither mosquitto nor amqtt is installed"
)
def test_what_the_control_room_hears_of_an_alert_is_where_it_stands(
    device_file: DeviceFile, tmp_path: Path
) -> None:
    (tmp_path / "flight.srt").write_text(SUBTITLES)
    heard: list[Event] = []
    cleared = threading.Event()

    def hear(topic: str, payload: bytes, retained: bool) -> None:
        heard.append(Event.from_payload(payload))
        if heard[-1].msg_type == "clear":
            cleared.set()

    with start_demo_broker() as broker:
        device = device_file.model_copy(
            update={
                "mqtt": Mqtt(url=broker.url),
                "camera": Camera(hfov_deg=90),
                "telemetry": Telemetry(uri=str(tmp_path / "flight.srt")),
            }
        )
        with Subscriber(broker.settings, ["remoteclip/1/bird/events"], hear) as subscriber:
            assert subscriber.wait_online(60)
            Daemon(device, source=Squares("rrrrrr....")).run()
            assert cleared.wait(60)
    raised = heard[0]
    assert raised.msg_type == "raise"
    assert raised.position is not None
    # The square's middle is 44 and 4 pixels left of and above the frame's; 2 pixels are a metre, east is up.
    longitude, latitude = raised.position.coordinates
    east, north, _ = pymap3d.geodetic2enu(latitude, longitude, 400, 47.0, 8.0, 400)
    assert (east, north) == pytest.approx((2, 22), abs=0.5)
    assert raised.h_acc_m is not None
    assert 0 < raised.h_acc_m < 10
    assert raised.pose is not None
    assert (raised.pose.latitude, raised.pose.height_m, raised.pose.yaw_deg) == pytest.approx((47, 32, 90))


def test_unrelated_images_add_up(device_file: DeviceFile) -> None:
    images = Squares("rr.r")
    images.independent = True
    assert Daemon(device_file, source=images).run().unique == {"red": 3}


def test_the_retained_alert_is_emptied_after_its_clear(device_file: DeviceFile) -> None:
    Daemon(device_file, source=Squares("rrrrrr....")).run()
    (alert_id,) = {event.alert_id for event in queued_events(device_file)}
    retained = [
        (body, kind) for topic, body, kind in queued_messages(device_file) if topic == f"alerts/{alert_id}"
    ]
    assert retained[-1] == (None, "alert")
    assert retained[0][0]["alert_id"] == alert_id
    with Outbox(Path(device_file.state_dir) / OUTBOX_NAME) as outbox:
        assert outbox.kept_alerts() == {}


def test_counts_health_and_the_list_in_force_are_published(device_file: DeviceFile) -> None:
    Daemon(device_file, source=Squares("..rr")).run()
    bodies = {
        topic: json.dumps(body) for topic, body, kind in queued_messages(device_file) if kind == "telemetry"
    }
    counts = Counts.from_payload(bodies["counts/red"])
    assert (counts.count, counts.unique, counts.frame, counts.threshold) == (1, 0, 3, 0.5)
    haze = Counts.from_payload(bodies["counts/haze"])
    assert (haze.kind, haze.count) == ("scene", 0)
    assert haze.score > 0.5
    health = Health.from_payload(bodies["health"])
    assert (health.frames, health.engine, health.precision, health.image_size) == (
        4,
        "openvino",
        "fp32",
        (128, 64),
    )
    state = PromptsState.from_payload(bodies["prompts/state"])
    assert [(p.id, p.threshold_from) for p in state.prompts] == [("red", "list"), ("haze", "null_bank")]
    assert state.sha256 == queued_sha256(device_file)


def test_things_that_a_zone_on_the_ground_cannot_see_are_told_in_the_health(device_file: DeviceFile) -> None:
    field = "zones: {field: {ground: [[47.0, 8.0], [47.001, 8.0], [47.001, 8.001]]}}\n"
    device_file.prompts.write_text(field + PROMPTS)
    Daemon(device_file, source=Squares("..rr")).run()
    bodies = {topic: json.dumps(body) for topic, body, _ in queued_messages(device_file)}
    assert Health.from_payload(bodies["health"]).unplaced == 1


def queued_sha256(device: DeviceFile) -> str:
    import hashlib

    return hashlib.sha256(device.prompts.read_bytes()).hexdigest()


def test_an_unreachable_broker_is_said_once_and_nothing_is_lost(
    device_file: DeviceFile, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        summary = Daemon(device_file, source=Squares("rrrrrr")).run()
    assert summary.unsent == len(queued_messages(device_file)) > 0
    refused = [record.getMessage() for record in caplog.records if "127.0.0.1" in record.getMessage()]
    assert len(refused) == 1
    assert "connection refused" in refused[0]


def test_stopping_clears_what_is_active(device_file: DeviceFile) -> None:
    daemon: Daemon

    def stop_after(result: FrameResult, transitions: Sequence[Transition]) -> None:
        if result.frame.number == 6:
            daemon.stop("SIGTERM")

    source = Squares("r" * 1000)
    daemon = Daemon(device_file, source=source, on_frame=stop_after)
    summary = daemon.run()
    assert summary.frames in (7, 8)  # the engine may have had the next one already
    last = queued_events(device_file)[-1]
    assert (last.msg_type, last.reason) == ("clear", "stopped")
    assert source.closed


def test_a_stop_before_the_start_flies_nothing(device_file: DeviceFile) -> None:
    daemon = Daemon(device_file, source=Squares("r" * 1000))
    daemon.stop("SIGINT")
    assert daemon.run().frames == 0


def test_a_limit_counts_in_capture_time(device_file: DeviceFile) -> None:
    summary = Daemon(device_file, source=Squares("." * 1000), limit_s=2.0).run()
    assert (summary.frames, summary.captured_s) == (21, 2.0)


def test_a_camera_that_fails_leaves_no_alert_behind(device_file: DeviceFile) -> None:
    source = Squares("rrrrrr!")
    with pytest.raises(SourceError, match="the camera is gone"):
        Daemon(device_file, source=source).run()
    assert [event.msg_type for event in queued_events(device_file)][-1] == "clear"
    assert source.closed


@pytest.mark.parametrize(("rebooted", "reason"), [(False, "count < 1"), (True, "restart")])
def test_an_alert_outlives_a_crash_of_the_daemon_but_not_of_the_machine(
    device_file: DeviceFile, rebooted: bool, reason: str
) -> None:
    class Crash(BaseException):
        pass

    kept: dict[str, str] = {}

    def crash(result: FrameResult, transitions: Sequence[Transition]) -> None:
        if result.frame.number == 9:
            raise Crash

    # What a crash leaves is what the outbox holds before the clean stop; copied here, and put back after it.
    reached = threading.Event()
    original = Outbox.keep_alert

    def keep(self: Outbox, alert_id: str, state: str) -> None:
        original(self, alert_id, state)
        kept[alert_id] = state
        reached.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Outbox, "keep_alert", keep)
        with pytest.raises(Crash):
            Daemon(device_file, source=Squares("r" * 20), on_frame=crash).run()
    assert reached.is_set()
    with Outbox(Path(device_file.state_dir) / OUTBOX_NAME) as outbox:
        outbox.done(*(message.id for message in outbox.pending(1000)))
        for alert_id, state in kept.items():
            boot = json.loads(state)["kernel_boot"]
            outbox.keep_alert(alert_id, state.replace(boot, "another-boot") if rebooted else state)
        outbox.keep_alert("from-a-newer-version", '{"schema": 7}')
    Daemon(device_file, source=Squares("...")).run()
    (event,) = queued_events(device_file)
    assert (event.msg_type, event.reason, {event.alert_id}) == ("clear", reason, set(kept))
    emptied = [
        topic
        for topic, body, _ in queued_messages(device_file)
        if topic.startswith("alerts/") and body is None
    ]
    assert sorted(emptied) == sorted([f"alerts/{event.alert_id}", "alerts/from-a-newer-version"])


def test_seq_and_events_go_on_over_restarts(device_file: DeviceFile) -> None:
    for _ in range(2):
        Daemon(device_file, source=Squares("rrrrrr....")).run()
    events = queued_events(device_file)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len({event.boot_id for event in events}) == 2
    assert len({event.event_id for event in events}) == len(events)


def test_a_full_disk_stops_neither_the_frame_loop_nor_the_alerts(
    device_file: DeviceFile, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.reporter.RETRY_S", 0.01)
    original, refusals, written = Outbox.next_seq, iter(range(3)), threading.Event()

    def refuse_three_times(self: Outbox) -> int:
        if next(refusals, None) is not None:
            raise OutboxError("outbox: database or disk is full (make room on the disk)")
        written.set()
        return original(self)

    def wait_at_the_end(number: int) -> None:
        if number == 9:
            assert written.wait(60)

    monkeypatch.setattr(Outbox, "next_seq", refuse_three_times)
    with caplog.at_level(logging.INFO):
        Daemon(device_file, source=Squares("rrrrrr....", wait_at_the_end)).run()
    assert [event.msg_type for event in queued_events(device_file)][:1] == ["raise"]
    assert sum("disk is full" in record.getMessage() for record in caplog.records) == 1


def test_a_disk_that_stays_full_fails_the_run(
    device_file: DeviceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Outbox) -> int:
        raise OutboxError("outbox: database or disk is full (make room on the disk)")

    monkeypatch.setattr(Outbox, "next_seq", refuse)
    with pytest.raises(OutboxError, match="disk is full"):
        Daemon(device_file, source=Squares("rrrrrr....")).run()


def test_a_reporter_that_breaks_ends_the_flight_instead_of_leaving_it_unheard(
    device_file: DeviceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*facts: object, **more: object) -> Event:
        raise ZeroDivisionError("a mistake in the code")

    monkeypatch.setattr("edge.events.event", breaks)
    with pytest.raises(ZeroDivisionError):
        Daemon(device_file, source=Squares("r" * 100_000)).run()


def test_it_ends_the_flight_also_where_the_camera_never_came(
    device_file: DeviceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*facts: object, **more: object) -> Health:
        raise ZeroDivisionError("a mistake in the code")

    monkeypatch.setattr("edge.health.vitals.health", breaks)
    absent = Source(uri=f"rtsp://127.0.0.1:{free_port()}/cam")
    with pytest.raises(ZeroDivisionError):
        Daemon(device_file.model_copy(update={"source": absent})).run()


def test_two_daemons_cannot_share_a_state_dir(device_file: DeviceFile) -> None:
    path = Path(device_file.state_dir) / OUTBOX_NAME
    with Outbox(path), pytest.raises(OutboxError, match="is another remoteclip running with this state_dir"):
        Daemon(device_file, source=Squares("...")).run()


def test_a_demanded_signature_is_looked_for_before_anything_starts(
    tiny_bundle: Bundle, device_file: DeviceFile, tmp_path: Path
) -> None:
    _, public, _ = generate_key(tmp_path / "owner")
    strict = device_file.model_copy(update={"require_signature": True, "trusted_keys": (public,)})
    with pytest.raises(BundleError, match="unsigned, but a signature is required"):
        Daemon(strict, source=Squares("...")).run()
    assert queued_messages(device_file) == []


def test_a_bundle_that_nobody_signed_is_a_warning_where_keys_are_named(
    device_file: DeviceFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, public, _ = generate_key(tmp_path / "owner")
    caplog.set_level(logging.INFO)
    for keys, level in (((), logging.INFO), ((public,), logging.WARNING)):
        caplog.clear()
        Daemon(device_file.model_copy(update={"trusted_keys": keys}), source=Squares("...")).run()
        assert [record.levelno for record in caplog.records if record.message.endswith(": unsigned")] == [
            level
        ]


@pytest.mark.parametrize("failed", [True, False])
def test_a_variant_that_failed_its_gate_flies_with_one_warning(
    device_file: DeviceFile,
    bundle_copy: Path,
    manifest_fields: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    failed: bool,
) -> None:
    problems = ["mean cosine 0.9 is below 0.99"] if failed else []
    gate = {
        "probe": "shipped",
        "engine": "openvino",
        "images": 1,
        "places": 1,
        "cosine_mean": 0.9,
        "cosine_min": 0.8,
        "passed": not failed,
        "problems": problems,
    }
    lost = [f"fp32 on openvino: {problem}" for problem in problems]
    write_manifest(bundle_copy, {**manifest_fields, "gates": {"fp32": gate}, "regressions": lost})
    engine = device_file.engine.model_copy(update={"precision": "fp32"})
    device = device_file.model_copy(update={"bundle": str(bundle_copy), "engine": engine})
    caplog.set_level(logging.WARNING, "edge.daemon")
    Daemon(device, source=Squares("...")).run()
    assert [record.message for record in caplog.records if "accuracy gate" in record.message] == [
        f"{bundle_copy}: fp32 failed its accuracy gate and flies all the same: {problem}"
        for problem in problems
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bundle": "/nowhere/bundle"}, r"/nowhere/bundle: holds no bundle"),
        ({"source": Source(uri="/nowhere/flight.mp4")}, r"/nowhere/flight\.mp4.*no such file"),
        ({"state_dir": Path("/proc/state")}, r"/proc/state.*make state_dir a folder that can be written"),
    ],
)
def test_what_is_missing_is_named_before_anything_is_sent(
    device_file: DeviceFile, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(RemoteclipError, match=message) as caught:
        Daemon(
            device_file.model_copy(update=change), source=None if "source" in change else Squares("...")
        ).run()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_the_shipped_device_file_is_valid(repository: Path) -> None:
    device = load_device(repository / "firmware_cfg" / "devices" / "cpu.yaml")
    with open_source(device.source.uri) as source:
        assert source.length == 100


def test_another_list_takes_over_in_flight(device_file: DeviceFile) -> None:
    changed = PROMPTS.replace("id: red", "id: crimson").encode()
    sha256 = hashlib.sha256(changed).hexdigest()

    def save(number: int) -> None:
        if number == 10:
            Path(device_file.prompts).write_bytes(changed)
            deadline = time.monotonic() + 60
            while read_record(device_file.state_dir / PROMPTS_NAME).in_force.sha256 != sha256:
                assert time.monotonic() < deadline
                time.sleep(0.01)

    steps: list[tuple[str, str]] = []

    def note(result: FrameResult, transitions: Sequence[Transition]) -> None:
        steps.extend((each.kind, each.prompt_id) for each in transitions)

    summary = Daemon(device_file, source=Squares("r" * 20, save), on_frame=note).run()
    assert summary.frames == 20
    assert steps == [("raise", "red"), ("clear", "red"), ("raise", "crimson")]
    raised, ended, again, stopped = queued_events(device_file)
    assert (raised.msg_type, ended.msg_type, ended.reason) == ("raise", "clear", "prompts changed")
    assert ended.prompt_list_sha256 == raised.prompt_list_sha256 != sha256
    assert (again.msg_type, again.prompt, again.prompt_list_sha256) == ("raise", "crimson", sha256)
    assert (stopped.msg_type, stopped.reason) == ("clear", "stopped")
    bodies = {topic: body for topic, body, _ in queued_messages(device_file)}
    assert (bodies["counts/red"], bodies["prompts/state"]["sha256"]) == (None, sha256)
    assert bodies["counts/crimson"]["frame"] == 19
