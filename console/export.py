"""What other programs read: counts as CSV, alerts as GeoJSON (RFC 7946) and as Cursor on Target."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from console.alerts import FoldedAlert
from console.history import History
from console.state import ControlRoom
from edge.bridge.cot import alert_event

COT_TYPE = "a-u-G"
COT_STALE = timedelta(minutes=10)
MOST_POINTS = 1_000_000  # of one prompt: in effect, every span that is kept
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def counts_csv(history: History, *, device: str | None, since: datetime, until: datetime) -> Iterator[str]:
    """A header, then a line for each span of time that is kept, of one drone or all; times are UTC.

    Raises HistoryError.
    """
    yield _csv_line(("time_utc", "device", "prompt", "count", "lowest", "highest", "unique", "score"))
    for series in history.count_series():
        if device not in (None, series.device):
            continue
        for point in history.counts(series.device, series.prompt, since, until, points=MOST_POINTS):
            numbers = (point.count, point.low, point.high, point.unique, f"{point.score:.4f}")
            yield _csv_line((_time(point.at), _cell(series.device), _cell(series.prompt), *numbers))


def alerts_geojson(alerts: Iterable[FoldedAlert]) -> str:
    """A FeatureCollection; alerts whose place nobody knows have the geometry null."""
    return json.dumps(
        {"type": "FeatureCollection", "features": [_feature(each) for each in alerts]}, indent=1
    )


def alerts_cot(room: ControlRoom, now: datetime | None = None) -> str:
    """The markers of the active alerts that have a position, as the bridge sends them, in one XML file."""
    now = now or datetime.now(timezone.utc)
    root = ET.Element("events")
    for alert in room.active:
        if alert.position is not None:
            root.append(ET.fromstring(alert_event(alert.facts, COT_TYPE, now, COT_STALE)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _feature(alert: FoldedAlert) -> dict[str, Any]:
    facts = alert.facts
    return {
        "type": "Feature",
        "id": f"{alert.device}/{alert.alert_id}",
        "geometry": None if facts.position is None else facts.position.model_dump(mode="json"),
        "properties": {
            "device": alert.device,
            "alert_id": alert.alert_id,
            "severity": facts.severity,
            "certainty": facts.certainty,
            "active": alert.active,
            "historical": alert.historical,
            "prompt": facts.prompt,
            "prompt_text": facts.prompt_text,
            "count": facts.count,
            "count_kind": facts.count_kind,
            "score": facts.score,
            "h_acc_m": facts.h_acc_m,
            "raised_at": _time(alert.raised_at),
            "updated_at": _time(alert.updated_at),
            "ended_at": None if alert.ended_at is None else _time(alert.ended_at),
            "ended_by": alert.ended_by,
            "reason": facts.reason,
            "acknowledged_by": alert.acknowledged_by,
            "evidence_sha256": facts.evidence_sha256,
        },
    }


def _csv_line(cells: Iterable[object]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue()


def _cell(text: str) -> str:
    """A name that a spreadsheet does not take for a formula (names may begin with a minus)."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
