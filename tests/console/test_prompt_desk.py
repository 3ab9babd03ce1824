"""Lists are pushed, refused and called back, and nobody's edit is lost."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from console.accounts import User
from console.history import History
from console.prompt_desk import ASKED_IN_VAIN, PromptDesk
from console.state import ControlRoom
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.messages import PromptsAck, PromptsProblem, PromptsState
from tests.console.conftest import NOW, FakeLink, Told

ANN = User("ann", "operator")
BOB = User("bob", "operator")
EVE = User("eve", "viewer")
LIST = "prompts: [{id: boat, text: a boat}]\n"
NEWER = LIST + "# newer\n"
NEWEST = LIST + "# newest\n"


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
def desk(told: Told, history: History, link: FakeLink, now: list[datetime]) -> PromptDesk:
    """Of a room with one drone that flies LIST; what is published comes back when the broker likes."""
    flies(told, LIST)
    link.on_publish = lambda topic, payload: told.say(topic, payload) and None
    return PromptDesk(told.room, history, link, now=lambda: now[0])


def flies(told: Told, text: str, since: datetime = NOW) -> None:
    facts = {"device": "kestrel-1", "sent_at": since, "applied_at": since, "source": "mqtt", "prompts": ()}
    state = PromptsState(sha256=sha256_of(text), **facts)  # type: ignore[arg-type]
    told.say(told.drone.topics.prompts_state, state.to_payload())


def answers(told: Told, text: str, flown: str, problem: str = "") -> None:
    """The drone has taken the list, or refused it for that."""
    errors = (PromptsProblem(line=1, column=1, problem=problem),) if problem else ()
    hashes = {"received_sha256": sha256_of(text), "sha256": sha256_of(flown)}
    ack = PromptsAck(device="kestrel-1", sent_at=NOW, applied=not errors, errors=errors, **hashes)  # type: ignore[arg-type]
    told.say(told.drone.topics.prompts_ack, ack.to_payload())


def push(desk: PromptDesk, user: User, text: str, began: str) -> str | None:
    told: dict[str, str | None] = run(desk.push(user, ["kestrel-1"], text, {"kestrel-1": sha256_of(began)}))
    return told["kestrel-1"]


def audited(history: History) -> list[tuple[str, str, str]]:
    assert history.flush()
    return [(row.user, row.action, row.target) for row in reversed(history.audit())]


def test_a_list_is_checked_as_the_drone_does(desk: PromptDesk) -> None:
    assert desk.check(LIST) == []
    (problem,) = desk.check("prompts:\n  - id: boat\n    text: a boat\n    thresold: 0.4\n")
    assert (problem.line, problem.column) == (4, 5)
    assert "threshold" in problem.mend
    assert desk.check("x" * 300_000)


def test_a_list_that_nobody_has_seen_is_asked_of_the_drone_once(
    desk: PromptDesk, told: Told, link: FakeLink, history: History
) -> None:
    link.answers[told.drone.topics.prompts_list] = LIST.encode()

    async def both() -> list[tuple[str, str]]:
        return await asyncio.gather(desk.text(EVE, "kestrel-1"), desk.text(ANN, "kestrel-1"))

    assert run(both()) == [(sha256_of(LIST), LIST)] * 2
    assert run(desk.text(EVE, "kestrel-1")) == (sha256_of(LIST), LIST)
    assert link.asked == [told.drone.topics.prompts_get]
    assert audited(history) == [("eve", "ask for the list", "")]


@pytest.mark.parametrize("answer", [None, b""])
def test_a_drone_that_gives_no_list_is_left_alone_for_a_while(
    desk: PromptDesk, told: Told, link: FakeLink, now: list[datetime], answer: bytes | None
) -> None:
    if answer is not None:
        link.answers[told.drone.topics.prompts_list] = answer
    for _ in range(3):
        with pytest.raises(RemoteclipError, match=r"no answer|cannot be read"):
            run(desk.text(EVE, "kestrel-1"))
    assert len(link.asked) == 1
    now[0] += ASKED_IN_VAIN
    link.answers[told.drone.topics.prompts_list] = LIST.encode()
    assert run(desk.text(EVE, "kestrel-1")) == (sha256_of(LIST), LIST)


def test_a_pushed_list_is_retained_and_the_one_before_is_the_way_back(
    desk: PromptDesk, told: Told, link: FakeLink, history: History
) -> None:
    told.say(told.drone.topics.prompts_list, LIST.encode())
    assert push(desk, ANN, NEWER, LIST) is None
    assert link.sent == [(told.drone.topics.prompts_desired, NEWER.encode(), True)]
    answers(told, NEWER, NEWER)
    flies(told, NEWER)
    assert history.flush()
    run(desk.rollback(ANN, "kestrel-1"))
    assert link.sent[1:] == [(told.drone.topics.prompts_desired, LIST.encode(), True)]
    assert audited(history) == [
        ("ann", "push", sha256_of(NEWER)),
        ("kestrel-1", "taken", sha256_of(NEWER)),
        ("ann", "rollback", sha256_of(LIST)),
    ]


def test_of_two_who_edit_one_list_the_second_is_told(desk: PromptDesk, link: FakeLink) -> None:
    assert push(desk, BOB, LIST + "# bob's\n", LIST) is None
    began = {"kestrel-1": sha256_of(LIST)}
    result = run(desk.push(ANN, ["kestrel-1", "unknown-9"], LIST + "# ann's\n", began))
    assert "changed meanwhile by bob at 12:00:00 UTC" in result["kestrel-1"]
    assert "no drone" in result["unknown-9"]
    assert len(link.sent) == 1


def test_of_two_who_push_at_once_the_second_is_told_before_the_broker_has_the_first(
    desk: PromptDesk, told: Told, link: FakeLink
) -> None:
    told.say(told.drone.topics.prompts_list, LIST.encode())
    began = {"kestrel-1": sha256_of(LIST)}

    async def both() -> Any:
        pushes = (desk.push(user, ["kestrel-1"], LIST + f"# {user.name}\n", began) for user in (ANN, BOB))
        return await asyncio.gather(*pushes)

    first, second = run(both())
    assert first == {"kestrel-1": None}
    assert "changed meanwhile by ann" in second["kestrel-1"]
    assert len(link.sent) == 1


def test_a_push_that_did_not_go_out_changes_nothing_and_is_told_as_such(
    desk: PromptDesk, told: Told, link: FakeLink, history: History
) -> None:
    told.say(told.drone.topics.prompts_list, LIST.encode())
    link.fails = "the broker did not take it"
    assert push(desk, ANN, NEWER, LIST) == "the broker did not take it"
    assert told.room.wanted_sha256("kestrel-1") == sha256_of(LIST)
    assert audited(history) == [
        ("ann", "push", sha256_of(NEWER)),
        ("ann", "push: not sent", sha256_of(NEWER)),
    ]
    assert history.last_sent() == []
    link.fails = ""
    assert push(desk, BOB, NEWEST, LIST) is None


def test_what_the_broker_said_back_was_sent_whatever_became_of_the_waiting(
    desk: PromptDesk, told: Told, link: FakeLink
) -> None:
    told.room.prompt_lists.sends("kestrel-1", NEWER.encode())
    told.say(told.drone.topics.prompts_desired, NEWER.encode())
    told.room.prompt_lists.unsent("kestrel-1", sha256_of(NEWER))
    assert told.room.wanted_sha256("kestrel-1") == sha256_of(NEWER)


def test_a_slip_is_mended_while_the_drone_is_away(desk: PromptDesk, told: Told, link: FakeLink) -> None:
    told.say(told.drone.topics.prompts_list, LIST.encode())
    told.say(told.drone.topics.status, told.drone.status("offline"))
    assert push(desk, ANN, NEWER, LIST) is None
    assert run(desk.text(ANN, "kestrel-1")) == (sha256_of(NEWER), NEWER)  # what the next editor begins with
    assert push(desk, ANN, NEWEST, NEWER) is None
    assert "changed meanwhile by ann" in (push(desk, BOB, LIST + "# bob's\n", LIST) or "")


@pytest.mark.parametrize("kept", [False, True])
def test_a_rollback_never_sends_a_list_that_did_not_fly(
    desk: PromptDesk, told: Told, link: FakeLink, history: History, kept: bool
) -> None:
    told.say(told.drone.topics.prompts_list, LIST.encode())
    if kept:
        assert push(desk, ANN, NEWER, LIST) is None
        answers(told, NEWER, LIST, "no")
    else:
        link.fails = "no broker"
        assert push(desk, ANN, NEWER, LIST)
        link.fails = ""
    assert history.flush()
    sent = len(link.sent)
    with pytest.raises(RemoteclipError, match="no earlier list"):
        run(desk.rollback(ANN, "kestrel-1"))
    assert len(link.sent) == sent
    assert ("kestrel-1", "refused", sha256_of(NEWER)) in audited(history) or not kept


def test_a_list_that_flew_for_a_moment_only_is_a_way_back(
    desk: PromptDesk, told: Told, history: History
) -> None:
    told.say(told.drone.topics.prompts_list, LIST.encode())
    assert push(desk, ANN, NEWER, LIST) is None
    answers(told, NEWER, NEWER)
    assert history.flush()
    assert {each.sha256 for each in history.lists("kestrel-1")} == {sha256_of(LIST), sha256_of(NEWER)}


def test_a_push_to_a_drone_whose_list_nobody_has_read_fetches_it_for_a_way_back(
    desk: PromptDesk, told: Told, link: FakeLink, history: History
) -> None:
    link.answers[told.drone.topics.prompts_list] = LIST.encode()
    assert push(desk, ANN, NEWER, LIST) is None
    assert link.asked == [told.drone.topics.prompts_get]
    answers(told, NEWER, NEWER)
    flies(told, NEWER)
    assert history.flush()
    run(desk.rollback(ANN, "kestrel-1"))
    assert link.sent[-1][1] == LIST.encode()


def restarted(told: Told, history: History, link: FakeLink, *, state: str, desired: str, flown: str) -> Told:
    """Another console on the same history hears what the broker kept, in some order."""
    assert history.flush()
    again = Told(told.drone, ControlRoom())
    PromptDesk(again.room, history, link, now=lambda: NOW)
    again.say(told.drone.topics.prompts_desired, desired.encode(), retained=True)
    again.say(told.drone.topics.status, told.drone.status(state), retained=True)
    flies(again, flown)
    return again


@pytest.mark.parametrize("state", ["online", "offline"])
def test_a_desire_that_was_refused_is_settled_for_a_console_that_starts_later(
    desk: PromptDesk, told: Told, link: FakeLink, history: History, state: str
) -> None:
    assert push(desk, ANN, NEWER, LIST) is None
    answers(told, NEWER, LIST, "no")
    again = restarted(told, history, link, state=state, desired=NEWER, flown=LIST)
    assert again.room.prompt_lists.pending("kestrel-1") is None
    assert again.room.wanted_sha256("kestrel-1") == sha256_of(LIST)


def test_a_desire_that_waits_for_its_drone_still_waits_after_a_restart(
    desk: PromptDesk, told: Told, link: FakeLink, history: History
) -> None:
    told.say(told.drone.topics.status, told.drone.status("offline"))
    assert push(desk, ANN, NEWER, LIST) is None
    again = restarted(told, history, link, state="offline", desired=NEWER, flown=LIST)
    assert again.room.wanted_sha256("kestrel-1") == sha256_of(NEWER)
    again.say(told.drone.topics.status, told.drone.status("online", "s2"))
    flies(again, NEWER, NOW + timedelta(minutes=1))
    assert again.room.prompt_lists.pending("kestrel-1") is None
    answers(again, NEWER, NEWER)
    assert audited(history)[-1] == ("kestrel-1", "taken", sha256_of(NEWER))


def test_a_drone_that_took_another_list_since_is_not_waited_for(desk: PromptDesk, told: Told) -> None:
    assert push(desk, ANN, NEWER, LIST) is None
    flies(told, LIST)  # told once more, as with every connection: nothing has changed
    assert told.room.prompt_lists.pending("kestrel-1") == sha256_of(NEWER)
    flies(told, NEWEST, NOW + timedelta(minutes=1))
    assert told.room.wanted_sha256("kestrel-1") == sha256_of(NEWEST)


def test_an_answer_that_comes_before_its_desire_is_its_answer(told: Told) -> None:
    flies(told, LIST)
    answers(told, NEWER, LIST, "no")  # by the other session
    told.say(told.drone.topics.prompts_desired, NEWER.encode())
    assert told.room.prompt_lists.pending("kestrel-1") is None
