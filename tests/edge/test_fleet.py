"""The control room's picture of the fleet, from messages alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import fleet
from edge.fleet import FleetState
from firmware_cfg.messages import Alert
from firmware_cfg.topics import Topics
from tests.edge.kestrels import NOW, make_counts, make_event, make_status

KESTREL = Topics("kestrel-1")


def make_alert(alert_id: str = "a1", **changes: Any) -> bytes:
    return Alert.from_event(make_event("raise", "e1", alert_id, **changes), NOW).to_payload()


def applied(state: FleetState, topic: str, payload: bytes, *, retained: bool = False) -> bool:
    return state.apply(topic, payload, retained, at=NOW) is not None


def test_status_counts_and_alerts_of_a_device_come_together() -> None:
    state = FleetState()
    assert applied(state, KESTREL.status, make_status("online"), retained=True)
    assert applied(state, KESTREL.counts("boat"), make_counts("boat", 3), retained=True)
    device = state.devices["kestrel-1"]
    assert device.last_seen is None  # only retained messages so far
    assert applied(state, KESTREL.counts("boat"), make_counts("boat", 4))
    assert applied(state, KESTREL.alert("a1"), make_alert())
    assert device.status is not None
    assert (device.status.state, device.counts["boat"].count, list(device.alerts)) == ("online", 4, ["a1"])
    assert device.last_seen == NOW


def test_an_alert_is_active_until_its_topic_is_emptied() -> None:
    state = FleetState()
    assert not applied(state, KESTREL.alert("a1"), b"")  # of a device that nobody knows
    assert applied(state, KESTREL.alert("a1"), make_alert())
    assert applied(state, KESTREL.alert("a2"), make_alert("a2"))
    assert applied(state, KESTREL.alert("a1"), b"")
    assert not applied(state, KESTREL.alert("a1"), b"")
    assert list(state.devices["kestrel-1"].alerts) == ["a2"]
    assert state.rejected == 0


def test_a_late_will_is_ignored_though_its_session_began_by_a_clock_that_was_ahead() -> None:
    state = FleetState()
    for session, said, day in [("s1", "online", 2), ("s2", "online", 1), ("s1", "offline", 2)]:
        began = NOW + timedelta(days=day)
        applied(state, KESTREL.status, make_status(said, session, session_started_at=began))
    status = state.devices["kestrel-1"].status
    assert status is not None
    assert (status.session_id, status.state) == ("s2", "online")


def test_a_late_will_or_goodbye_of_an_old_session_is_ignored() -> None:
    state = FleetState()
    for session, said, seen in [
        ("s1", "online", "online"),
        ("s2", "online", "online"),
        ("s1", "offline", "online"),
        ("s1", "stopped", "online"),
        ("s2", "offline", "offline"),
        ("s2", "online", "online"),
        ("s2", "stopped", "stopped"),
    ]:
        applied(state, KESTREL.status, make_status(said, session))
        status = state.devices["kestrel-1"].status
        assert status is not None
        assert status.state == seen


def test_a_session_whose_beginning_was_missed_is_believed() -> None:
    """The watcher was cut off while the drone started anew and was lost: no `online` ever came."""
    state = FleetState()
    applied(state, KESTREL.status, make_status("online", "s1"))
    later = NOW + timedelta(hours=1)
    assert applied(
        state, KESTREL.status, make_status("offline", "s2", session_started_at=later), retained=True
    )
    status = state.devices["kestrel-1"].status
    assert status is not None
    assert (status.state, status.session_id) == ("offline", "s2")
    assert not applied(state, KESTREL.status, make_status("stopped", "s1"))


def test_starting_over_keeps_devices_and_forgets_what_the_broker_retains() -> None:
    state = FleetState()
    applied(state, KESTREL.status, make_status("online"))
    applied(state, KESTREL.counts("boat"), make_counts("boat", 3))
    applied(state, KESTREL.alert("a1"), make_alert())
    state.start_over()
    device = state.devices["kestrel-1"]
    assert (device.counts, device.alerts) == ({}, {})
    assert device.status is not None


def test_an_offline_device_is_shown_to_who_comes_later() -> None:
    state = FleetState()
    assert applied(state, KESTREL.status, make_status("offline"), retained=True)
    status = state.devices["kestrel-1"].status
    assert status is not None
    assert status.state == "offline"


def test_a_new_session_starts_with_fresh_counts() -> None:
    state = FleetState()
    applied(state, KESTREL.status, make_status("online", "s1"))
    applied(state, KESTREL.counts("boat"), make_counts("boat", 3))
    applied(state, KESTREL.status, make_status("offline", "s1"))
    assert list(state.devices["kestrel-1"].counts) == ["boat"]
    applied(state, KESTREL.status, make_status("online", "s2"))
    assert state.devices["kestrel-1"].counts == {}


def test_an_event_that_is_delivered_twice_is_shown_once() -> None:
    state = FleetState()
    event = make_event("raise", "e1").to_payload()
    assert applied(state, KESTREL.events, event)
    assert not applied(state, KESTREL.events, event)
    assert applied(state, KESTREL.events, make_event("clear", "e2").to_payload())
    assert [each.msg_type for each in state.recent] == ["raise", "clear"]


@pytest.mark.parametrize(
    ("topic", "payload", "problem"),
    [
        (KESTREL.status, b"{", "not a Status message"),
        (KESTREL.status, b"\xff\xfe", "not a Status message"),
        (KESTREL.status, make_status("online").replace(b"online", b"flying"), "state"),
        (KESTREL.status, b'{"x": 1}' + b" " * fleet.MAX_PAYLOAD, "bytes are more than"),
        (KESTREL.status, make_status("online", device="kestrel-2"), "speaks for another device, kestrel-2"),
        (KESTREL.counts("car"), make_counts("boat", 3), "names another prompt"),
        (KESTREL.alert("boat"), make_alert("a1"), "names another prompt or alert"),
        (KESTREL.events, b"", "empty"),
        ("remoteclip/1/UPPER/status", make_status("online"), "not a topic of remoteclip"),
        ("remoteclip/2/kestrel-1/status", make_status("online"), "not a topic of remoteclip"),
    ],
)
def test_what_is_not_what_its_topic_promises_is_counted_and_ignored(
    topic: str, payload: bytes, problem: str
) -> None:
    state = FleetState()
    assert not applied(state, topic, payload)
    assert (state.devices, state.rejected) == ({}, 1)
    assert problem in state.problem
    assert "\n" not in state.problem


def test_a_topic_that_is_no_concern_of_a_watcher_is_no_problem() -> None:
    state = FleetState()
    assert not applied(state, KESTREL.prompts_set, b"version: 1")
    assert (state.devices, state.rejected) == ({}, 0)


def test_a_flood_of_devices_and_items_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "MAX_DEVICES", 3)
    monkeypatch.setattr(fleet, "MAX_ITEMS", 2)
    state = FleetState()
    for number in range(5):
        name = f"drone-{number}"
        applied(state, Topics(name).status, make_status("online", device=name))
        applied(state, Topics("drone-0").alert(f"a{number}"), make_alert(f"a{number}", device="drone-0"))
    assert list(state.devices) == ["drone-0", "drone-1", "drone-2"]
    assert list(state.devices["drone-0"].alerts) == ["a0", "a1"]
    assert state.rejected == 5
    # What is known already is still kept up to date.
    changed = make_alert("a0", device="drone-0", reason="newer")
    assert applied(state, Topics("drone-0").alert("a0"), changed)


@given(
    topic=st.one_of(
        st.text(max_size=40),
        st.sampled_from([KESTREL.status, KESTREL.events, KESTREL.alert("a1"), KESTREL.counts("boat")]),
    ),
    payload=st.one_of(
        st.binary(max_size=60),
        st.sampled_from([make_status("online"), make_counts("boat", 2), make_alert(), b"", b"null", b"[]"]),
        st.integers(0, 300).map(lambda cut: make_alert()[:cut]),
    ),
    retained=st.booleans(),
)
def test_no_message_whatever_raises(topic: str, payload: bytes, retained: bool) -> None:
    state = FleetState()
    received = state.apply(topic, payload, retained, at=NOW + timedelta(seconds=1))
    assert (received is not None) == bool(state.devices)
    assert state.rejected in (0, 1)
