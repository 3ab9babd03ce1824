"""`prompts/set` and `prompts/desired` as they come from the broker, and what is answered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.bundle.load import Bundle
from edge.mqtt.messages import IncomingMessage
from edge.pipeline import Pipeline
from edge.prompts.requests import PromptRequests
from edge.prompts.shelf import PromptShelf
from edge.prompts.updates import PromptUpdater
from firmware_cfg.messages import PromptsAck
from firmware_cfg.messages.prompts import MOST_ERRORS
from firmware_cfg.topics import Topics

TOPICS = Topics("bird")
RED, BLUE = (b"prompts: [{id: %b, text: %b}]\n" % (word, word) for word in (b"red", b"blue"))
BAD = b"prompts:\n  - {id: red, text: red, threshold: 3.5}\n  - {id: R, text: red}\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Control:
    """Asks, and reads what was put in line for the broker."""

    def __init__(self, updater: PromptUpdater) -> None:
        self.sent: list[tuple[str, bytes, bytes | None]] = []
        self.requests = PromptRequests(updater, "bird", lambda *message: self.sent.append(message))

    def ask(self, payload: bytes, **more: object) -> PromptsAck:
        """The one answer to `prompts/set`, which must be on `prompts/ack`."""
        self.sent.clear()
        self.requests.set_list(IncomingMessage(TOPICS.prompts_set, payload, False, **more))
        assert self.sent[0][0] == TOPICS.prompts_ack
        return PromptsAck.from_payload(self.sent[0][1])

    def wish(self, payload: bytes, *, retained: bool = True) -> list[PromptsAck]:
        self.sent.clear()
        self.requests.desired(IncomingMessage(TOPICS.prompts_desired, payload, retained))
        return [PromptsAck.from_payload(payload) for _, payload, _ in self.sent]


@pytest.fixture
def control(tiny_bundle: Bundle, tmp_path: Path) -> Iterator[Control]:
    path = tmp_path / "list.yaml"
    path.write_bytes(RED)
    with PromptShelf(tmp_path / "prompts") as shelf:
        updater = PromptUpdater(shelf, path)
        with updater.begin(lambda prompts, source: Pipeline(tiny_bundle, prompts)):
            yield Control(updater)


def test_an_applied_list_is_answered_with_its_hash(control: Control) -> None:
    ack = control.ask(BLUE)
    assert (ack.device, ack.applied, ack.kept, ack.errors) == ("bird", True, True, ())
    assert ack.received_sha256 == ack.sha256 == sha256(BLUE)
    assert control.sent == [(TOPICS.prompts_ack, control.sent[0][1], None)]


def test_a_refused_list_is_answered_with_its_lines(control: Control) -> None:
    ack = control.ask(BAD)
    assert not ack.applied
    assert (ack.received_sha256, ack.sha256) == (sha256(BAD), sha256(RED))
    assert [(error.line, error.column) for error in ack.errors] == [(2, 37), (3, 10)]
    assert ack.errors[0].problem == "threshold must be between 0 and 1, got 3.5"
    assert ack.errors[1].mend == "use 1 to 64 of: a-z 0-9 _ -"


def test_the_one_who_asked_is_answered_where_it_listens(control: Control) -> None:
    control.ask(BLUE, response_topic="answers/7", correlation=b"\x00seven")
    (own, ack, correlation), other = control.sent
    assert (own, correlation) == (TOPICS.prompts_ack, b"\x00seven")
    assert other == ("answers/7", ack, b"\x00seven")


@pytest.mark.parametrize("topic", [TOPICS.prompts_ack, TOPICS.status, "remoteclip/1/other/events", "a/#"])
def test_no_answer_goes_where_it_would_pass_for_something_else(control: Control, topic: str) -> None:
    control.ask(BLUE, response_topic=topic, correlation=b"7")
    assert [(topic, correlation) for topic, _, correlation in control.sent] == [(TOPICS.prompts_ack, b"7")]


@pytest.mark.parametrize("payload", [b"", b"\xff" * 1000, b"x" * (10 << 20), b"{" * 1000])
def test_rubbish_is_answered_and_changes_nothing(control: Control, payload: bytes) -> None:
    ack = control.ask(payload)
    assert (ack.applied, ack.sha256, len(ack.errors)) == (False, sha256(RED), 1)
    assert len(control.sent[0][1]) < 1000


def test_an_answer_does_not_grow_with_what_was_sent(control: Control) -> None:
    ack = control.ask(b"prompts:\n" + b"- {}\n" * 900)
    assert len(ack.errors) == MOST_ERRORS
    assert ack.more_errors == 1800 - MOST_ERRORS
    zone = b"z" * 50_000
    control.ask(b"prompts: [{id: red, text: red, alerts: [{when: count > 1, zones: [" + zone + b"]}]}]")
    assert len(control.sent[0][1]) < 2000


def test_a_retained_set_is_refused(control: Control) -> None:
    control.requests.set_list(IncomingMessage(TOPICS.prompts_set, BLUE, True))
    ack = PromptsAck.from_payload(control.sent[0][1])
    assert (ack.applied, ack.received_sha256, ack.sha256) == (False, sha256(BLUE), sha256(RED))
    assert ack.errors[0].mend == "send it on prompts/desired"
    control.sent.clear()
    control.requests.set_list(IncomingMessage(TOPICS.prompts_set, b"", True))
    assert control.sent == []


def test_a_desire_is_answered_where_it_is_news(control: Control) -> None:
    assert [(ack.applied, ack.sha256) for ack in control.wish(BLUE)] == [(True, sha256(BLUE))]
    assert control.wish(BLUE) == []
    control.ask(RED)
    wished_again = control.wish(BLUE, retained=False)
    assert [(ack.applied, ack.sha256) for ack in wished_again] == [(True, sha256(BLUE))]
    assert [(ack.applied, ack.sha256) for ack in control.wish(BAD)] == [(False, sha256(BLUE))]
    assert control.wish(BAD) == []
    assert control.wish(b"") == []


def test_refusals_do_not_fill_the_log(control: Control, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        control.ask(BAD)
    assert len(caplog.records) == 1
    assert caplog.text.endswith("got 3.5 and 1 more errors; the list is refused\n")


def test_the_list_in_force_is_told_to_who_asks_as_its_author_wrote_it(control: Control) -> None:
    for wanted in (RED, BLUE):
        control.sent.clear()
        control.requests.tell_list(IncomingMessage(TOPICS.prompts_get, b"", False))
        assert control.sent == [(TOPICS.prompts_list, wanted, None)]
        control.ask(BLUE)
    control.sent.clear()
    control.requests.tell_list(IncomingMessage(TOPICS.prompts_get, b"", True))
    assert control.sent == []
