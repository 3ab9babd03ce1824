"""Alerts and drones as Cursor-on-Target events (schema 2.0, MITRE MP090284), for TAK servers and clients.

An event is a marker under a `uid`: one with the same uid replaces it, `stale` is when it fades by itself. A
TAK client removes it at once on the task `t-x-d-d`; whoever knows no tasks sees that its `stale` has come.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta, timezone

import numpy as np

from edge.geo.earth import LocalPlane
from firmware_cfg.messages.events import AlertFacts, Event

DRONE_TYPE = "a-f-A-M-H-Q"
"""Atom, friend, air, military, rotary wing, unmanned."""
DELETE_TYPE = "t-x-d-d"
UNKNOWN = "9999999.0"
"""For heights, accuracies and headings that are not known."""

_FROM_SATELLITES, _FUSED, _PASSED = "m-g", "m-f", "m-p"  # how a position came about
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def alert_uid(device: str, alert_id: str) -> str:
    """The uid of an alert's marker, the same from raise to clear."""
    return f"remoteclip.{device}.{alert_id}"


def drone_uid(device: str) -> str:
    """The uid of a drone's marker."""
    return f"remoteclip.{device}"


def alert_event(facts: AlertFacts, cot_type: str, now: datetime, stale: timedelta) -> bytes:
    """An alert that has a position, as its marker. `stale` of nothing ends it.

    `ce` is the alert's h_acc_m, the radius that holds the true place with 95% probability.
    """
    assert facts.position is not None
    event = _event(alert_uid(facts.device, facts.alert_id), cot_type, _FUSED, facts.observed_at, now, stale)
    longitude, latitude = facts.position.coordinates
    _point(event, latitude, longitude, facts.h_acc_m)
    detail = ET.SubElement(event, "detail")
    ET.SubElement(detail, "contact", callsign=f"{facts.prompt} {facts.count:g} {facts.device}")
    link = {"uid": drone_uid(facts.device), "type": DRONE_TYPE, "relation": "p-p"}
    ET.SubElement(detail, "link", link | {"production_time": _time(facts.observed_at)})
    ET.SubElement(detail, "remarks").text = _clean(remarks(facts))
    return _bytes(event)


def delete_event(uid: str, now: datetime) -> bytes:
    """The task to remove a marker."""
    event = _event(f"{uid}.delete", DELETE_TYPE, _PASSED, now, now, timedelta(minutes=1))
    _point(event, 0.0, 0.0, None)
    detail = ET.SubElement(event, "detail")
    ET.SubElement(detail, "link", uid=uid, type="none", relation="none")
    ET.SubElement(detail, "__forcedelete")
    return _bytes(event)


def drone_event(facts: AlertFacts, now: datetime, stale: timedelta) -> bytes:
    """Where the drone was and how its camera looked when the facts, which have a pose, were captured."""
    pose = facts.pose
    assert pose is not None
    event = _event(drone_uid(facts.device), DRONE_TYPE, _FROM_SATELLITES, facts.observed_at, now, stale)
    # Cursor on Target wants the height above the ellipsoid, and the pose has it above sea level or ground.
    _point(event, pose.latitude, pose.longitude, None)
    detail = ET.SubElement(event, "detail")
    ET.SubElement(detail, "contact", callsign=facts.device)
    azimuth = None if pose.yaw_deg is None else pose.yaw_deg % 360
    angles = {"azimuth": azimuth, "elevation": pose.pitch_deg, "roll": pose.roll_deg}
    known = {name: f"{angle:.1f}" for name, angle in angles.items() if angle is not None}
    if known:
        ET.SubElement(detail, "sensor", known)
    heights = ((pose.height_m, "above ground"), (pose.altitude_m, "above mean sea level"))
    said = [f"{height:.0f} m {above}" for height, above in heights if height is not None]
    ET.SubElement(detail, "remarks").text = ", ".join(said)
    return _bytes(event)


def remarks(facts: AlertFacts) -> str:
    """What an operator reads beside the marker."""
    kind = facts.count_kind.replace("_", " ")
    found = f"{facts.prompt}, {kind} {facts.count:g}, score {facts.score:.2f}, {facts.certainty}"
    lines = [
        f"{facts.severity}: {found}",
        f"looked for: {' / '.join(facts.prompt_text)}",
        f"observed {_time(facts.observed_at)} by {facts.device}, frame {facts.frame}",
    ]
    placed = [(point[1], point[0]) for point in facts.points if point is not None]
    if len(placed) > 1:
        south_north, west_east = np.ptp(LocalPlane(*placed[0]).from_degrees(*np.array(placed).T), axis=0)
        extent = f"{south_north:.0f} m south to north, {west_east:.0f} m west to east"
        lines.append(f"{len(placed)} places on the ground: {extent}")
    if facts.reason:
        ended = isinstance(facts, Event) and facts.msg_type == "clear"
        lines.append(f"{'ended' if ended else 'rule'}: {facts.reason}")
    if not facts.clock_synced:
        lines.append("the drone's clock was not known to be right")
    if facts.historical:
        lines.append("sent late, from the drone's backlog")
    if facts.evidence_sha256:
        lines.append(f"picture: evidence/{facts.evidence_sha256}")
    return "\n".join(lines)


def _event(uid: str, cot_type: str, how: str, start: datetime, now: datetime, stale: timedelta) -> ET.Element:
    attributes = {"version": "2.0", "uid": uid, "type": cot_type, "how": how}
    times = {"time": _time(now), "start": _time(start), "stale": _time(now + stale)}
    return ET.Element("event", attributes | times)


def _point(event: ET.Element, latitude: float, longitude: float, accuracy: float | None) -> None:
    ce = UNKNOWN if accuracy is None else f"{accuracy:.1f}"
    place = {"lat": f"{latitude:.7f}", "lon": f"{longitude:.7f}"}
    ET.SubElement(event, "point", place | {"hae": UNKNOWN, "ce": ce, "le": UNKNOWN})


def _time(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clean(text: str) -> str:
    """Without what XML 1.0 has no way to write, which the library would write all the same."""
    return _NOT_XML.sub("\ufffd", text)


def _bytes(event: ET.Element) -> bytes:
    written: bytes = ET.tostring(event, encoding="utf-8", xml_declaration=True)
    return written + b"\n"
