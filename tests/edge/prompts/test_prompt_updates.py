"""Another list while frames fly: saved, sent, wished for or called back; and bad ones that change nothing."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge.bundle.load import Bundle
from edge.kernel_boot import kernel_boot_id
from edge.pipeline import Pipeline
from edge.prompts import rollback
from edge.prompts.intake import MOST_SAID, MOST_SENT_BYTES, Outcome
from edge.prompts.rollback import REQUEST_NAME, RollbackRequest, roll_back
from edge.prompts.shelf import RECORD_NAME, PromptShelf, list_path, read_record
from edge.prompts.text_encoder import TextEncoder
from edge.prompts.updates import PromptUpdater
from firmware_cfg.errors import ConfigErrors, RemoteclipError, UsageError
from firmware_cfg.prompt_list import LoadedPromptList

PATIENCE_S = 60.0  # with a busy machine, before a test fails


def yaml_list(*words: str, mend: str = "") -> bytes:
    lines = [f"  - {{id: {word}, text: {word}, threshold: 0.5}}{mend}" for word in words]
    return "\n".join(["prompts:", *lines, ""]).encode()


RED, GREEN, BLUE, GREY = (yaml_list(word) for word in ("red", "green", "blue", "grey"))
TOO_MANY = yaml_list(*(f"p{number}" for number in range(1001)))
TOO_LONG = f"prompts:\n  - {{id: long, text: {'red ' * 9}}}\n".encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Flight:
    """What of a daemon the lists have to do with; `updater` watches only inside of a `with`."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self.bundle = bundle
        self.path = folder / "list.yaml"
        self.folder = folder / "state" / "prompts"
        self.shelf: PromptShelf
        self.pipeline: Pipeline
        self.updater: PromptUpdater

    def start(self) -> None:
        self.shelf = PromptShelf(self.folder)
        self.updater = PromptUpdater(self.shelf, self.path, poll_s=0.005, patience_s=0.05)
        try:
            self.pipeline = self.updater.begin(
                lambda prompts, source: Pipeline(self.bundle, prompts, prompts_source=source)
            )
        except RemoteclipError:
            self.shelf.close()
            raise

    def stop(self) -> None:
        self.updater.stop()
        self.pipeline.close()
        self.shelf.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def until(self, wanted: Callable[[], bool]) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not wanted():
            assert time.monotonic() < give_up, f"in force: {self.pipeline.bank.prompt_list}"
            time.sleep(0.005)

    def until_in_force(self, data: bytes) -> None:
        self.until(lambda: self.pipeline.bank.list_sha256 == sha256(data))

    @property
    def in_force(self) -> tuple[str, str]:
        """Hash and source, which shelf and pipeline must agree on."""
        record = read_record(self.folder)
        assert record is not None
        bank = self.pipeline.bank
        assert (record.in_force.sha256, record.in_force.source) == (bank.list_sha256, bank.source)
        return bank.list_sha256, bank.source


def recorded(flight: Flight) -> str | None:
    record = read_record(flight.folder)
    return record and record.in_force.sha256


@pytest.fixture
def grounded(tiny_bundle: Bundle, tmp_path: Path) -> Flight:
    flight = Flight(tiny_bundle, tmp_path)
    flight.path.write_bytes(RED)
    return flight


@pytest.fixture
def flight(grounded: Flight) -> Iterator[Flight]:
    grounded.start()
    yield grounded
    grounded.stop()


def save_by_renaming(path: Path, data: bytes) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(data)
    os.replace(beside, path)


def save_in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def save_with_old_time(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    os.utime(path, ns=(0, 10**18))


def save_by_removing(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("save", [save_by_renaming, save_in_place, save_with_old_time, save_by_removing])
def test_a_saved_file_comes_into_force(flight: Flight, save: Callable[[Path, bytes], None]) -> None:
    with flight.updater:
        for data in (BLUE, GREY, GREEN):
            save(flight.path, data)
            flight.until_in_force(data)
    assert flight.in_force == (sha256(GREEN), "file")
    assert (flight.updater.applied, flight.updater.refused) == (3, 0)


def test_a_file_that_is_touched_is_no_news(flight: Flight) -> None:
    flight.updater.set_list(BLUE)
    with flight.updater:
        os.utime(flight.path, (1, 1))
        flight.path.with_suffix(".x").write_bytes(RED)
        os.replace(flight.path.with_suffix(".x"), flight.path)
        flight.updater.set_list(GREEN)
        save_in_place(flight.path, RED)  # as long as before, and so is what it says
        flight.until(lambda: flight.updater.applied == 2)
        save_in_place(flight.path, GREY)
        flight.until_in_force(GREY)
    assert flight.updater.applied == 3


def test_a_bad_file_is_refused_with_every_line_and_the_old_list_flies_on(
    flight: Flight, caplog: pytest.LogCaptureFixture
) -> None:
    before = flight.pipeline.bank
    with flight.updater:
        flight.path.write_text("prompts:\n  - {id: red, text: red, threshold: 3.5}\n  - {id: R, text: red}\n")
        flight.until(lambda: "flies on" in caplog.text)
        assert flight.updater.refused == 1
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert lines == [
        f"{flight.path}:2:37: threshold must be between 0 and 1, got 3.5",
        f'{flight.path}:3:10: id must be an identifier, got "R" (use 1 to 64 of: a-z 0-9 _ -)',
        f"{flight.path}: refused; {sha256(RED)[:12]} flies on",
    ]
    assert flight.pipeline.bank is before
    assert flight.in_force == (sha256(RED), "file")


def test_a_file_with_countless_errors_does_not_fill_the_log(
    flight: Flight, caplog: pytest.LogCaptureFixture
) -> None:
    with flight.updater:
        flight.path.write_text("prompts:\n" + "- {}\n" * 300)
        flight.until(lambda: "flies on" in caplog.text)
    assert "and 580 more errors" in caplog.text
    assert len(caplog.records) < 30


def test_a_list_that_the_bundle_cannot_take_is_refused_with_its_line(
    flight: Flight, caplog: pytest.LogCaptureFixture
) -> None:
    with flight.updater:
        flight.path.write_bytes(TOO_LONG)
        flight.until(lambda: "flies on" in caplog.text)
        assert f"{flight.path}:2:22: prompt long: text " in caplog.text
        save_in_place(flight.path, BLUE)
        flight.until_in_force(BLUE)


def test_half_of_a_file_is_given_time(grounded: Flight, caplog: pytest.LogCaptureFixture) -> None:
    grounded.start()
    grounded.updater = PromptUpdater(grounded.shelf, grounded.path, poll_s=0.005, patience_s=PATIENCE_S)
    grounded.updater.begin(lambda prompts, source: grounded.pipeline)
    with grounded.updater:
        with grounded.path.open("wb") as stream:
            for part in (b"prompts:\n  - {id: blue", b", text: bl"):
                stream.write(part)
                stream.flush()
                time.sleep(0.05)  # it is looked at, and must not be called bad
            stream.write(b"ue, threshold: 0.5}\n")
        grounded.until_in_force(BLUE)
    assert "flies on" not in caplog.text
    assert grounded.updater.refused == 0
    grounded.stop()


def test_a_file_that_is_gone_is_said_and_one_that_returns_is_taken(
    flight: Flight, caplog: pytest.LogCaptureFixture
) -> None:
    with flight.updater:
        flight.path.unlink()
        flight.until(lambda: "flies on" in caplog.text)
        assert f"{flight.path}: cannot be read: No such file or directory" in caplog.text
        flight.path.write_bytes(GREEN)
        flight.until_in_force(GREEN)


def test_a_reload_takes_the_file_back_even_where_it_has_not_changed(
    flight: Flight, caplog: pytest.LogCaptureFixture
) -> None:
    flight.updater.set_list(BLUE)
    with flight.updater:
        flight.updater.reload()
        flight.until(lambda: recorded(flight) == sha256(RED))
        assert flight.in_force == (sha256(RED), "file")
        flight.path.write_text("prompts: 1\n")
        flight.updater.reload()
        flight.until(lambda: "flies on" in caplog.text)
    assert "prompts must be a list" in caplog.text
    assert flight.in_force == (sha256(RED), "file")


def test_a_list_that_was_sent_is_in_force_and_outlives_a_restart(flight: Flight) -> None:
    outcome = flight.updater.set_list(BLUE)
    assert outcome == Outcome(True, sha256(BLUE), sha256(BLUE), kept=True)
    flight.restart()
    assert flight.in_force == (sha256(BLUE), "mqtt")


def test_a_list_that_is_in_force_already_starts_nothing_anew(flight: Flight) -> None:
    bank = flight.pipeline.bank
    assert flight.updater.set_list(RED).applied
    assert flight.pipeline.bank is bank
    assert flight.updater.applied == 0


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + depth, 98 + depth, b",".join([b"*%c" % (97 + depth)] * 10))
    for depth in range(8)
)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "prompts/set:1:1: is empty (the message had no bytes"),
        (b"\xff\xfe\x00", "prompts/set:1:1: byte 0xff is not UTF-8 (save the file as UTF-8)"),
        (b"prompts:\n  - {id: a, text: \xc3\x28}", "prompts/set:2:19: byte 0xc3 is not UTF-8"),
        (b"{" * 200, "prompts/set:1:201: not valid YAML: nested more than 24 levels deep"),
        (BOMB, "prompts/set:1:26: aliases make this file expand without end"),
        (b"x" * (MOST_SENT_BYTES + 1), "prompts/set: is larger than 128 KiB (is it a prompt list?)"),
        (b"x" * (10 << 20), "prompts/set: is larger than 128 KiB"),
        (b"prompts: [" + b"a," * 50_000, "prompts/set: has more than 20000 lines and list items"),
        (b"prompts: [{id: ../../status, text: red}]", "prompts/set:1:16: id must be an identifier"),
        (TOO_LONG, "prompts/set:2:22: prompt long: text "),
        (TOO_MANY, "prompts/set:1002:5: this list needs 1001 rows"),
    ],
    ids=["empty", "binary", "utf-8", "deep", "bomb", "big", "10 MB", "long", "injection", "sentence", "rows"],
)
def test_what_is_no_list_of_this_bundle_is_refused_and_changes_nothing(
    flight: Flight, data: bytes, line: str
) -> None:
    before = flight.pipeline.bank
    outcome = flight.updater.set_list(data)
    assert not outcome.applied
    assert (outcome.received_sha256, outcome.sha256) == (sha256(data), sha256(RED))
    assert str(outcome.errors[0]).startswith(line)
    assert flight.pipeline.bank is before
    assert flight.in_force == (sha256(RED), "file")
    assert flight.updater.refused == 1


def test_an_error_is_never_as_long_as_its_list(flight: Flight) -> None:
    alert = b"{when: count > 1, zones: [" + b"z" * 60_000 + b"]}"
    outcome = flight.updater.set_list(b"prompts: [{id: a, text: red, alerts: [" + alert + b"]}]")
    assert [len(error.problem) for error in outcome.errors] == [MOST_SAID + 3]


class Gate:
    """The next sentence that is encoded waits until the gate opens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        embedding = TextEncoder._embedding

        def gated(encoder: TextEncoder, text: str, ids: list[int]) -> object:
            self.reached.set()
            assert self.open.wait(PATIENCE_S)
            return embedding(encoder, text, ids)

        monkeypatch.setattr(TextEncoder, "_embedding", gated)

    def during(self, request: Callable[[], Outcome | None], action: Callable[[], None]) -> Outcome:
        """What became of the request, where `action` happened while its first sentence was encoded."""
        with ThreadPoolExecutor(1) as pool:
            outcome = pool.submit(request)
            assert self.reached.wait(PATIENCE_S)
            action()
            self.open.set()
            found = outcome.result(PATIENCE_S)
        assert found is not None
        return found


TWO = yaml_list("green", "blue")


@pytest.mark.parametrize("by", ["file", "rollback"])
def test_a_sent_list_that_is_being_encoded_gives_way(
    flight: Flight, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    flight.updater.set_list(GREY)
    gate = Gate(monkeypatch)

    def newer() -> None:
        waits = flight.updater._overtaken + 1
        if by == "file":
            flight.path.write_bytes(BLUE)
        else:
            pool.submit(roll_back, flight.folder)
        flight.until(lambda: flight.updater._overtaken >= waits)

    with ThreadPoolExecutor(1) as pool, flight.updater:
        outcome = gate.during(lambda: flight.updater.desired(TWO, repeated=True), newer)
        assert not outcome.applied
        assert str(outcome.errors[0]) == (
            "prompts/desired: given up: another list came, or the flight ended, while it was encoded"
        )
        flight.until_in_force(BLUE if by == "file" else RED)
    flight.restart()
    assert flight.updater.desired(TWO, repeated=True) is None  # it was the older wish
    assert flight.in_force[1] == by


def test_the_end_waits_for_no_list(flight: Flight, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    with flight.updater:
        outcome = gate.during(lambda: flight.updater.desired(TWO, repeated=True), flight.updater.stop)
    assert (outcome.applied, outcome.sha256) == (False, sha256(RED))
    flight.restart()
    again = flight.updater.desired(TWO, repeated=True)
    assert again is not None
    assert again.applied


def test_a_desire_is_followed_once(flight: Flight) -> None:
    first = flight.updater.desired(BLUE, repeated=True)
    assert first is not None
    assert first.applied
    assert flight.updater.desired(BLUE, repeated=True) is None
    assert flight.updater.set_list(GREEN).applied
    # The broker repeats what it kept at every connection, and after every restart of either.
    assert flight.updater.desired(BLUE, repeated=True) is None
    flight.restart()
    assert flight.updater.desired(BLUE, repeated=True) is None
    assert flight.in_force == (sha256(GREEN), "mqtt")
    again = flight.updater.desired(RED, repeated=True)
    assert again is not None
    assert again.applied
    assert flight.updater.desired(BLUE, repeated=True) is not None
    assert flight.in_force == (sha256(BLUE), "mqtt")


def test_a_desire_that_is_wished_for_again_is_followed_again(flight: Flight) -> None:
    for wished, applied in ((BLUE, True), (TOO_LONG, False)):
        first = flight.updater.desired(wished, repeated=False)
        assert flight.updater.set_list(GREEN).applied
        assert flight.updater.desired(wished, repeated=True) is None
        again = flight.updater.desired(wished, repeated=False)
        assert (first, again) != (None, None)
        assert (first.applied, again.applied) == (applied, applied)
        assert flight.in_force == (sha256(BLUE if applied else GREEN), "mqtt")


def test_a_desire_that_was_taken_back_may_be_wished_for_again(flight: Flight) -> None:
    assert flight.updater.desired(BLUE, repeated=True) is not None
    assert flight.updater.desired(b"", repeated=True) is None
    assert flight.in_force == (sha256(BLUE), "mqtt")
    assert flight.updater.set_list(GREEN).applied
    assert flight.updater.desired(BLUE, repeated=True) is not None
    assert flight.in_force == (sha256(BLUE), "mqtt")


def test_a_bad_desire_is_answered_once_and_tried_again_after_a_restart(flight: Flight) -> None:
    for _ in range(2):
        outcome = flight.updater.desired(TOO_LONG, repeated=True)
        assert outcome is not None
        assert not outcome.applied
        assert flight.updater.desired(TOO_LONG, repeated=True) is None
        flight.restart()
    assert flight.in_force == (sha256(RED), "file")


def test_a_list_that_cannot_be_kept_flies_and_is_kept_as_soon_as_that_works(flight: Flight) -> None:
    blocked = list_path(flight.folder, sha256(BLUE))
    blocked.mkdir()
    outcome = flight.updater.set_list(BLUE)
    assert (outcome.applied, outcome.kept) == (True, False)
    assert flight.pipeline.bank.list_sha256 == sha256(BLUE)
    blocked.rmdir()
    with flight.updater:
        flight.until(lambda: flight.shelf.saved)
    assert flight.in_force == (sha256(BLUE), "mqtt")


@pytest.mark.parametrize("watching", [True, False], ids=["flying", "grounded"])
def test_rollback_goes_to_the_list_before_and_back_again(flight: Flight, watching: bool) -> None:
    for data in (BLUE, GREEN):
        flight.updater.set_list(data)

    def roll(wanted: str | None = None) -> str:
        if watching:
            done = roll_back(flight.folder, wanted)
        else:
            flight.stop()
            done = roll_back(flight.folder, wanted)
            flight.start()
        assert done.flying == watching
        return done.chosen.sha256

    if watching:
        flight.updater.__enter__()
    assert roll() == sha256(BLUE)
    assert flight.in_force == (sha256(BLUE), "rollback")
    assert roll() == sha256(GREEN)
    assert flight.in_force == (sha256(GREEN), "rollback")
    assert roll(sha256(RED)[:6].upper()) == sha256(RED)
    assert flight.in_force == (sha256(RED), "rollback")
    flight.restart()
    assert flight.in_force == (sha256(RED), "rollback")


def test_a_rollback_that_does_not_fit_any_more_is_refused(flight: Flight) -> None:
    flight.shelf.put(TOO_LONG, "mqtt", read_record(flight.folder).in_force.applied_at)
    flight.updater.set_list(BLUE)
    with flight.updater, pytest.raises(RemoteclipError, match=r"\.yaml:2:22: prompt long: text "):
        roll_back(flight.folder)
    assert flight.in_force == (sha256(BLUE), "mqtt")
    assert not (flight.folder / REQUEST_NAME).exists()


def test_a_daemon_that_does_not_answer_is_said(flight: Flight) -> None:
    flight.updater.set_list(BLUE)
    with pytest.raises(RemoteclipError, match="the daemon does not answer"):
        roll_back(flight.folder, patience_s=0.05)
    assert not (flight.folder / REQUEST_NAME).exists()


def test_a_rollback_that_was_interrupted_is_not_done_later(
    flight: Flight, monkeypatch: pytest.MonkeyPatch
) -> None:
    flight.updater.set_list(BLUE)

    def ctrl_c(seconds: float) -> None:
        assert (flight.folder / REQUEST_NAME).exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(rollback.time, "sleep", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        roll_back(flight.folder)
    assert not (flight.folder / REQUEST_NAME).exists()


@pytest.mark.parametrize("old", ["in this life", "before a reboot"])
def test_a_rollback_that_nobody_waits_for_is_not_done(
    flight: Flight, caplog: pytest.LogCaptureFixture, old: str
) -> None:
    flight.updater.set_list(BLUE)
    request = RollbackRequest(
        request_id="1",
        sha256=sha256(RED),
        kernel_boot=kernel_boot_id() if old == "in this life" else "another",
        until_s=time.monotonic() + (-1 if old == "in this life" else 1e6),
    )
    (flight.folder / REQUEST_NAME).write_text(request.model_dump_json())
    with flight.updater:
        flight.until(lambda: not (flight.folder / REQUEST_NAME).exists())
    assert flight.in_force == (sha256(BLUE), "mqtt")
    assert f"a rollback to {sha256(RED)[:12]} is not done: asked for too long ago" in caplog.text


def test_rubbish_beside_the_shelf_is_no_request(flight: Flight, caplog: pytest.LogCaptureFixture) -> None:
    with flight.updater:
        (flight.folder / REQUEST_NAME).write_bytes(b"\x00{")
        flight.until(lambda: "damaged, it is left alone" in caplog.text)
    assert flight.in_force == (sha256(RED), "file")


@pytest.mark.parametrize("wanted", [None, "12", "ffff"])
def test_a_list_that_is_not_kept_cannot_come_back(flight: Flight, wanted: str | None) -> None:
    with pytest.raises(UsageError, match="no earlier prompt list is kept"):
        roll_back(flight.folder)
    flight.updater.set_list(BLUE)
    if wanted is not None:
        with pytest.raises(UsageError, match=rf"--to {wanted}: must be .* {sha256(RED)[:12]}$"):
            roll_back(flight.folder, wanted)


def test_a_file_that_was_changed_on_the_ground_is_taken(flight: Flight) -> None:
    flight.updater.set_list(BLUE)
    flight.path.write_bytes(GREEN)
    flight.restart()
    assert flight.in_force == (sha256(GREEN), "file")


@pytest.mark.parametrize("content", [b"prompts: [", TOO_LONG, None], ids=["syntax", "sentence", "gone"])
def test_a_file_that_is_bad_at_the_start_does_not_keep_the_drone_on_the_ground(
    flight: Flight, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    flight.updater.set_list(BLUE)
    if content is None:
        flight.path.unlink()
    else:
        flight.path.write_bytes(content)
    flight.restart()
    assert flight.in_force == (sha256(BLUE), "mqtt")
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1
    with flight.updater:
        save_in_place(flight.path, GREEN)
        flight.until_in_force(GREEN)


@pytest.mark.parametrize(
    ("content", "line"),
    [(TOO_LONG, "2:22: prompt long"), (TOO_MANY, "1002:5: this list needs 1001 rows")],
    ids=["sentence", "rows"],
)
def test_the_first_list_must_be_good(grounded: Flight, content: bytes, line: str) -> None:
    grounded.path.write_bytes(content)
    with pytest.raises(ConfigErrors, match=rf"list\.yaml:{line}") as caught:
        grounded.start()
    assert caught.value.exit_code == 1  # with 2 the service would not be started again
    grounded.path.write_bytes(RED)
    grounded.start()
    assert grounded.in_force == (sha256(RED), "file")
    grounded.stop()


@pytest.mark.parametrize("damage", ["record", "list", "fit"])
def test_a_shelf_that_is_no_use_is_said_and_the_file_is_taken(
    flight: Flight, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    flight.updater.set_list(BLUE)
    if damage == "record":
        (flight.folder / RECORD_NAME).write_bytes(b"{")
    elif damage == "list":
        list_path(flight.folder, sha256(BLUE)).write_bytes(b"not it")
    else:
        flight.shelf.put(TOO_LONG, "mqtt", read_record(flight.folder).in_force.applied_at)
    flight.restart()
    assert flight.in_force == (sha256(RED), "file")
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_what_flies_is_made_with_one_list(grounded: Flight) -> None:
    made: list[LoadedPromptList] = []

    def make(prompts: LoadedPromptList, source: str) -> Pipeline:
        made.append(prompts)
        return Pipeline(grounded.bundle, prompts)

    with PromptShelf(grounded.folder) as shelf:
        updater = PromptUpdater(shelf, grounded.path)
        with updater.begin(make) as pipeline:
            assert [prompts.sha256 for prompts in made] == [sha256(RED)]
            assert pipeline.bank.prompt_list is made[0].model
