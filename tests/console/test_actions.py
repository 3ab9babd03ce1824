"""What an operator may do, and that everything he does is on record."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from console.accounts import User
from console.actions import THUMBNAIL_EVERY, Actions
from console.history import History
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.messages import AlertAck, PromptsState
from tests.console.conftest import NOW, FakeLink, Told

ANN = User("ann", "operator")
EVE = User("eve", "viewer")
LIST = "prompts: [{id: boat, text: a boat}]\n"
JPEG = b"\xff\xd8 a picture"
JPEG_SHA256 = hashlib.sha256(JPEG).hexdigest()


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def run(step: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(step)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    history = History(tmp_path / "history.db")
    yield history
    history.close()


@pytest.fixture
def now() -> list[datetime]:
    return [NOW]


@pytest.fixture
def actions(told: Told, history: History, link: FakeLink, now: list[datetime]) -> Actions:
    """Of a room with one drone that flies LIST and has raised the alert a1."""
    flies(told, LIST)
    told.event("raise")
    link.on_publish = lambda topic, payload: told.say(topic, payload) and None
    return Actions(told.room, history, link, now=lambda: now[0])


def flies(told: Told, text: str) -> None:
    state = PromptsState(
        device="kestrel-1", sent_at=NOW, sha256=sha256_of(text), applied_at=NOW, source="mqtt", prompts=()
    )
    told.say(told.drone.topics.prompts_state, state.to_payload())


def audited(history: History) -> list[tuple[str, str, str]]:
    assert history.flush()
    return [(row.user, row.action, row.target) for row in reversed(history.audit())]


def test_acknowledge_mute_and_comment_go_out_and_come_back_to_the_line(
    actions: Actions, told: Told, link: FakeLink, history: History
) -> None:
    run(actions.acknowledge(ANN, "kestrel-1", "a1"))
    run(actions.mute(ANN, "kestrel-1", "a1", NOW + timedelta(hours=1)))
    run(actions.comment(ANN, "kestrel-1", "a1", "  a ferry "))
    line = told.room.alerts["kestrel-1", "a1"]
    assert (line.acknowledged_by, line.muted_until) == ("ann", NOW + timedelta(hours=1))
    assert [text for _, _, text in line.comments] == ["a ferry"]
    assert {(topic, retain) for topic, _, retain in link.sent} == {(told.drone.topics.alert_ack("a1"), False)}
    assert [AlertAck.from_payload(payload).action for _, payload, _ in link.sent] == [
        *("acknowledge", "mute", "comment")
    ]
    assert [action for _, action, _ in audited(history)] == ["acknowledge", "mute", "comment"]


def test_a_mute_is_ended_before_its_time(
    actions: Actions, told: Told, link: FakeLink, history: History
) -> None:
    run(actions.mute(ANN, "kestrel-1", "a1", NOW + timedelta(hours=1)))
    line = told.room.alerts["kestrel-1", "a1"]
    assert line.handling.muted(NOW)
    soon = NOW + timedelta(minutes=1)
    run(Actions(told.room, history, link, now=lambda: soon).mute(ANN, "kestrel-1", "a1", soon))
    assert not line.handling.muted(soon)
    assert [action for _, action, _ in audited(history)] == ["mute", "unmute"]


REFUSED: dict[str, Callable[[Actions, User], Coroutine[Any, Any, Any]]] = {
    "acknowledge": lambda actions, user: actions.acknowledge(user, "kestrel-1", "a1"),
    "mute": lambda actions, user: actions.mute(user, "kestrel-1", "a1", NOW),
    "comment": lambda actions, user: actions.comment(user, "kestrel-1", "a1", "x"),
    "push": lambda actions, user: actions.lists.push(user, ["kestrel-1"], LIST, {}),
    "rollback": lambda actions, user: actions.lists.rollback(user, "kestrel-1"),
    "evidence": lambda actions, user: actions.evidence(user, "kestrel-1", JPEG_SHA256),
    "thumbnail": lambda actions, user: actions.thumbnail(user, "kestrel-1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_viewer_may_look_and_nothing_else(actions: Actions, link: FakeLink, name: str) -> None:
    with pytest.raises(RemoteclipError, match="eve may look, not act"):
        run(REFUSED[name](actions, EVE))
    assert (link.sent, link.asked) == ([], [])


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (lambda actions: actions.acknowledge(ANN, "kestrel-1", "none"), "no such alert"),
        (lambda actions: actions.mute(ANN, "kestrel-1", "a1", NOW + timedelta(hours=25)), "at most 24 h"),
        (lambda actions: actions.comment(ANN, "kestrel-1", "a1", "   "), "empty"),
        (lambda actions: actions.comment(ANN, "kestrel-1", "a1", "x" * 1001), "1001 characters"),
        (lambda actions: actions.thumbnail(ANN, "<script>"), "no drone '<script>' is known"),
        (lambda actions: actions.evidence(ANN, "kestrel-1", "../../etc"), "no hash"),
        (
            lambda actions: actions.lists.push(ANN, ["kestrel-1"], "prompts: [{id: x}]", {}),
            "problems, the first",
        ),
        (lambda actions: actions.lists.rollback(ANN, "kestrel-1"), "no earlier list"),
    ],
)
def test_what_cannot_be_is_one_line(
    actions: Actions, link: FakeLink, step: Callable[[Actions], Coroutine[Any, Any, Any]], problem: str
) -> None:
    with pytest.raises(RemoteclipError, match=problem) as caught:
        run(step(actions))
    assert "\n" not in str(caught.value)
    assert link.sent == []


def test_a_picture_is_asked_for_once_and_only_the_true_one_is_shown(
    actions: Actions, told: Told, link: FakeLink
) -> None:
    topic = told.drone.topics.evidence(JPEG_SHA256)
    link.answers[topic] = JPEG + b"?"
    with pytest.raises(RemoteclipError, match="hash differs"):
        run(actions.evidence(ANN, "kestrel-1", JPEG_SHA256))
    link.answers[topic] = b""
    with pytest.raises(RemoteclipError, match="not kept any more"):
        run(actions.evidence(ANN, "kestrel-1", JPEG_SHA256))
    assert actions.cached_evidence(JPEG_SHA256) is None
    link.answers[topic] = JPEG
    assert run(actions.evidence(ANN, "kestrel-1", JPEG_SHA256)) == JPEG
    asked = len(link.asked)
    assert run(actions.evidence(EVE, "kestrel-1", JPEG_SHA256)) == JPEG  # it costs no radio any more
    assert len(link.asked) == asked


def test_a_thumbnail_is_asked_for_no_more_often_than_the_link_bears(
    actions: Actions, told: Told, link: FakeLink, now: list[datetime]
) -> None:
    link.answers[told.drone.topics.thumbnail] = JPEG
    assert run(actions.thumbnail(ANN, "kestrel-1")) == JPEG
    assert run(actions.thumbnail(EVE, "kestrel-1")) == JPEG
    assert len(link.asked) == 1
    now[0] += THUMBNAIL_EVERY
    run(actions.thumbnail(ANN, "kestrel-1"))
    assert len(link.asked) == 2
    now[0] += THUMBNAIL_EVERY
    told.say(told.drone.topics.status, told.drone.status("offline"))
    with pytest.raises(RemoteclipError, match="offline"):
        run(actions.thumbnail(ANN, "kestrel-1"))
