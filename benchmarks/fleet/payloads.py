"""What a drone says, made by edge.events, and filled in with the moment when it is said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal, cast

from edge import events
from edge.alerts.state import Transition
from edge.counting import PromptCounts
from edge.events import FrameFacts, Session
from edge.geo.pose import Pose, PoseAccuracy
from firmware_cfg.messages import Alert, Health, LatencyMs, Queued
from firmware_cfg.prompt_list import LoadedPromptList, PromptList, load_prompt_list
from firmware_cfg.rules import parse_rule
from firmware_cfg.topics import Topics

if TYPE_CHECKING:
    from pathlib import Path

    from edge.prompts.bank import PromptBank

Kind = Literal["raise", "update", "clear"]

_SENT, _SEEN = (datetime(year, 1, 1, tzinfo=timezone.utc) for year in (2001, 2002))
_SEQ, _MONO, _FRAME = 900_000_000_001, 900_000_000_002, 900_000_000_003
# What stands in a template where a message says something of its own.
_SLOTS = {
    b"2001-01-01T00:00:00Z": "sent_at",
    b"2002-01-01T00:00:00Z": "observed_at",
    b"the-event-id": "event_id",
    b"the-alert-id": "alert_id",
    str(_SEQ).encode(): "seq",
    str(_MONO).encode(): "mono_ns",
    str(_FRAME).encode(): "frame",
    b'"historical":false': "historical",
}
_SLOT = re.compile(b"(" + b"|".join(map(re.escape, _SLOTS)) + b")")


class Template:
    """A payload with slots: what pydantic takes tens of microseconds for is a join here."""

    def __init__(self, payload: bytes) -> None:
        self._pieces = _SLOT.split(payload)
        self._named = [(place, _SLOTS[self._pieces[place]]) for place in range(1, len(self._pieces), 2)]

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        """The payload with a value in each slot; `historical` is filled only where it is given."""
        pieces = self._pieces.copy()
        for place, name in self._named:
            pieces[place] = values.get(name, pieces[place])
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class _List:
    """What edge.events asks of a prompt bank; its rows are not needed to say what was found."""

    prompt_list: PromptList
    list_sha256: str
    thresholds: Mapping[str, float]
    source: Literal["file"] = "file"


class Script:
    """The payloads of one device: `status`, `prompts_state`, `health`, `counts` by topic, `event`, `alert`.

    Args:
        loaded: the prompt list that the whole fleet flies.
    """

    def __init__(self, device: str, loaded: LoadedPromptList) -> None:
        self.topics = Topics(device)
        self._session = Session(
            device=device,
            session_id=f"session-of-{device}",
            started_at=datetime.now(timezone.utc),
            boot_id=f"boot-of-{device}",
            bundle_sha256="0" * 64,
            software="remoteclip-edge benchmark",
        )
        prompts = loaded.model.prompts
        bank = _List(loaded.model, loaded.sha256, {prompt.id: 0.4 for prompt in prompts})
        self._bank = cast("PromptBank", bank)
        pose = Pose(52.1, 5.1, 80.0, 12.0, -90.0, 0.0, PoseAccuracy(1.5, 1.5, 2.0, 1.0))
        self._frame = FrameFacts(_FRAME, _SEEN, _MONO, (1280, 720), "int8", self._bank, pose)
        self.prompts_state = events.prompts_state(self._session, self._bank, _now()).to_payload()
        self.health = Template(self._health().to_payload())
        self.counts = {
            self.topics.counts(prompt.id).encode(): Template(self._counts(prompt.id)) for prompt in prompts
        }
        self.event: dict[Kind, Template] = {}
        self.alert: dict[Kind, Template] = {}
        for kind in ("raise", "update", "clear"):
            told = events.event(
                self._session,
                self._transition(kind),
                self._frame,
                event_id="the-event-id",
                seq=_SEQ,
                now=_SENT,
                clock_synced=True,
            )
            self.event[kind] = Template(told.to_payload())
            if kind != "clear":
                self.alert[kind] = Template(Alert.from_event(told, _SEEN).to_payload())

    def status(self, state: Literal["online", "stopped", "offline"]) -> bytes:
        """The body of the retained status, also of the last will."""
        return events.status(self._session, state, _now(), "").to_payload()

    def _counts(self, prompt: str) -> bytes:
        numbers = PromptCounts(count=3, unique=41, score=0.7123, raw=2.5)
        return events.counts(self._session, prompt, numbers, self._frame, _SENT).to_payload()

    def _health(self) -> Health:
        return Health(
            device=self.topics.device,
            sent_at=_SENT,
            uptime_s=3600.5,
            frames=90_000,
            fps=25.0,
            latency_ms=LatencyMs(p50=21.5, p95=28.0, p99=35.5),
            frame_age_s=0.021,
            queued=Queued(),
            engine="openvino",
            precision="int8",
            image_size=(640, 384),
            bundle_sha256="0" * 64,
            native=True,
            clock_synced=True,
            temperature_c=61.5,
            power_w=9.8,
            memory_mib=301.2,
        )

    def _transition(self, kind: Kind) -> Transition:
        """Of the first rule of the first prompt that has one, with three boxes on known ground."""
        prompt = next(each for each in self._bank.prompt_list.prompts if each.alerts)
        rule = parse_rule(prompt.alerts[0].when)
        boxes = ((100.0, 200.0, 140.0, 240.0), (300.0, 200.0, 350.0, 250.0), (700.0, 90.0, 760.0, 130.0))
        return Transition(
            kind=kind,
            alert_id="the-alert-id",
            prompt_id=prompt.id,
            rule_index=0,
            severity=prompt.alerts[0].severity,
            value=3.0,
            term=rule.terms[0],
            score=0.7123,
            raw=2.5,
            threshold=0.4,
            certainty="observed",
            boxes=boxes,
            track_ids=(11, 12, 15),
            reason=prompt.alerts[0].when,
            points=((5.1001, 52.1002, 4.5), (5.1003, 52.1001, 4.5), (5.1004, 52.1004, 5.0)),
        )


def load_fleet_list(path: Path) -> LoadedPromptList:
    """The list that the fleet flies. Raises ValueError for one without an alert."""
    loaded = load_prompt_list(path)
    if not any(prompt.alerts for prompt in loaded.model.prompts):
        raise ValueError(f"{path}: has no `alerts`, and alerts are what is measured (name another list)")
    return loaded


def _now() -> datetime:
    return datetime.now(timezone.utc)
