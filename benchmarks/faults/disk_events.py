"""The events that an outbox file holds, read from a copy: what a kill cannot take any more."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any


def events_on_disk(database: Path) -> list[dict[str, Any]]:
    """Every event that an outbox holds, queued or sent, read from a copy: the original stays untouched."""
    if not database.exists():
        return []
    with tempfile.TemporaryDirectory(prefix="remoteclip-faults-") as folder:
        copy = Path(folder) / database.name
        try:
            for suffix in ("", "-wal"):
                if (part := database.with_name(database.name + suffix)).exists():
                    shutil.copyfile(part, copy.with_name(copy.name + suffix))
            return _events_in(copy)
        except (OSError, sqlite3.Error):
            return []  # damaged on purpose


def _events_in(database: Path) -> list[dict[str, Any]]:
    db = sqlite3.connect(database)
    try:
        return [json.loads(payload) for (payload,) in db.execute("SELECT payload FROM events ORDER BY id")]
    finally:
        db.close()
