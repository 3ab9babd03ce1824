"""Metrics as Prometheus reads them: over HTTP, from a real pipeline, queue and evidence store."""

from __future__ import annotations

import http.client
import select
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from edge.alerts.machine import AlertMachine
from edge.bundle.load import Bundle
from edge.events import Session
from edge.evidence.store import EvidenceStore
from edge.frames import Frame, RgbImage
from edge.health.meter import BOUNDS_S, FrameMeter
from edge.health.metrics import MetricSources, metrics_registry
from edge.health.metrics_server import MetricsServer
from edge.health.sensors import SensorReading
from edge.outbox.outbox import Outbox
from edge.pipeline import Pipeline
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.prompt_list import load_prompt_bytes

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
PROMPTS = b"""
prompts:
  - {id: red, text: red, threshold: 0.5, alerts: [{when: count >= 1, severity: critical}]}
  - {id: haze, kind: scene, text: grey}
"""
SENSORS = SensorReading({"cpu-thermal": 51.5}, {"VDD_IN": 7.5}, throttled=False, overcurrent_events=3)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(port: int, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return str(answer.read().decode())


def samples(text: str) -> Samples:
    """(name, labels) -> value, as Prometheus' own parser reads them."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Parts:
    """The daemon's parts that are measured."""

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        self.meter = FrameMeter()
        self.outbox = Outbox(folder / "outbox.db")
        self.evidence = EvidenceStore(folder / "evidence", max_bytes_each=64 << 10, keep_bytes=1 << 20)
        self.pipeline = Pipeline(bundle, load_prompt_bytes(PROMPTS, "test"), engine_name="onnxruntime")
        bank = self.pipeline.bank
        self.machine = AlertMachine(bank.prompt_list, thresholds=bank.thresholds)
        self.skipped = {"damaged": 2}
        self.drift: float | None = None
        self.sources = MetricSources(
            session=Session("drone-7", "s", NOON, "b", "a" * 64, "1.2.3"),
            meter=self.meter,
            outbox=self.outbox,
            link_state=lambda: "offline",
            dropped=lambda: 5,
            skipped=lambda: self.skipped,
            alerts_active=lambda: len(self.machine.active),
            unwritten=lambda: 0,
            prompt_lists=lambda: {"applied": 2, "refused": 1},
            evidence=self.evidence,
            drift=lambda: self.drift,
            camera_outages=lambda: 3,
            telemetry_refused=lambda: {"jump": 4},
            sensors=lambda: SENSORS,
        )
        self._number = 0

    def fly(self, frames: int) -> None:
        pixels = np.full((64, 128, 3), 114, np.uint8)
        pixels[16:24, 40:48] = (255, 0, 0)
        for _ in range(frames):
            frame = Frame(RgbImage(pixels), self._number, self._number / 10, NOON, 0, "test")
            self._number += 1
            result = self.pipeline.process(frame)
            self.meter.take(result, self.machine.update(result.counts, result.tracks, frame.time_s))


@pytest.fixture
def parts(tmp_path: Path, tiny_bundle: Bundle) -> Iterator[Parts]:
    parts = Parts(tmp_path, tiny_bundle)
    yield parts
    parts.pipeline.close()
    parts.outbox.close()


@pytest.fixture
def measure(parts: Parts) -> Iterator[Callable[..., float]]:
    """`measure(name, **labels)` scrapes and gives one value, with the prefix `remoteclip_` left out."""
    with MetricsServer("127.0.0.1", 0, metrics_registry(parts.sources)) as server:

        def measure(name: str, **labels: str) -> float:
            found = samples(scrape(server.port))
            return found["remoteclip_" + name, frozenset(labels.items())]

        yield measure


def test_before_the_first_frame_there_are_ages_and_zeros(measure: Callable[..., float]) -> None:
    assert measure("frames_total") == 0
    assert measure("frame_age_seconds") >= 0
    assert measure("frame_latency_seconds_count") == 0
    assert measure("info", device="drone-7", software="1.2.3", bundle_sha256="a" * 64) == 1


def test_the_drift_is_told_once_it_is_known(parts: Parts, measure: Callable[..., float]) -> None:
    with pytest.raises(KeyError):
        measure("drift_ratio")
    parts.drift = 0.75
    assert measure("drift_ratio") == 0.75


def test_frames_stages_and_prompts_are_told(parts: Parts, measure: Callable[..., float]) -> None:
    before = measure("frame_age_seconds")
    parts.fly(3)
    assert measure("frames_total") == 3
    # The frames are stamped as if they came when the machine was started.
    assert measure("frame_age_seconds") > before
    assert measure("frame_latency_seconds_count") == 3
    stages = {
        stage: measure("stage_seconds_sum", stage=stage) for stage in ("preprocess", "engine", "lookup")
    }
    assert min(stages.values()) > 0
    buckets = [measure("stage_seconds_bucket", stage="engine", le=f"{bound:g}") for bound in BOUNDS_S]
    assert buckets == sorted(buckets)
    assert measure("stage_seconds_bucket", stage="engine", le="+Inf") == 3
    assert measure("prompt_count", prompt="red") == 1
    assert measure("prompt_score_ratio", prompt="haze") > 0.5
    with pytest.raises(KeyError):
        measure("prompt_count", prompt="haze")
    assert measure("frames_dropped_total", cause="too_slow") == 5
    assert measure("frames_skipped_total", cause="damaged") == 2
    assert measure("telemetry_refused_total", cause="jump") == 4


def test_alerts_and_changes_of_the_prompt_list_are_counted(
    parts: Parts, measure: Callable[..., float]
) -> None:
    parts.fly(2)
    assert measure("alert_events_total", step="raise", severity="critical") == 1
    assert (measure("alerts_active"), measure("prompt_changes_total")) == (1, 0)
    assert [measure("prompt_lists_total", result=result) for result in ("applied", "refused")] == [2, 1]
    parts.pipeline.set_prompts(load_prompt_bytes(b"prompts: [{id: green, text: green}]", "test"))
    parts.machine = AlertMachine(parts.pipeline.bank.prompt_list)
    parts.fly(2)
    assert measure("prompt_changes_total") == 1
    assert measure("prompt_count", prompt="green") == 0
    with pytest.raises(KeyError):
        measure("prompt_count", prompt="red")


def test_the_queue_the_link_and_the_pictures_are_told(parts: Parts, measure: Callable[..., float]) -> None:
    parts.outbox.put("t", b"x", kind="alert")
    parts.outbox.put("t", b"x", kind="telemetry")
    parts.evidence.keep(RgbImage(np.zeros((8, 8, 3), np.uint8)), [])
    assert measure("outbox_messages", kind="alert") == 1
    assert measure("outbox_messages", kind="telemetry") == 1
    assert measure("outbox_bytes") > 0
    assert measure("outbox_shed_total", kind="telemetry") == 0
    assert [measure("link_state", state=state) for state in ("online", "offline")] == [0, 1]
    assert (measure("evidence_pictures"), measure("evidence_bytes")) == (1, 4096)


def test_sensors_are_told_by_zone_and_rail(measure: Callable[..., float]) -> None:
    assert measure("temperature_celsius", zone="cpu-thermal") == 51.5
    assert measure("power_watts", rail="VDD_IN") == 7.5
    assert (measure("throttled"), measure("overcurrent_events_total")) == (0, 3)


def test_a_queue_that_cannot_be_read_costs_its_own_metrics_only(
    parts: Parts, measure: Callable[..., float]
) -> None:
    parts.outbox.close()
    assert (measure("outbox_readable"), measure("frames_total")) == (0, 0)
    with pytest.raises(KeyError):
        measure("outbox_bytes")


def test_every_name_has_the_prefix_and_a_help_text(parts: Parts) -> None:
    parts.fly(1)
    for family in metrics_registry(parts.sources).collect():
        assert family.name.startswith(("remoteclip_", "process_")) or family.name == "remoteclip"
        assert family.documentation


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RemoteclipError) as caught:
            MetricsServer("127.0.0.1", port, CollectorRegistry())
    assert str(caught.value) == (
        f"metrics: 127.0.0.1 port {port}: address already in use"
        " (give each daemon a port of its own in its device file, such as metrics: {port: 9465})"
    )


def test_the_port_is_free_again_afterwards() -> None:
    with MetricsServer("127.0.0.1", 0, CollectorRegistry()) as server:
        port = server.port
    with MetricsServer("127.0.0.1", port, CollectorRegistry()) as server:
        assert scrape(server.port) == ""


def test_other_paths_and_methods_are_refused() -> None:
    with MetricsServer("127.0.0.1", 0, CollectorRegistry()) as server:
        for path, method, status in (
            ("/", "GET", 404),
            ("/metrics/../x", "GET", 404),
            ("/metrics", "POST", 501),
        ):
            request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", method=method)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=60)
            assert caught.value.code == status
            caught.value.close()
        assert scrape(server.port, "/metrics?x=1") == ""


def test_connections_that_say_nothing_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.health.metrics_server._PATIENCE_S", 0.2)
    with MetricsServer("127.0.0.1", 0, CollectorRegistry()) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(40)]
        for connection in idle:
            assert read_to_the_end(connection) == b""  # hung up on: at once, or when patience is at its end
            connection.close()
        until_scraped(server.port)


def until_scraped(port: int) -> None:
    """The last of those that were hung up on may still be on its way out."""
    answers = []
    for _ in range(500):
        answers = try_to_scrape(port)
        if answers:
            break
        time.sleep(0.01)
    assert answers == [""]


def test_clients_that_send_a_byte_now_and_then_do_not_keep_others_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge.health.metrics_server._PATIENCE_S", 0.3)
    with MetricsServer("127.0.0.1", 0, CollectorRegistry()) as server:
        slow = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(4)]
        left = list(slow)
        for _ in range(100):
            for connection in left:
                with suppress(OSError):
                    connection.send(b"G")  # sooner than any patience for the next byte ends
            hung_up_on, _, _ = select.select(left, [], [], 0.05)
            left = [connection for connection in left if connection not in hung_up_on]
            if not left:
                break
        assert left == []
        for connection in slow:
            connection.close()
        until_scraped(server.port)


def try_to_scrape(port: int) -> list[str]:
    try:
        return [scrape(port)]
    except (OSError, http.client.HTTPException):
        return []


def read_to_the_end(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1)
    except ConnectionResetError:
        return b""


def test_a_mistake_in_a_collector_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def describe(self) -> list[Any]:
            return []

        def collect(self) -> Iterator[Any]:
            raise ZeroDivisionError("a mistake in the code")

    registry = CollectorRegistry()
    registry.register(Broken())  # type: ignore[arg-type]
    with MetricsServer("127.0.0.1", 0, registry) as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            scrape(server.port)
        caught.value.close()
        assert caught.value.code == 500
    assert "the metrics cannot be collected" in caplog.text
