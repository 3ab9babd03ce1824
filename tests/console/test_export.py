"""What other programs read."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path

from console.export import alerts_cot, alerts_geojson, counts_csv
from console.history import History
from firmware_cfg.messages import Counts, GeoPoint
from tests.console.conftest import NOW, Told

PLACE = GeoPoint(coordinates=(8.55, 47.37))


def test_counts_as_csv_are_no_formulas_of_a_spreadsheet(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    for device, prompt in (("kestrel-1", "boat"), ("-bird", "-1")):
        history.put_counts(
            Counts(
                device=device,
                prompt=prompt,
                sent_at=NOW,
                observed_at=NOW,
                frame=1,
                count=3,
                unique=5,
                score=0.5,
            ),
            NOW,
        )
    assert history.flush()
    span = {"since": NOW - timedelta(hours=1), "until": NOW + timedelta(hours=1)}
    rows = list(csv.reader(counts_csv(history, device=None, **span)))
    assert rows[0] == ["time_utc", "device", "prompt", "count", "lowest", "highest", "unique", "score"]
    assert rows[1] == ["2026-05-04T12:00:00.000Z", "'-bird", "'-1", "3", "3", "3", "5", "0.5000"]
    assert len(list(counts_csv(history, device="kestrel-1", **span))) == 2
    history.close()


def test_alerts_as_geojson_have_their_place_where_it_is_known(told: Told) -> None:
    told.event("raise", "a1", position=PLACE, h_acc_m=12.0, prompt_text=("</script>",))
    told.event("raise", "a2")
    placed, unplaced = json.loads(alerts_geojson(told.room.alerts.values()))["features"]
    assert placed["geometry"] == {"type": "Point", "coordinates": [8.55, 47.37]}
    assert (placed["id"], placed["properties"]["h_acc_m"]) == ("kestrel-1/a1", 12.0)
    assert placed["properties"]["prompt_text"] == ["</script>"]
    assert unplaced["geometry"] is None


def test_markers_are_those_of_the_bridge(told: Told) -> None:
    told.event("raise", "a1", position=PLACE, h_acc_m=12.0, reason="<&>")
    told.event("raise", "a2")  # nobody knows where
    told.event("raise", "a3", position=PLACE)
    told.event("clear", "a3")
    (marker,) = ET.fromstring(alerts_cot(told.room, NOW))
    assert marker.get("uid") == "remoteclip.kestrel-1.a1"
    point = marker.find("point")
    assert point is not None
    assert (float(point.get("lat", "")), point.get("ce")) == (47.37, "12.0")
