"""Knows which alerts have ended, by the clears that an outbox queues or has kept."""

from __future__ import annotations

from edge.outbox.file import OutboxFile

_CLEAR, _ALERT = b'"msg_type":"clear"', b'"alert_id":"'
_LONGEST = 64 + 1  # of an alert's id, and the quote after it


class Clears:
    """Reads each clear once, however many alerts are asked for: there may be a whole history of them."""

    def __init__(self, file: OutboxFile) -> None:
        self._file = file
        self._ended: set[bytes] = set()
        self._read = 0  # up to the message of this id

    def has(self, alert_id: str) -> bool:
        """Whether there is, or was since this began to read, a clear of the alert.

        Not to be asked in a transaction: what is rolled back would stay known, and its id is given again.
        """
        with self._file.lock:
            newest = self._file.one("SELECT seq FROM sqlite_sequence WHERE name = 'messages'") or 0
            rows = self._file.all(
                "SELECT substr(payload, instr(payload, ?1) + length(?1), ?2) FROM events"
                " WHERE id > ?3 AND instr(payload, ?1) AND instr(payload, ?4)",
                *(_ALERT, _LONGEST, self._read, _CLEAR),
            )
            self._ended.update(found.partition(b'"')[0] for (found,) in rows)
            self._read = newest
            return alert_id.encode() in self._ended
