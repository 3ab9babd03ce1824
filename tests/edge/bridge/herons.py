"""Messages of a heron with telemetry."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from firmware_cfg.messages import Event

START = datetime(2026, 5, 4, 12, 0, 0, tzinfo=timezone.utc)


def heron_event(msg_type: str = "raise", step: int = 0, **changes: Any) -> Event:
    """An event of heron-1's alert a1; `step` tells its number, seconds since START and event id."""
    alert = changes.get("alert_id", "a1")
    fields: dict[str, Any] = {
        "device": "heron-1",
        "sent_at": START + timedelta(seconds=step),
        "msg_type": msg_type,
        "alert_id": alert,
        "event_id": f"{alert}-e{step}",
        "severity": "critical",
        "urgency": "immediate",
        "certainty": "likely",
        "seq": step,
        "boot_id": "b1",
        "observed_at": START + timedelta(seconds=step),
        "mono_ns": 1,
        "clock_synced": True,
        "frame": 10 + step,
        "prompt": "person",
        "prompt_text": ("a person seen from above",),
        "prompt_list_sha256": "0" * 64,
        "bundle_sha256": "1" * 64,
        "precision": "int8",
        "score": 0.83,
        "raw_score": 2.0,
        "threshold": 0.5,
        "count": 2,
        "count_kind": "count",
        "frame_size": (640, 480),
        "position": {"coordinates": (11.5, 48.25 + step / 1000)},
        "h_acc_m": 7.5,
        "pose": {
            "latitude": 48.24,
            "longitude": 11.49,
            "altitude_m": 560,
            "height_m": 60,
            "yaw_deg": 93.25,
            "pitch_deg": -45,
            "roll_deg": 0,
        },
        "evidence_sha256": "2" * 64,
        "reason": "count >= 1",
    }
    return Event(**{**fields, **changes})
