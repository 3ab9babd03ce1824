"""Single bits that flip in an outbox, which SQLite's own check does not see."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest

from edge.outbox.file import OutboxDamagedError
from edge.outbox.outbox import Outbox

TEXTS = [
    *(("messages", column) for column in ("topic", "kind", "event_id", "boot_id")),
    *(("history", column) for column in ("event_id", "boot_id")),
    *(("alerts", column) for column in ("alert_id", "state")),
]


def fill(path: Path) -> None:
    """Three events, the first of them sent, and two active alerts."""
    with Outbox(path) as outbox:
        for number in (1, 2, 3):
            with outbox.transaction():
                seq = outbox.next_seq()
                outbox.put("events", f"body {number}", kind="alert", event_id=f"e{number}", seq=seq)
                outbox.keep_alert(f"a{number}", f"state {number}")
        outbox.drop_alert("a1")
        outbox.done(outbox.pending()[0].id)


def flip(path: Path, table: str, column: str, cast: str) -> None:
    """Change one cell of the newest row: text of other bytes, or of another type."""
    with sqlite3.connect(path) as db:
        key = "alert_id = 'a3'" if table == "alerts" else f"id = (SELECT max(id) FROM {table})"
        db.execute(f"UPDATE {table} SET {column} = CAST(x'FF' || substr({column}, 2) AS {cast}) WHERE {key}")
        assert db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    db.close()


@pytest.mark.parametrize("cast", ["TEXT", "BLOB"])
@pytest.mark.parametrize(("table", "column"), TEXTS)
def test_a_cell_that_is_no_text_costs_its_row_and_not_the_others(
    tmp_path: Path, table: str, column: str, cast: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outbox.db"
    fill(path)
    flip(path, table, column, cast)
    with Outbox(path) as outbox:
        kept = {"messages": (["body 2"], 1, 2), "history": (["body 2", "body 3"], 0, 2)}
        bodies, sent, alerts = kept.get(table, (["body 2", "body 3"], 1, 1))
        if (table, column) in (("messages", "topic"), ("messages", "kind")):
            sent += 1  # it cannot be sent as it was, but asked for
        assert [message.payload.decode() for message in outbox.pending()] == bodies
        assert outbox._file.one("SELECT count(*) FROM events WHERE sent") == sent
        assert len(outbox.kept_alerts()) == alerts
        outbox.done(*(message.id for message in outbox.pending()))
        assert outbox.counts().queued == 0
        assert outbox.next_seq() == 4
    assert "damaged (a " in caplog.text
    assert ("1 messages of it are damaged and not sent" in caplog.text) is (table == "messages")
    with caplog.at_level(logging.INFO):
        caplog.clear()
        Outbox(path).close()
    assert caplog.text == ""


def test_text_that_goes_bad_under_way_is_damage_and_not_repeated_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    fill(path)
    with Outbox(path) as outbox:
        outbox._file.run("UPDATE messages SET topic = CAST(x'FF' || topic AS TEXT)")
        with pytest.raises(OutboxDamagedError, match="outbox: text is malformed \\(restart: ") as caught:
            outbox.pending()
        assert "events" not in str(caught.value)
