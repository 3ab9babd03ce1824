"""What the writer of alerts makes of what an earlier run left, where a disk has changed it."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from edge.alerts.writer import AlertWriter
from edge.events import Session
from edge.outbox.outbox import Outbox


@pytest.mark.parametrize("alert_id", ["a\ufffdb", "a/b", "A1", "+", "", "a" * 65, "a\nb"])
def test_what_is_no_id_of_an_alert_is_removed_with_a_line_and_the_others_end(
    tmp_path: Path, alert_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Outbox(tmp_path / "outbox.db") as outbox:
        for each in (alert_id, "sound"):
            outbox.keep_alert(each, "no state either")
        session = Session("bird", "5e55", datetime.now(timezone.utc), outbox.boot_id, "f" * 64, "1")
        AlertWriter(outbox, session).take_over(())
        assert outbox.kept_alerts() == {}
        assert [message.topic for message in outbox.pending()] == ["remoteclip/1/bird/alerts/sound"]
    lines = [record.getMessage() for record in caplog.records]
    assert f"alert {alert_id!r} of an earlier run is removed: that is no id of an alert" in lines
