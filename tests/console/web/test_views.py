"""What the views say of what was heard: regions of HTML, in which every foreign text is text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from console.web.look import MOST_ROWS, Look
from console.web.views import VIEWS
from console.web.views.top import top
from firmware_cfg.messages import Counts, Health, PromptsState
from firmware_cfg.topics import Topics
from tests.edge.bridge.herons import heron_event

from .conftest import Room

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;{{7*7}}\u202eevil"
LIST = """\
version: 1
prompts:
  - {id: person, text: a person}
zones: {quay: {ground: [[48.24, 11.49], [48.25, 11.49], [48.25, 11.5]]}, here: [[0, 0], [1, 0], [1, 1]]}
lines: {gate: {ground: [[48.24, 11.49], [48.25, 11.5]]}}
"""


@pytest.fixture
def see(room: Room) -> Callable[..., Mapping[str, Any]]:
    """`see(view, role=..., **query)` -> its regions."""

    def look(view: str, role: str = "operator", **query: str) -> Mapping[str, Any]:
        name = "lea" if role == "operator" else "max"
        session = room.services.accounts.session(room.client(name).cookies["remoteclip-console"])
        assert session is not None
        return VIEWS[view](Look(room.services, session, query, datetime.now(timezone.utc)))

    return look


def health(**changes: Any) -> Health:
    fields: dict[str, Any] = {
        "device": "heron-1",
        "sent_at": datetime.now(timezone.utc),
        "uptime_s": 9,
        "frames": 90,
        "fps": 9.5,
        "engine": "openvino",
        "precision": "int8",
        "bundle_sha256": "ab" * 32,
        "native": True,
        "clock_synced": True,
    }
    return Health(**{**fields, **changes})


def test_the_newest_of_very_many_rings_is_told_to_every_page(room: Room) -> None:
    room.online()
    for number in range(60):
        room.raised(alert_id=f"a{number}", event_id=f"e{number}", seq=number, severity="info")
    session = room.services.accounts.session(room.client("lea").cookies["remoteclip-console"])
    assert session is not None
    alarms = top(Look(room.services, session, {}, datetime.now(timezone.utc)))["alarms"]
    assert (alarms["active"], alarms["rung"], len(alarms["ringing"])) == (60, 60, 50)
    assert "heron-1/a59" in alarms["ringing"]


def test_what_went_for_want_of_room_is_said_on_every_page(room: Room) -> None:
    session = room.services.accounts.session(room.client("lea").cookies["remoteclip-console"])
    assert session is not None
    look = Look(room.services, session, {}, datetime.now(timezone.utc))
    assert "lost" not in top(look)["notices"]
    room.services.room.tell(lost=1200)
    assert "1,200 messages" in top(look)["notices"]["lost"]


def test_the_most_urgent_alert_comes_first_and_handled_ones_last(room: Room, see: Any) -> None:
    room.online()
    for number, severity in enumerate(("info", "critical", "warning", "critical")):
        room.raised(alert_id=f"a{number}", severity=severity, seq=number)
    order = list(see("alerts")["active"])
    assert [key[-2:] for key in order] == ["a3", "a1", "a2", "a0"]


def test_an_alert_that_ended_leaves_the_active_ones(room: Room, see: Any) -> None:
    room.online()
    room.raised()
    now = datetime.now(timezone.utc)
    assert list(see("alerts")["active"]) == ["heron-1/a1"]
    room.hear(
        Topics("heron-1").events, heron_event("clear", 1, sent_at=now, observed_at=now, reason="restart")
    )
    regions = see("alerts")
    assert list(regions["active"]) == ["none"]
    assert "All quiet" in regions["active"]["none"]
    assert "restart" in regions["ended"]["heron-1/a1"]


def test_nobody_is_told_that_all_is_quiet_while_nothing_is_known(room: Room, see: Any) -> None:
    assert "No drone has spoken yet" in see("alerts")["active"]["none"]
    room.services.room.tell(connected=False, connection_problem="connection refused")
    assert "All quiet" not in see("alerts")["active"]["none"]
    assert "Unknown" in see("alerts")["active"]["none"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"certainty": "possible"}, "possible – look"),
        ({"historical": True}, "late, from the backlog"),
        ({"count": 0.5, "count_kind": "score"}, "0.50"),
        ({"position": None}, "no position"),
    ],
)
def test_what_is_special_about_an_alert_is_said(
    room: Room, see: Any, changes: dict[str, Any], words: str
) -> None:
    room.online()
    room.raised(**changes)
    assert words in see("alerts")["active"]["heron-1/a1"]


def test_the_alert_of_a_lost_drone_is_marked(room: Room, see: Any) -> None:
    room.online()
    room.raised()
    room.online(state="offline")
    assert "drone lost: may be over" in see("alerts")["active"]["heron-1/a1"]


def test_the_top_counts_what_rings_and_what_does_not(room: Room, see: Any) -> None:
    room.online()
    room.raised()
    room.raised(alert_id="a2", event_id="late", seq=2, historical=True)
    see("alerts")
    session = room.services.accounts.session(room.client().cookies["remoteclip-console"])
    assert session is not None
    alarms = top(Look(room.services, session, {}, datetime.now(timezone.utc)))["alarms"]
    assert alarms["active"] == 2
    assert alarms["ringing"] == {"heron-1/a1": "critical alert: person on heron-1"}


def test_a_viewer_sees_no_button_that_acts(room: Room, see: Any) -> None:
    room.online()
    room.raised()
    assert "data-do" in see("alerts")["active"]["heron-1/a1"]
    assert "data-do" not in see("alerts", role="viewer")["active"]["heron-1/a1"]
    assert "checkbox" in see("prompts")["lists"]["heron-1"]
    assert "checkbox" not in see("prompts", role="viewer")["lists"]["heron-1"]


@pytest.mark.parametrize("view", list(VIEWS))
def test_hostile_texts_stay_text(room: Room, see: Any, view: str) -> None:
    room.online(reason=HOSTILE, software=HOSTILE)
    room.hear(Topics("heron-1").health, health(camera_problem=HOSTILE, engine=HOSTILE, precision=HOSTILE))
    room.raised(prompt_text=(HOSTILE,), reason=HOSTILE, precision=HOSTILE)
    room.services.history.put_audit(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    room.services.history.flush()
    room.services.room.tell(connected=False, connection_problem=HOSTILE, history_problem=HOSTILE)
    regions = see(view, device="heron-1", alert="a1", q="")
    texts = [text for region in regions.values() for text in dict(region).values() if isinstance(text, str)]
    assert texts or view == "counts"
    for text in texts:
        assert not any(each in text for each in ("<script", "<img", "\u202e"))
    strange = see(view, device=HOSTILE, alert=HOSTILE, q=HOSTILE, state=HOSTILE, page="9" * 30, before="x")
    for region in strange.values():
        for text in dict(region).values():
            assert not any(each in str(text) for each in ("<script", "<img"))


def test_the_fleet_shows_a_page_and_puts_trouble_first(room: Room, see: Any) -> None:
    for number in range(MOST_ROWS + 5):
        room.online(f"drone-{number:03}")
    room.online("drone-050", state="offline")
    room.online("drone-060", state="stopped")
    rows = list(see("fleet")["devices"])
    assert len(rows) == MOST_ROWS
    assert rows[:3] == ["drone-050", "drone-060", "drone-000"]
    assert len(see("fleet", page="2")["devices"]) == 5
    assert list(see("fleet", state="offline")["devices"]) == ["drone-050"]
    assert next(iter(see("fleet", q="-06")["devices"])) == "drone-060"
    assert "No device matches" in see("fleet", q="nobody")["devices"]["none"]
    assert len(see("fleet")["grid"]) == MOST_ROWS + 5


def test_a_late_will_of_an_old_session_leaves_a_drone_online(room: Room, see: Any) -> None:
    before = datetime.now(timezone.utc) - timedelta(hours=1)
    room.online()
    room.online(state="offline", session_id="s0", session_started_at=before, sent_at=before)
    assert "online" in see("fleet")["devices"]["heron-1"]
    assert "lost" not in see("fleet")["devices"]["heron-1"]


def test_a_drone_without_a_picture_is_not_just_online(room: Room, see: Any) -> None:
    room.online()
    room.hear(Topics("heron-1").health, health(camera_problem="rtsp://cam: no answer"))
    row = see("fleet")["devices"]["heron-1"]
    assert "no picture" in row
    assert "rtsp://cam: no answer" in row


def test_a_clock_that_is_a_day_off_is_said(room: Room, see: Any) -> None:
    room.online()
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    for _ in range(5):
        room.hear(Topics("heron-1").health, health(sent_at=tomorrow))
    assert "its clock is 86400 s ahead" in see("fleet")["devices"]["heron-1"].replace("86399", "86400")


def test_the_age_of_an_alert_is_by_our_clock_where_its_drones_is_off(room: Room, see: Any) -> None:
    room.online()
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    for number in range(5):
        room.hear(Topics("heron-1").health, health(sent_at=yesterday + timedelta(seconds=number)))
    room.raised(sent_at=yesterday, observed_at=yesterday)
    row = see("alerts")["active"]["heron-1/a1"]
    assert f'datetime="{yesterday:%Y-%m-%d}' not in row
    assert f'datetime="{datetime.now(timezone.utc):%Y-%m-%d}' in row


def test_the_map_has_drones_alerts_and_zones_on_the_ground(room: Room, see: Any) -> None:
    room.online()
    state = PromptsState(
        device="heron-1",
        sent_at=datetime.now(timezone.utc),
        applied_at=datetime.now(timezone.utc),
        sha256=room.services.room.note_text(LIST.encode()),
        source="mqtt",
        prompts=(),
    )
    room.hear(Topics("heron-1").prompts_state, state)
    room.raised(points=((11.5, 48.25, 3.0), None))
    regions = see("map")
    assert regions["drones"]["heron-1"] == {
        "at": (11.49, 48.24),
        "yaw": 93.25,
        "state": "online",
        "alarm": True,
        "track": [(11.49, 48.24)],
    }
    place = regions["places"]["heron-1/a1"]
    assert (place["at"], place["radius"], place["others"]) == ((11.5, 48.25), 7.5, [(11.5, 48.25)])
    zone, line = regions["ground"].values()
    assert (zone["name"], zone["kind"], zone["points"][0]) == ("quay", "zone", (11.49, 48.24))
    assert (line["name"], line["kind"], len(line["points"])) == ("gate", "line", 2)


def test_the_counts_of_a_device(room: Room, see: Any) -> None:
    room.online()
    now = datetime.now(timezone.utc)
    counts = {"device": "heron-1", "sent_at": now, "observed_at": now, "frame": 1, "score": 0.5}
    room.hear(Topics("heron-1").counts("person"), Counts(prompt="person", count=3, unique=7, **counts))
    room.hear(Topics("heron-1").counts("smoke"), Counts(prompt="smoke", kind="scene", **counts))
    rows = see("counts", device="heron-1")["newest"]
    assert list(rows) == ["person", "smoke"]
    assert ">3<" in rows["person"]
    assert ">7<" in rows["person"]
    assert "0.50" in rows["smoke"]


def test_the_audit_leads_to_what_is_older(room: Room, see: Any) -> None:
    for number in range(201):
        room.services.history.put_audit("lea", "comment", "heron-1", "a1", f"remark {number}")
    room.services.history.flush()
    newest = see("audit")
    assert len(newest["actions"]) == 200
    assert "remark 200" in next(iter(newest["actions"].values()))
    older = newest["older"]["link"].split("before=")[1].split('"')[0]
    assert "remark 0" in next(iter(see("audit", before=older)["actions"].values()))


def test_a_list_that_its_drone_has_not_taken_is_shown_as_sent_and_is_what_is_edited(
    room: Room, see: Any
) -> None:
    now = datetime.now(timezone.utc)
    room.online(state="offline")
    facts = {"device": "heron-1", "sent_at": now, "applied_at": now, "source": "file", "prompts": ()}
    room.hear(Topics("heron-1").prompts_state, PromptsState(sha256="a" * 64, **facts))
    assert f'data-wanted="{"a" * 64}"' in see("prompts")["lists"]["heron-1"]
    room.hear(Topics("heron-1").prompts_desired, LIST.encode())
    sha256 = room.services.room.wanted_sha256("heron-1")
    row = see("prompts")["lists"]["heron-1"]
    assert "sent, not yet taken" in row
    assert f'data-wanted="{sha256}"' in row
    page = room.client().get("/prompts?device=heron-1").text
    assert f'data-sha="{sha256}"' in page
    assert "a person" in page
