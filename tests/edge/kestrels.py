"""Messages of a kestrel without telemetry, all of one moment."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from firmware_cfg.messages import Counts, Event, Status

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)


def make_status(state: Any, session: str = "s1", **changes: Any) -> bytes:
    facts = {"device": "kestrel-1", "sent_at": NOW, "session_started_at": NOW, "boot_id": "b1"}
    return Status(state=state, session_id=session, **facts | changes).to_payload()


def make_counts(prompt: str, count: int, **changes: Any) -> bytes:
    facts = {"device": "kestrel-1", "sent_at": NOW, "observed_at": NOW, "frame": 3, "score": 0.5}
    return Counts(prompt=prompt, count=count, **facts | changes).to_payload()


def make_event(msg_type: Any, event_id: str, alert_id: str = "a1", **changes: Any) -> Event:
    facts = {
        "device": "kestrel-1",
        "sent_at": NOW,
        "observed_at": NOW,
        "mono_ns": 1,
        "clock_synced": True,
        "severity": "warning",
        "urgency": "immediate",
        "certainty": "observed",
        "seq": 1,
        "boot_id": "b1",
        "frame": 3,
        "prompt": "boat",
        "prompt_text": ("a boat",),
        "prompt_list_sha256": "0" * 64,
        "bundle_sha256": "1" * 64,
        "precision": "fp32",
        "score": 0.7,
        "raw_score": 3.0,
        "threshold": 0.4,
        "count": 5.0,
        "count_kind": "count",
        "frame_size": (640, 480),
        "reason": "count >= 5",
    }
    return Event(msg_type=msg_type, event_id=event_id, alert_id=alert_id, **facts | changes)
