"""What the frame loop finds, on its way into an outbox: pictures, lists that change, disks that refuse."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.alerts.state import Transition, resumable
from edge.counting import FrameCounts, PromptCounts
from edge.events import FrameFacts, Session
from edge.evidence.store import EvidenceStore
from edge.frames import Frame, RgbImage
from edge.kernel_boot import kernel_boot_id
from edge.outbox.file import OutboxDamagedError
from edge.outbox.outbox import Outbox
from edge.reporter import Reporter
from edge.unwritten import NewList, Step, Unwritten
from firmware_cfg.messages import Alert, Counts, Event, Health, PromptsState
from firmware_cfg.prompt_list import PromptList
from firmware_cfg.rules import Term

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)
ROOT = "remoteclip/1/bird"
RULE = {"when": "count >= 1"}


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.db") as box:
        yield box


def bank(*prompt_ids: str) -> Any:
    prompts = [{"id": each, "text": each, "alerts": [RULE]} for each in prompt_ids]
    thresholds = dict.fromkeys(prompt_ids, 0.5)
    return SimpleNamespace(
        prompt_list=PromptList.model_validate({"prompts": prompts}),
        list_sha256=f"{len(prompt_ids)}" * 64,
        thresholds=thresholds,
        source="file",
    )


CARS, BOATS = bank("car", "dog"), bank("car", "boat", "van")


def result(number: int, its_bank: Any = CARS) -> Any:
    pixels = np.zeros((256, 512, 3), np.uint8)
    pixels[:, :, 0], pixels[:, :, 1] = np.arange(512) % 256, number
    image = RgbImage(pixels)
    prompts = {prompt.id: PromptCounts(count=number) for prompt in its_bank.prompt_list.prompts}
    return SimpleNamespace(
        frame=Frame(image, number, number / 10, NOW + timedelta(seconds=number), number, "film"),
        counts=FrameCounts(prompts),
        precision="fp32",
        bank=its_bank,
    )


def step(kind: str, alert_id: str = "a1", prompt_id: str = "car") -> Transition:
    return Transition(
        kind=kind,  # type: ignore[arg-type]
        alert_id=alert_id,
        prompt_id=prompt_id,
        rule_index=0,
        severity="warning",
        value=1.0,
        term=Term("count"),
        score=0.9,
        raw=2.0,
        threshold=0.5,
        certainty="observed",
        boxes=((10.0, 10.0, 30.0, 30.0),),
        track_ids=(1,),
        reason="count >= 1",
    )


def session(outbox: Outbox, device: str = "bird") -> Session:
    return Session(device, "5e55", NOW, outbox.boot_id, "a" * 64, "1")


def health() -> Health:
    return Health(
        device="bird",
        sent_at=NOW,
        uptime_s=1,
        frames=1,
        fps=1,
        engine="e",
        precision="p",
        bundle_sha256="a" * 64,
        native=True,
        clock_synced=True,
    )


def reporter_of(outbox: Outbox, **options: Any) -> Reporter:
    return Reporter(outbox, session(outbox), **{"counts_interval": 3600.0, "health": health, **options})


def queued(outbox: Outbox, topic: str) -> list[bytes]:
    return [m.payload for m in outbox.pending(10_000) if m.topic == f"{ROOT}/{topic}"]


def events_in(outbox: Outbox) -> list[Event]:
    return [Event.from_payload(payload) for payload in queued(outbox, "events")]


def wait_until(reached: Callable[[], bool]) -> None:
    for _ in range(3000):
        if reached():
            return
        threading.Event().wait(0.01)
    raise AssertionError("waited 30 s in vain")


def test_an_alert_that_goes_on_ends_once_under_its_id_and_with_its_picture(
    tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    store = EvidenceStore(tmp_path / "evidence", max_bytes_each=65536, keep_bytes=1 << 20)
    first = reporter_of(outbox, evidence=store)
    first.start(CARS)
    first.report(result(3), [step("raise"), step("raise", "a2", "dog")])
    first.stop()  # the alerts stay: this is what a crash leaves
    resumed = resumable(outbox.kept_alerts(), device="bird")
    assert [(alert.latest.alert_id, alert.latest.prompt_id) for alert in resumed] == [
        *(("a1", "car"), ("a2", "dog")),
    ]
    outbox.done(*(m.id for m in outbox.pending()))

    with caplog.at_level(logging.INFO):
        second = reporter_of(outbox)
        second.start(CARS, resumed=["a1"])
    assert "alert a1 (car) of an earlier run goes on" in caplog.text
    (ended,) = events_in(outbox)
    assert (ended.alert_id, ended.msg_type, ended.reason) == ("a2", "clear", "restart")
    assert queued(outbox, "alerts/a2") == [b""]
    second.report(result(5), [step("update")])
    second.report(result(7), [step("clear")])
    second.stop()
    ended, update, clear = events_in(outbox)
    (retained, empty) = queued(outbox, "alerts/a1")
    alert = Alert.from_payload(retained)
    assert (alert.raised_at, alert.event_id, empty) == (NOW + timedelta(seconds=3), update.event_id, b"")
    assert alert.evidence_sha256 is not None
    assert store.get(alert.evidence_sha256) is not None
    assert {update.evidence_sha256, clear.evidence_sha256} == {alert.evidence_sha256}
    assert [event.seq for event in (ended, update, clear)] == [3, 4, 5]
    assert outbox.kept_alerts() == {}


def test_what_a_crash_leaves_is_known_to_belong_to_this_life_of_the_machine(outbox: Outbox) -> None:
    reporter = reporter_of(outbox)
    reporter.start(CARS)
    reporter.report(result(3), [step("raise")])
    reporter.stop()
    kept = outbox.kept_alerts()
    assert len(resumable(kept, device="bird", kernel_boot=kernel_boot_id())) == 1
    assert resumable(kept, device="bird", kernel_boot="after a reboot") == ()


def test_a_run_without_a_frame_leaves_no_alert_behind(outbox: Outbox) -> None:
    reporter = reporter_of(outbox)
    reporter.start(CARS)
    reporter.report(result(3), [step("raise")])
    reporter.stop()
    again = reporter_of(outbox)
    again.start(CARS, resumed=["a1"])
    assert list(outbox.kept_alerts()) == ["a1"]
    again.stop()
    assert outbox.kept_alerts() == {}
    assert [(event.msg_type, event.reason) for event in events_in(outbox)][-1] == ("clear", "restart")


def test_an_outbox_that_goes_bad_ends_the_flight_so_that_a_restart_can_save_the_rest(
    tmp_path: Path, outbox: Outbox
) -> None:
    reporter = reporter_of(outbox)
    reporter.start(CARS)
    reporter.report(result(1), [step("raise")])
    wait_until(lambda: reporter.waiting == 0)
    outbox._file.all("PRAGMA wal_checkpoint(TRUNCATE)")
    with outbox.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (outbox.path.stat().st_size - 4096))
    outbox._file.run("PRAGMA shrink_memory")
    reporter.report(result(2), [step("clear")])
    wait_until(lambda: not reporter._thread.is_alive())
    with pytest.raises(OutboxDamagedError, match="restart"):
        reporter.report(result(3), [])


def test_another_list_is_told_at_once_and_what_it_has_not_is_emptied(outbox: Outbox) -> None:
    reporter = reporter_of(outbox)
    reporter.start(CARS)
    reporter.report(result(1), [step("raise", "a2", "dog")])
    reporter.report(result(1), [replace(step("clear", "a2", "dog"), reason="prompts changed")])
    reporter.report(result(2, BOATS), [step("raise", "a3", "boat")])
    wait_until(lambda: len(events_in(outbox)) == 3)  # counts_interval is an hour
    assert [json.loads(body)["sha256"][0] for body in queued(outbox, "prompts/state")] == ["3"]
    assert queued(outbox, "counts/dog") == [b""]
    for prompt_id in ("car", "boat", "van"):
        (body,) = queued(outbox, f"counts/{prompt_id}")
        assert Counts.from_payload(body).frame == 2
    topics = [m.topic.removeprefix(f"{ROOT}/") for m in outbox.pending() if m.kind != "update"]
    assert topics.index("prompts/state") > topics.index("alerts/a2")
    assert topics.index("counts/van") < topics.index("alerts/a3")
    reporter.stop()
    (state,) = queued(outbox, "prompts/state")
    assert [prompt.id for prompt in PromptsState.from_payload(state).prompts] == ["car", "boat", "van"]


def test_each_raise_has_its_own_picture_and_a_store_that_fails_costs_no_alert(
    tmp_path: Path, outbox: Outbox
) -> None:
    store = EvidenceStore(tmp_path / "evidence", max_bytes_each=65536, keep_bytes=1 << 20)
    reporter = reporter_of(outbox, evidence=store)
    reporter.start(CARS)
    reporter.report(result(200), [step("raise"), replace(step("raise", "a2", "dog"), boxes=())])
    wait_until(lambda: len(events_in(outbox)) == 2)
    (tmp_path / "evidence").rename(tmp_path / "gone")
    (tmp_path / "evidence").write_text("not a folder any more")
    reporter.report(result(100), [step("raise", "a3"), step("clear")])
    reporter.stop()
    hashes = [event.evidence_sha256 for event in events_in(outbox)]
    assert None not in hashes[:2]
    assert len(set(hashes[:2])) == 2
    assert hashes[2:] == [None, hashes[0]]


def test_a_disk_that_refuses_delays_alerts_but_holds_neither_frames_nor_health(
    tmp_path: Path, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge.reporter.RETRY_S", 0.01)
    monkeypatch.setattr("edge.reporter.HEALTH_INTERVAL_S", 0.01)
    looked = threading.Semaphore(0)

    def look() -> Health:
        looked.release()
        return health()

    store = EvidenceStore(tmp_path / "evidence", max_bytes_each=65536, keep_bytes=1 << 20)
    reporter = reporter_of(outbox, evidence=store, health=look)
    reporter.start(CARS)
    outbox._file.run("PRAGMA query_only = 1")
    reporter.report(result(1), [step("raise")])
    reporter.report(result(2), [step("raise", "a2", "dog")])
    reporter.report(result(3), [step("clear")])
    wait_until(lambda: store.count == 2)  # pictures were made, so the frames are let go
    assert all(waiting.image is None for waiting in reporter._steps.steps())
    assert reporter.waiting == 3
    for _ in range(3):
        assert looked.acquire(timeout=30)
    assert events_in(outbox) == []
    outbox._file.run("PRAGMA query_only = 0")
    wait_until(lambda: reporter.waiting == 0)
    reporter.stop()
    assert [(event.msg_type, event.alert_id) for event in events_in(outbox)] == [
        *(("raise", "a1"), ("raise", "a2"), ("clear", "a1")),
    ]
    assert [event.evidence_sha256 is not None for event in events_in(outbox)] == [True] * 3
    assert caplog.text.count("trying again") == 1


def test_what_one_frame_brought_is_written_as_one_or_not_at_all(outbox: Outbox) -> None:
    reporter = reporter_of(outbox)
    reporter.start(CARS)
    reporter.report(result(1), [step("raise"), step("raise", "a2", "no such prompt")])
    with pytest.raises(KeyError):
        reporter.stop()
    assert (events_in(outbox), outbox.kept_alerts(), outbox.last_seq()) == ([], {}, 0)


def test_a_disk_that_stays_full_costs_old_updates_but_no_raise_and_no_clear(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge.reporter.RETRY_S", 0.01)
    monkeypatch.setattr("edge.unwritten.MOST_UPDATES", 10)
    reporter = reporter_of(outbox)
    reporter.start(CARS)
    outbox._file.run("PRAGMA query_only = 1")
    reporter.report(result(0), [step("raise", "a0"), step("raise", "b", "dog")])
    for number in range(200):
        last, following = f"a{number}", f"a{number + 1}"
        reporter.report(result(number), [step("update", last), step("update", "b", "dog")])
        if number % 10 == 9:
            reporter.report(result(number), [step("clear", last)])
            reporter.report(result(number), [step("raise", following)])
        else:
            reporter.report(result(number), [step("clear", last), step("raise", following)])
    assert reporter.waiting < 2 + 400 + 3 * 10
    with caplog.at_level(logging.INFO):
        outbox._file.run("PRAGMA query_only = 0")
        reporter.stop()
    found = events_in(outbox)
    steps = [(event.alert_id, event.msg_type) for event in found]
    assert [each for each in steps if each[0] != "b" and each[1] != "update"] == [
        ("a0", "raise"),
        *((f"a{n // 2 + n % 2}", "raise" if n % 2 else "clear") for n in range(400)),
    ]
    assert [event.frame for event in found if event.alert_id == "b"][-1] == 199
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    assert list(outbox.kept_alerts()) == ["a200", "b"]
    assert f"{2 + 400 + 400 - len(found)} old updates are left out" in caplog.text


def test_a_step_that_is_being_written_is_whole_however_many_updates_come_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge.unwritten.MOST_UPDATES", 3)
    line = Unwritten()
    frame = FrameFacts.of(result(1))
    for number in range(50):
        line.put(Step([step("update")], replace(frame, number=number), None))
        if number % 2:
            line.put(NewList(result(1).counts, frame, frozenset()))
    first = line.first()
    assert isinstance(first, Step)
    assert (first.frame.number, len(first.transitions)) == (0, 1)
    assert [waiting.frame.number for waiting in line.steps()][-1] == 49
    assert line.waiting + line.left_out == 50
    assert line.waiting <= 5
    written = 0
    while line.first() is not None:
        line.first_done()
        written += 1
    assert (line.waiting, line._updates) == (0, 0)
    assert written > 25


def test_who_counts_what_waits_is_not_disturbed_by_what_comes_and_goes() -> None:
    line = Unwritten()
    frame = FrameFacts.of(result(1))
    ended = threading.Event()
    errors: list[Exception] = []

    def come_and_go() -> None:
        for _ in range(200):
            for _ in range(20):
                line.put(Step([step("raise")], frame, None))
            while line.first() is not None:
                line.first_done()
        ended.set()

    def count() -> None:
        try:
            while not ended.is_set():
                assert 0 <= line.waiting <= 20
        except Exception as error:  # noqa: BLE001 - raised below, in the test's thread
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=each) for each in (come_and_go, count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert errors == []


def test_health_that_cannot_read_the_outbox_ends_no_flight(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.reporter.RETRY_S", 0.01)
    monkeypatch.setattr("edge.reporter.HEALTH_INTERVAL_S", 0.01)
    looked = threading.Semaphore(0)

    def look() -> Health:
        looked.release()
        outbox.counts()
        return health()

    reporter = reporter_of(outbox, health=look)
    reporter.start(CARS)
    outbox._file.run("ALTER TABLE messages RENAME TO away")
    reporter.report(result(1), [step("raise")])
    wait_until(lambda: looked.acquire(blocking=False))
    for _ in range(3):
        assert looked.acquire(timeout=30)
    outbox._file.run("ALTER TABLE away RENAME TO messages")
    reporter.stop()
    assert [event.msg_type for event in events_in(outbox)] == ["raise"]


def test_a_new_connection_is_told_the_list_again_as_it_was_told(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.reporter.TELL_AGAIN_S", 0.0)
    config = "homeassistant/device/remoteclip/bird/config"

    def told() -> dict[str, bytes]:
        return {m.topic: m.payload for m in outbox.pending() if m.topic in (f"{ROOT}/prompts/state", config)}

    def forget() -> None:
        outbox.done(*(m.id for m in outbox.pending()))

    reporter = reporter_of(outbox, discovery_prefix="homeassistant")
    reporter.tell_again()  # a connection before there is anything to tell
    reporter.start(CARS)
    for its_bank in (CARS, BOATS):
        reporter.report(result(1, its_bank), [step("raise", f"of-{its_bank.list_sha256[0]}")])
        wait_until(lambda: reporter.waiting == 0)
        first = told()
        forget()  # the broker took it, and crashed
        for _ in range(2):
            reporter.tell_again()
            wait_until(lambda: len(told()) == 2)
            assert told() == first
            forget()
    assert json.loads(first[config])["components"]["prompt_dog_count"] == {"platform": "sensor"}
    reporter.stop()


def test_connections_that_come_and_go_are_told_now_and_then(outbox: Outbox) -> None:
    reporter = reporter_of(outbox)
    reporter.start(CARS)
    put: list[int] = []
    reporter._state.prompts_again = lambda: put.append(reporter.waiting)  # type: ignore[method-assign]
    reporter.tell_again()
    wait_until(lambda: len(put) == 1)
    for _ in range(50):
        reporter.tell_again()
    reporter.report(result(1), [step("raise")])
    wait_until(lambda: reporter.waiting == 0)
    assert len(put) == 1
    reporter.stop()  # what was put off is told before the end
    assert len(put) == 2


def test_what_another_thread_met_ends_the_flight_but_nothing_that_is_active(outbox: Outbox) -> None:
    first = reporter_of(outbox)
    first.start(CARS)
    first.report(result(1), [step("raise")])
    first.stop()
    reporter = reporter_of(outbox)
    reporter.start(CARS, resumed=["a1"])
    reporter.fail(OutboxDamagedError("outbox.db: malformed (restart)"))
    reporter.fail(RuntimeError("it goes on and on"))
    for _ in range(2):
        with pytest.raises(OutboxDamagedError, match="restart"):
            reporter.report(result(2), [step("clear")])
    with pytest.raises(OutboxDamagedError):
        reporter.stop()
    assert list(outbox.kept_alerts()) == ["a1"]


def test_what_was_found_before_another_threads_error_is_written(outbox: Outbox) -> None:
    reporter = reporter_of(outbox)
    reporter.start(CARS)
    with outbox.transaction():  # the reporter's thread has to wait
        reporter.report(result(1), [step("raise")])
        reporter.fail(OutboxDamagedError("outbox.db: malformed (restart)"))
    with pytest.raises(OutboxDamagedError):
        reporter.stop()
    assert [event.msg_type for event in events_in(outbox)] == ["raise"]
