"""What Prometheus is told, read from the daemon's parts at the moment it asks: nothing runs in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar, get_args

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edge.clock import clock_is_synced
from edge.events import Session
from edge.evidence.store import EvidenceStore
from edge.health.meter import BOUNDS_S, Distribution, FrameMeter, Totals
from edge.health.sensors import SensorReading, read_sensors
from edge.mqtt.reconnect import LinkState
from edge.outbox.outbox import Outbox, OutboxCounts
from firmware_cfg.errors import OutboxError

_PREFIX = "remoteclip_"
_Labels = TypeVar("_Labels", bound="tuple[str, ...]")


@dataclass(frozen=True, slots=True)
class MetricSources:
    """Where the numbers come from; each is asked in the HTTP server's thread.

    dropped        frames left out because the model was too slow
    skipped        unreadable frames, by cause
    alerts_active  alerts that are raised and not cleared
    unwritten      steps of alerts that the outbox could not take yet
    prompt_lists   how many prompt lists came in flight, by what became of them
    evidence       None where no pictures are kept
    drift          the gauge's value, 0 to 1; None where it is not known
    camera_outages how often the camera was lost
    telemetry_refused  telemetry that could not be true and frames without any, by cause
    """

    session: Session
    meter: FrameMeter
    outbox: Outbox
    link_state: Callable[[], LinkState]
    dropped: Callable[[], int]
    skipped: Callable[[], Mapping[str, int]]
    alerts_active: Callable[[], int]
    unwritten: Callable[[], int]
    prompt_lists: Callable[[], Mapping[str, int]]
    evidence: EvidenceStore | None = None
    drift: Callable[[], float | None] = lambda: None
    camera_outages: Callable[[], int] = lambda: 0
    telemetry_refused: Callable[[], Mapping[str, int]] = dict
    sensors: Callable[[], SensorReading] = read_sensors


def metrics_registry(sources: MetricSources) -> CollectorRegistry:
    """The daemon's metrics, and what its process takes (process_*: memory, CPU time, descriptors)."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Daemon(sources))
    return registry


class _Daemon(Collector):
    def __init__(self, sources: MetricSources) -> None:
        self._sources = sources
        self._since_ns = time.monotonic_ns()

    def describe(self) -> Iterable[Metric]:
        return ()  # asked when it is registered: there is nothing to measure yet

    def collect(self) -> Iterator[Metric]:
        sources = self._sources
        totals = sources.meter.totals()
        yield from self._frames(totals)
        yield from _alerts(totals, sources.alerts_active(), sources.unwritten())
        yield from _prompts(totals, sources.prompt_lists())
        yield from _outbox(sources.outbox)
        yield _states("link_state", "Connection to the broker: 1 for its state.", sources.link_state())
        if sources.evidence is not None:
            yield _gauge("evidence_bytes", "Disk that kept pictures take.", sources.evidence.kept_bytes)
            yield _gauge("evidence_pictures", "Pictures of alerts that are kept.", sources.evidence.count)
        if (drift := sources.drift()) is not None:
            yield _gauge("drift_ratio", "How far from what the model was validated on; alarm at 0.95.", drift)
        yield from _sensors(sources.sensors())
        yield _gauge("clock_synced", "Whether the device's clock is known to be right.", clock_is_synced())
        yield _about(sources.session, totals)

    def _frames(self, totals: Totals) -> Iterator[Metric]:
        newest_ns = self._since_ns if totals.latest is None else totals.latest.frame.mono_ns
        age_s = max(0.0, (time.monotonic_ns() - newest_ns) / 1e9)
        yield _gauge("frame_age_seconds", "Since the newest frame came; before the first, the start.", age_s)
        yield _counter("frames", "Frames processed.", {(): totals.frames})
        yield _counter(
            "frames_dropped", "Frames left out, by cause.", {("too_slow",): self._sources.dropped()}, "cause"
        )
        skipped = {(cause,): number for cause, number in dict(self._sources.skipped()).items()}
        yield _counter("frames_skipped", "Frames that could not be read, by cause.", skipped, "cause")
        refused = {(cause,): number for cause, number in self._sources.telemetry_refused().items()}
        yield _counter(
            "telemetry_refused",
            "Telemetry that cannot be true, and frames without, by cause.",
            refused,
            "cause",
        )
        outages = self._sources.camera_outages()
        yield _counter("camera_outages", "How often the camera was lost, or not there.", {(): outages})
        yield _histogram("frame_latency_seconds", "From the source to the counts.", {(): totals.latency})
        stages = {(stage,): spread for stage, spread in totals.stages.items()}
        yield _histogram("stage_seconds", "Time of a frame in each stage.", stages, "stage")


def _alerts(totals: Totals, active: int, unwritten: int) -> Iterator[Metric]:
    yield _counter("alert_events", "Steps of alerts.", totals.alert_events, "step", "severity")
    yield _gauge("alerts_active", "Alerts that are raised and not cleared.", active)
    yield _gauge("alert_events_unwritten", "Steps of alerts in memory only: the disk takes none.", unwritten)


def _prompts(totals: Totals, lists: Mapping[str, int]) -> Iterator[Metric]:
    results = {(result,): number for result, number in lists.items()}
    yield _counter("prompt_lists", "Prompt lists that came in flight, by result.", results, "result")
    yield _counter(
        "prompt_changes", "Prompt lists that came into use in flight.", {(): totals.prompt_changes}
    )
    if totals.latest is None:
        return
    count = GaugeMetricFamily(f"{_PREFIX}prompt_count", "Places in the newest frame.", labels=["prompt"])
    unique = CounterMetricFamily(f"{_PREFIX}prompt_unique", "Different objects.", labels=["prompt"])
    score = GaugeMetricFamily(
        f"{_PREFIX}prompt_score_ratio",
        "Calibrated score of the best place, or of the scene.",
        labels=["prompt"],
    )
    for prompt in totals.latest.bank.prompt_list.prompts:
        numbers = totals.latest.counts.prompts[prompt.id]
        score.add_metric([prompt.id], numbers.score)
        if prompt.kind == "object":
            count.add_metric([prompt.id], numbers.count)
            unique.add_metric([prompt.id], numbers.unique)
    yield from (count, unique, score)


def _outbox(outbox: Outbox) -> Iterator[Metric]:
    counts: OutboxCounts | None = None
    with suppress(OutboxError):  # the daemon's log says why; the other metrics are needed all the more
        counts = outbox.counts()
    yield _gauge("outbox_readable", "Whether the queue on disk can be read.", counts is not None)
    if counts is None:
        return
    waiting = {("alert",): counts.alert, ("update",): counts.update, ("telemetry",): counts.telemetry}
    yield _gauges("outbox_messages", "Messages that wait for the broker.", waiting, "kind")
    yield _gauge("outbox_bytes", "What the waiting messages take.", counts.bytes)
    shed = {("update",): counts.shed_update, ("telemetry",): counts.shed_telemetry}
    yield _counter("outbox_shed", "Messages dropped for lack of room, or too old.", shed, "kind")


def _sensors(reading: SensorReading) -> Iterator[Metric]:
    temperatures = {(zone,): value for zone, value in reading.temperatures_c.items()}
    yield _gauges("temperature_celsius", "By thermal zone.", temperatures, "zone")
    rails = {(rail,): value for rail, value in reading.power_w.items()}
    yield _gauges("power_watts", "By power rail; on some boards one rail feeds the others.", rails, "rail")
    if reading.throttled is not None:
        yield _gauge("throttled", "Whether heat slows a processor down just now.", reading.throttled)
    if reading.overcurrent_events is not None:
        events = {(): reading.overcurrent_events}
        yield _counter("overcurrent_events", "How often too much current slowed the device down.", events)


def _about(session: Session, totals: Totals) -> Metric:
    facts = {
        "device": session.device,
        "software": session.software,
        "bundle_sha256": session.bundle_sha256,
    }
    if totals.latest is not None:
        latest = totals.latest
        facts |= {
            "engine": latest.engine,
            "precision": latest.precision,
            "prompt_list_sha256": latest.bank.list_sha256,
        }
    return InfoMetricFamily(_PREFIX.rstrip("_"), "What runs.", value=facts)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_PREFIX}{name}", text, value=float(value))


def _gauges(name: str, text: str, values: Mapping[_Labels, float], *labels: str) -> Metric:
    family = GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=labels)
    for which, value in values.items():
        family.add_metric(which, value)
    return family


def _states(name: str, text: str, state: LinkState) -> Metric:
    return _gauges(name, text, {(each,): float(each == state) for each in get_args(LinkState)}, "state")


def _counter(name: str, text: str, values: Mapping[_Labels, float], *labels: str) -> Metric:
    family = CounterMetricFamily(f"{_PREFIX}{name}", text, labels=labels)
    for which, value in values.items():
        family.add_metric(which, value)
    return family


def _histogram(name: str, text: str, values: Mapping[_Labels, Distribution], *labels: str) -> Metric:
    family = HistogramMetricFamily(f"{_PREFIX}{name}", text, labels=labels)
    bounds = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]
    for which, spread in values.items():
        family.add_metric(which, list(zip(bounds, accumulate(spread.counts), strict=True)), spread.sum_s)
    return family
