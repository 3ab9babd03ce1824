"""Cursor-on-Target events: fields, times, escaping."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bridge.cot import alert_event, delete_event, drone_event, remarks
from firmware_cfg.messages import Event

Make = Callable[..., Event]
STALE = timedelta(seconds=90)


def attributes(found: ET.Element, path: str) -> dict[str, str]:
    node = found.find(path)
    assert node is not None
    return node.attrib


def test_an_alert_is_a_marker_with_place_times_and_words(event: Make, start: datetime) -> None:
    now = start + timedelta(seconds=2.5)
    written = alert_event(event(), "a-u-G", now, STALE)
    assert written.startswith(b"<?xml version='1.0' encoding='utf-8'?>")
    found = ET.fromstring(written)
    assert found.tag == "event"
    assert found.attrib == {
        "version": "2.0",
        "uid": "remoteclip.heron-1.a1",
        "type": "a-u-G",
        "how": "m-f",
        "time": "2026-05-04T12:00:02.500Z",
        "start": "2026-05-04T12:00:00.000Z",
        "stale": "2026-05-04T12:01:32.500Z",
    }
    assert attributes(found, "point") == {
        "lat": "48.2500000",
        "lon": "11.5000000",
        "hae": "9999999.0",
        "ce": "7.5",
        "le": "9999999.0",
    }
    assert attributes(found, "detail/contact") == {"callsign": "person 2 heron-1"}
    assert attributes(found, "detail/link") == {
        "uid": "remoteclip.heron-1",
        "type": "a-f-A-M-H-Q",
        "relation": "p-p",
        "production_time": "2026-05-04T12:00:00.000Z",
    }
    assert found.findtext("detail/remarks", "").splitlines() == [
        "critical: person, count 2, score 0.83, likely",
        "looked for: a person seen from above",
        "observed 2026-05-04T12:00:00.000Z by heron-1, frame 10",
        "rule: count >= 1",
        f"picture: evidence/{'2' * 64}",
    ]


def test_what_an_operator_must_not_take_for_granted_is_said(event: Make, start: datetime) -> None:
    late = event("clear", historical=True, clock_synced=False, reason="restart", h_acc_m=None)
    found = ET.fromstring(alert_event(late, "a-h-G", start, timedelta(0)))
    assert found.get("stale") == found.get("time")
    assert found.get("type") == "a-h-G"
    assert attributes(found, "point")["ce"] == "9999999.0"
    remarks = found.findtext("detail/remarks", "")
    assert "ended: restart" in remarks
    assert "sent late" in remarks
    assert "clock was not known to be right" in remarks


def test_how_many_places_an_alert_has_and_how_far_they_reach_is_said(event: Make) -> None:
    # Arcs on WGS 84 at 60 degrees, by their radii of curvature: 111.41 m of meridian, 111.60 m of parallel.
    points = ((179.999, 60.0, 5.0), None, (-179.999, 60.0, 9.0), (179.999, 60.001, 5.0))
    assert "3 places on the ground: 111 m south to north, 112 m west to east" in remarks(event(points=points))
    assert "places" not in remarks(event(points=(points[0], None)))


def test_a_drone_has_its_camera_s_heading(event: Make, start: datetime) -> None:
    west = {"latitude": 48.24, "longitude": 11.49, "altitude_m": 560, "height_m": 60, "yaw_deg": -90.0}
    found = ET.fromstring(drone_event(event(pose=west), start, STALE))
    assert attributes(found, "detail/sensor") == {"azimuth": "270.0"}
    found = ET.fromstring(drone_event(event(), start, STALE))
    assert (found.get("uid"), found.get("type")) == ("remoteclip.heron-1", "a-f-A-M-H-Q")
    assert attributes(found, "point")["lat"] == "48.2400000"
    assert attributes(found, "detail/sensor") == {"azimuth": "93.2", "elevation": "-45.0", "roll": "0.0"}
    assert found.findtext("detail/remarks") == "60 m above ground, 560 m above mean sea level"


def test_a_removal_names_the_marker(start: datetime) -> None:
    found = ET.fromstring(delete_event("remoteclip.heron-1.a1", start))
    assert (found.get("type"), found.get("uid")) == ("t-x-d-d", "remoteclip.heron-1.a1.delete")
    assert attributes(found, "detail/link")["uid"] == "remoteclip.heron-1.a1"
    assert found.find("detail/__forcedelete") is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_no_text_breaks_out_of_its_element(event: Make, start: datetime, text: str) -> None:
    hostile = event(prompt_text=(text, "</remarks></detail><x y='1'/>"), reason=text)
    found = ET.fromstring(alert_event(hostile, "a-u-G", start, STALE))
    assert [node.tag for node in found.iter()] == ["event", "point", "detail", "contact", "link", "remarks"]
    assert "</remarks></detail><x y='1'/>" in found.findtext("detail/remarks", "")
