"""What the page shows, from messages alone."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import board, lists
from console.state import ControlRoom
from firmware_cfg.messages import AlertAck, AlertAct, Counts, Pose
from firmware_cfg.topics import Topics
from tests.console.conftest import NOW, Drone, Told

KEY = ("kestrel-1", "a1")


def act(action: Any = "acknowledge", by: str = "ann", seconds: float = 0, **changes: Any) -> AlertAct:
    return AlertAct(action=action, by=by, at=NOW + timedelta(seconds=seconds), **changes)


def test_raise_update_and_clear_are_one_line(told: Told) -> None:
    told.event("raise", count=3.0)
    told.event("update", count=5.0)
    line = told.room.alerts[KEY]
    assert (line.active, line.rings, line.count, line.steps) == (True, True, 5.0, 2)
    told.event("clear", count=0.0)
    assert (line.active, line.rings, line.ended_by) == (False, False, "clear")
    assert [step.msg_type for step in line.events] == ["raise", "update", "clear"]
    assert line.raised_at < line.updated_at


def test_an_event_that_comes_twice_is_one_step(told: Told) -> None:
    event = told.event("raise")
    version = told.room.version
    assert not told.say(told.drone.topics.events, event.to_payload())
    assert (told.room.alerts[KEY].steps, told.room.version) == (1, version)


def test_the_retained_copy_of_an_alert_that_was_cleared_does_not_bring_it_back(told: Told) -> None:
    raised = told.event("raise")
    told.event("clear")
    told.say(told.drone.topics.alert("a1"), told.drone.alert(raised), retained=True)
    assert not told.room.alerts[KEY].active


def test_a_backlog_is_shown_as_one_and_does_not_ring_until_something_is_news(told: Told) -> None:
    told.event("raise", historical=True)
    line = told.room.alerts[KEY]
    assert (line.historical, line.rings, line.active) == (True, False, True)
    told.event("update")
    assert (line.historical, line.rings) == (False, True)


def test_a_remark_on_an_alert_that_came_late_does_not_make_it_ring(told: Told) -> None:
    raised = told.event("raise", historical=True)
    remark = act("comment", text="look at this")
    copy = told.drone.alert(raised, historical=False, acts=(remark,))
    told.say(told.drone.topics.alert("a1"), copy)
    line = told.room.alerts[KEY]
    assert (line.historical, line.rings, line.acts) == (True, False, (remark,))


def test_what_waited_at_the_broker_rings_only_where_it_goes_on(told: Told) -> None:
    told.now += timedelta(hours=5)
    told.room.begin("alerts", told.now)
    for number in range(3):
        told.event("raise", f"over-{number}")
        told.event("clear", f"over-{number}")
    raised = told.event("raise")
    assert (told.room.rung, told.room.alerts[KEY].rings) == (0, False)
    assert told.room.alerts[KEY].events[0].historical
    told.say(told.drone.topics.alert("a1"), told.drone.alert(raised), retained=True)
    assert (told.room.rung, told.room.alerts[KEY].rings) == (1, True)


def test_what_a_drone_with_a_clock_a_day_behind_says_now_rings(told: Told) -> None:
    yesterday = NOW - timedelta(days=1)
    told.room.begin("alerts", told.now)
    told.say(told.drone.topics.counts("boat"), told.drone.counts(1, sent_at=yesterday))
    told.event("raise", sent_at=yesterday)
    assert told.room.alerts[KEY].rings


def test_every_ring_counts_however_many_ring_already(told: Told) -> None:
    for number in range(60):
        told.event("raise", f"a{number}", severity="info")
    assert told.room.rung == 60
    told.event("raise", "last", severity="critical")
    last = told.room.alerts["kestrel-1", "last"]
    assert (told.room.rung, last.ring) == (61, 61)


def test_an_old_event_that_the_history_has_raises_no_ghost() -> None:
    told = Told(Drone(), ControlRoom(kept=lambda event_id: event_id == "old"))
    told.say(told.drone.topics.status, told.drone.status(), retained=True)
    told.event("raise", event_id="old", historical=True)
    told.event("raise", "a2", historical=True)
    assert list(told.room.alerts) == [("kestrel-1", "a2")]


def test_a_drone_whose_clock_is_put_right_does_not_stand_still_on_the_map(told: Told) -> None:
    pose = Pose(latitude=46.0, longitude=8.0)
    told.event("raise", pose=pose, observed_at=NOW + timedelta(days=1))
    told.event("update", pose=pose.model_copy(update={"latitude": 47.0}), observed_at=NOW)
    line = told.room.devices["kestrel-1"]
    assert (line.pose.latitude, line.pose_at) == (47.0, NOW)  # type: ignore[union-attr]


def test_a_late_step_changes_no_fact_of_now(told: Told) -> None:
    told.event("raise", seq=1)
    told.event("update", seq=3, count=9.0)
    told.event("update", seq=2, count=4.0, historical=True)
    assert told.room.alerts[KEY].count == 9.0
    assert not told.room.alerts[KEY].historical


def test_an_alert_of_a_lost_drone_rings_no_more_and_does_when_it_is_back(told: Told) -> None:
    told.event("raise")
    told.say(told.drone.topics.status, told.drone.status("offline"))
    assert not told.room.alerts[KEY].rings
    told.say(told.drone.topics.status, told.drone.status("online"))
    assert told.room.alerts[KEY].rings


def test_a_late_will_of_an_old_session_leaves_a_living_drone_alone(told: Told) -> None:
    newer = told.drone.status("online", "s2", session_started_at=NOW + timedelta(seconds=5))
    told.say(told.drone.topics.status, newer)
    told.say(told.drone.topics.status, told.drone.status("offline", "s1"))
    assert told.room.devices["kestrel-1"].state == "online"


def test_an_acknowledgement_silences_and_names_the_first_to_do_so(told: Told) -> None:
    told.event("raise")
    topic = told.drone.topics.alert_ack("a1")
    told.say(topic, AlertAck.of(act(by="bob", seconds=2)).to_payload())
    told.say(topic, AlertAck.of(act(by="ann", seconds=1)).to_payload())
    line = told.room.alerts[KEY]
    assert (line.acknowledged_by, line.rings) == ("ann", False)


def test_a_mute_ends_by_itself(told: Told) -> None:
    told.event("raise")
    muted = act("mute", until=NOW + timedelta(minutes=5))
    told.say(told.drone.topics.alert_ack("a1"), AlertAck.of(muted).to_payload())
    assert not told.room.alerts[KEY].rings
    told.passes(299)
    assert not told.room.alerts[KEY].rings
    told.passes(2)
    assert told.room.alerts[KEY].rings


def test_a_control_room_that_comes_later_knows_from_the_drone_who_acknowledged(told: Told) -> None:
    raised = told.drone.event("raise")
    acts = (act(), act("comment", seconds=1, text="a ferry"))
    told.say(told.drone.topics.alert("a1"), told.drone.alert(raised, acts=acts), retained=True)
    line = told.room.alerts[KEY]
    assert (line.acknowledged_by, line.comments) == ("ann", ((acts[1].at, "ann", "a ferry"),))
    assert not list(told.room.untold(NOW))


def test_a_drone_that_did_not_hear_of_it_is_told_again_but_not_for_ever(told: Told) -> None:
    raised = told.event("raise")
    told.room.act(KEY, act(), NOW)
    times = 0
    for _ in range(1000):
        told.passes(1)
        times += len(list(told.room.untold(told.now)))
    assert times == board.MOST_TELLINGS
    told.say(told.drone.topics.alert("a1"), told.drone.alert(raised, acts=(act(),)))
    told.room.act(KEY, act(by="bob", seconds=9), told.now)
    assert not list(told.room.untold(told.now))  # that one is on its way
    told.passes(31)
    assert [each.by for _, each in told.room.untold(told.now)] == ["bob"]


def test_what_the_broker_does_not_name_again_has_vanished_after_a_while(told: Told) -> None:
    told.event("raise", "a1")
    kept = told.event("raise", "a2")
    told.room.begin("alerts", told.now)
    told.say(told.drone.topics.alert("a2"), told.drone.alert(kept), retained=True)
    told.passes(5)
    assert told.room.alerts[KEY].active
    told.passes(6)
    assert (told.room.alerts[KEY].active, told.room.alerts[KEY].ended_by) == (False, "vanished")
    assert told.room.alerts["kestrel-1", "a2"].active
    told.event("update", "a1")  # the broker had forgotten it, the drone has not
    assert told.room.alerts[KEY].active


def test_while_there_is_no_connection_nothing_vanishes(told: Told) -> None:
    told.event("raise")
    told.room.begin("alerts", told.now)
    told.room.lost_connection()
    told.passes(3600)
    assert told.room.alerts[KEY].active


def test_an_emptied_alert_whose_clear_is_lost_ends_too(told: Told) -> None:
    raised = told.event("raise")
    told.say(told.drone.topics.alert("a1"), told.drone.alert(raised))
    told.say(told.drone.topics.alert("a1"), b"")
    told.passes(11)
    assert told.room.alerts[KEY].ended_by == "vanished"


def test_a_gap_is_asked_for_while_the_drone_is_there(told: Told) -> None:
    told.event("raise", seq=1)
    told.event("update", seq=5)
    assert told.room.devices["kestrel-1"].gaps == ((2, 4),)
    assert not list(told.room.replays(told.now))  # it may still be on its way
    told.passes(11)
    told.say(told.drone.topics.status, told.drone.status("offline"))
    assert not list(told.room.replays(told.now))
    told.say(told.drone.topics.status, told.drone.status("online"))
    ((name, request),) = told.room.replays(told.now)
    assert (name, request.boot_id, request.ranges) == ("kestrel-1", "b1", ((2, 4),))


@pytest.mark.parametrize("days", [1, -1])
def test_a_clock_a_day_wrong_is_told_and_the_drone_counts_as_heard_now(told: Told, days: int) -> None:
    sent = NOW + timedelta(days=days)
    for _ in range(3):
        told.say(told.drone.topics.counts("boat"), told.drone.counts(1, sent_at=sent))
    line = told.room.devices["kestrel-1"]
    assert line.clock_off_s == pytest.approx(days * 86400)
    assert line.last_heard == NOW
    told.say(told.drone.topics.counts("boat"), told.drone.counts(1))
    assert line.clock_off_s is None  # one that was on its way for long is no clock that is wrong


@pytest.mark.parametrize(
    ("channel", "payload"),
    [
        ("events", b"{}"),
        ("events", b"\xff\x00"),
        ("events", b"[" * 10_000),
        ("events", b'{"schema": 2}'),
        ("status", b'{"schema":1}'),
        ("alerts/a1", b"x" * 300_000),
        ("alerts/a1/ack", b'{"schema": 1, "action": "delete", "by": "x", "at": "2026-01-01T00:00:00Z"}'),
        ("alerts/a1/ack", b"y" * 300_000),
        ("prompts/desired", b"\xff\xfe"),
        ("prompts/ack", b"{}"),
        ("events/replayed", b"null"),
    ],
)
def test_what_is_not_what_its_topic_promises_is_counted_and_told(
    told: Told, channel: str, payload: bytes
) -> None:
    version = told.room.version
    assert not told.say(f"{told.drone.topics.root}/{channel}", payload)
    assert (told.room.rejected, told.room.problem.startswith(told.drone.topics.root)) == (1, True)
    assert told.room.version > version


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sent_at", "0001-01-01T00:00:00+14:00"),
        ("observed_at", "9999-12-31T23:59:59-12:00"),
        ("seq", 2**53),
        ("frame", 2**70),
        ("schema", 2),
    ],
)
def test_a_message_beyond_all_bounds_is_refused_as_any_other(told: Told, field: str, value: object) -> None:
    fields = json.loads(told.drone.event("raise").to_payload()) | {field: value}
    assert not told.say(told.drone.topics.events, json.dumps(fields).encode())
    assert told.room.rejected == 1
    assert field in told.room.problem


@given(
    st.text(max_size=60) | st.sampled_from(["events", "alerts/a", "alerts/a/ack", "prompts/list"]),
    st.binary(),
)
def test_no_publisher_can_bring_it_down(rest: str, payload: bytes) -> None:
    room = ControlRoom()
    room.apply(f"remoteclip/1/kestrel-1/{rest}", payload, False, at=NOW)
    room.tick(NOW)


def test_texts_of_lists_are_known_by_their_hash_and_shown_for_who_flies_them(told: Told) -> None:
    text = "prompts: [{id: boat, text: a boat}]\n"
    sha256 = told.room.note_text(text.encode())
    state_message = {
        "device": "kestrel-1",
        "sent_at": NOW.isoformat(),
        "sha256": sha256,
        "applied_at": NOW.isoformat(),
        "source": "file",
        "prompts": [],
        "schema": 1,
    }
    told.say(told.drone.topics.prompts_state, json.dumps(state_message).encode(), retained=True)
    assert told.room.lists == {"kestrel-1": text}
    assert told.room.wanted_sha256("kestrel-1") == sha256
    told.say(told.drone.topics.prompts_desired, b"prompts: [] # newer")
    assert told.room.wanted_sha256("kestrel-1") == hashlib.sha256(b"prompts: [] # newer").hexdigest()


def test_ten_thousand_retained_topics_are_taken_in_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "MOST_ENDED", 50)
    told = Told(Drone(), ControlRoom())
    for number in range(10_000):
        topics = Topics(f"bird-{number % 500}")
        payload = Counts(
            device=topics.device, sent_at=NOW, prompt=f"p{number}", observed_at=NOW, frame=1, score=0.5
        ).to_payload()
        assert told.say(topics.counts(f"p{number}"), payload, retained=True)
    assert len(told.room.devices) == 500
    for number in range(60):
        told.event("raise", f"a{number}")
        told.event("clear", f"a{number}")
    assert len(told.room.alerts) == 50
    assert ("kestrel-1", "a0") not in told.room.alerts


def test_a_room_goes_on_with_what_the_history_kept(told: Told) -> None:
    events = [told.drone.event("raise"), told.drone.event("update", count=7.0)]
    room = ControlRoom()
    room.restore([(NOW, each) for each in events], [(KEY, act())])
    line = room.alerts[KEY]
    assert (line.count, line.steps, line.acknowledged_by, line.rings) == (7.0, 2, "ann", False)
    again = Told(told.drone, room)
    assert not again.say(told.drone.topics.events, events[0].to_payload())


def test_texts_of_lists_are_bounded_whoever_sends_them(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST_BYTES", 1000)
    monkeypatch.setattr(lists, "MAX_DEVICES", 20)
    hashes = [told.room.note_text(b"%d" % number + b" " * 98) for number in range(50)]
    assert 5 <= sum(told.room.prompt_lists.text(each) is not None for each in hashes) <= 10
    for number in range(30):
        told.say(Topics(f"bird-{number}").prompts_desired, b"prompts: []", retained=True)
    assert told.room.rejected == 10
