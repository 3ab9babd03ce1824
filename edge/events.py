"""What happened on the drone -> the messages that say so. Pure: no clock, no thread, no outbox."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from edge.geo.messages import told_point, told_pose
from firmware_cfg.messages import Alert, Counts, Event, PromptInUse, PromptsState, Status
from firmware_cfg.messages.base import Box
from firmware_cfg.messages.counts import Crossings
from firmware_cfg.messages.events import GeoPoint

if TYPE_CHECKING:
    from typing import Literal

    from edge.alerts.machine import Transition
    from edge.counting import PromptCounts
    from edge.geo.pose import Pose as CameraPose
    from edge.outbox.outbox import QueuedMessage
    from edge.pipeline import FrameResult
    from edge.prompts.bank import PromptBank

HISTORICAL_AFTER_S = 2.0
"""A message that waited longer than this for a connection is no news of the moment any more."""


@dataclass(frozen=True, slots=True)
class Session:
    """What stays the same from a start of the daemon to its end."""

    device: str
    session_id: str
    started_at: datetime
    boot_id: str
    bundle_sha256: str
    software: str


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """A frame without its pixels, and what looked at it."""

    number: int
    captured_at: datetime
    mono_ns: int
    size: tuple[int, int]
    precision: str
    bank: PromptBank
    pose: CameraPose | None = None

    @classmethod
    def of(cls, result: FrameResult) -> FrameFacts:
        """The facts of the frame that `result` is about."""
        frame = result.frame
        size = (frame.width, frame.height)
        return cls(
            frame.number, frame.captured_at, frame.mono_ns, size, result.precision, result.bank, frame.pose
        )


def status(
    session: Session, state: Literal["online", "stopped", "offline"], now: datetime, reason: str
) -> Status:
    """The body of the retained status, also of the last will."""
    return Status(
        device=session.device,
        sent_at=now,
        state=state,
        session_id=session.session_id,
        session_started_at=session.started_at,
        boot_id=session.boot_id,
        software=session.software,
        reason=reason,
    )


def event(
    session: Session,
    transition: Transition,
    frame: FrameFacts,
    *,
    event_id: str,
    seq: int,
    now: datetime,
    clock_synced: bool,
    evidence: str | None = None,
) -> Event:
    """The event of one transition, found in `frame`; `evidence` is the hash of the alert's picture."""
    bank = frame.bank
    prompt = bank.prompt_list.prompt(transition.prompt_id)
    threshold = bank.thresholds[prompt.id] if transition.threshold is None else transition.threshold
    points = tuple(map(told_point, transition.points))
    best = next((point for point in points if point is not None), None)
    return Event(
        device=session.device,
        sent_at=now,
        alert_id=transition.alert_id,
        event_id=event_id,
        msg_type=transition.kind,
        severity=transition.severity,
        urgency="past" if transition.kind == "clear" else "immediate",
        certainty=transition.certainty,
        seq=seq,
        boot_id=session.boot_id,
        observed_at=frame.captured_at,
        mono_ns=frame.mono_ns,
        clock_synced=clock_synced,
        frame=frame.number,
        prompt=prompt.id,
        prompt_text=prompt.text,
        prompt_list_sha256=bank.list_sha256,
        bundle_sha256=session.bundle_sha256,
        precision=frame.precision,
        score=_unit(transition.score),
        raw_score=transition.raw,
        threshold=_unit(threshold),
        count=transition.value,
        count_kind=transition.count_kind,
        frame_size=frame.size,
        boxes=tuple(_fractions(box, frame.size) for box in transition.boxes),
        track_ids=transition.track_ids,
        position=None if best is None else GeoPoint(coordinates=best[:2]),
        h_acc_m=None if best is None else best[2],
        points=points,
        pose=None if frame.pose is None else told_pose(frame.pose),
        evidence_sha256=evidence,
        reason=transition.reason,
    )


def clear_after_restart(
    session: Session,
    alert: Alert,
    *,
    event_id: str,
    seq: int,
    now: datetime,
    mono_ns: int,
    clock_synced: bool,
) -> Event:
    """The end of an alert that was active when an earlier run of the daemon broke off.

    No frame showed it: it is of the moment at which it is told, and for the rest has the alert's facts.
    """
    facts = {name: getattr(alert, name) for name in Event.model_fields if name != "msg_type"}
    facts |= {
        "device": session.device,
        "msg_type": "clear",
        "event_id": event_id,
        "seq": seq,
        "boot_id": session.boot_id,
        "sent_at": now,
        "observed_at": now,
        "mono_ns": mono_ns,
        "clock_synced": clock_synced,
        "urgency": "past",
        "reason": "restart",
    }
    return Event(**facts)


def counts(
    session: Session, prompt_id: str, numbers: PromptCounts, frame: FrameFacts, now: datetime
) -> Counts:
    """The latest numbers of one prompt."""
    bank = frame.bank
    crossings: dict[str, dict[str, int]] = {}
    for (line, direction), number in numbers.crossings.items():
        crossings.setdefault(line, {})[direction] = number
    return Counts(
        device=session.device,
        sent_at=now,
        prompt=prompt_id,
        kind=bank.prompt_list.prompt(prompt_id).kind,
        observed_at=frame.captured_at,
        frame=frame.number,
        count=numbers.count,
        unique=numbers.unique,
        score=_unit(numbers.score),
        threshold=_unit(bank.thresholds[prompt_id]),
        zones=dict(numbers.zones),
        crossings={line: Crossings.model_validate(ways) for line, ways in crossings.items()},
    )


def prompts_state(session: Session, bank: PromptBank, now: datetime) -> PromptsState:
    """The prompt list in force."""
    return PromptsState(
        device=session.device,
        sent_at=now,
        sha256=bank.list_sha256,
        applied_at=now,
        source=bank.source,
        prompts=tuple(
            PromptInUse(
                id=prompt.id,
                kind=prompt.kind,
                text=prompt.text,
                threshold=_unit(bank.thresholds[prompt.id]),
                threshold_from="null_bank" if prompt.threshold is None else "list",
            )
            for prompt in bank.prompt_list.prompts
        ),
        background=len(bank.prompt_list.background),
    )


def stamp(message: QueuedMessage, now: datetime) -> bytes:
    """What is sent of a queued message: with the true `sent_at`, and `historical` where it is no news.

    It is none when it was queued before the last start, or waited for a connection; how long is told by a
    clock that nobody sets. A payload that bears no `sent_at` (a picture, the end of a retained alert) stays.
    """
    late = message.waited_s is None or (message.backlog and message.waited_s > HISTORICAL_AFTER_S)
    payload = message.payload
    if not payload.startswith(b"{"):
        return payload
    body: dict[str, object] = json.loads(payload)
    if "sent_at" not in body:
        return payload
    body["sent_at"] = now.isoformat().replace("+00:00", "Z")
    if late and "historical" in body:
        body["historical"] = True
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _fractions(box: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    width, height = size
    left, top, right, bottom = box
    return _unit(left / width), _unit(top / height), _unit(right / width), _unit(bottom / height)


def _unit(value: float) -> float:
    return round(min(1.0, max(0.0, float(value))), 6)
