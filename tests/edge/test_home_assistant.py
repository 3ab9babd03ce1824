"""The discovery message by Home Assistant's rules; its templates rendered on messages as they are sent."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edge.events import Session
from edge.home_assistant import MOST_PROMPTS, discovery
from firmware_cfg.messages import Counts, Event, Health, LatencyMs, Message, Queued, Status
from firmware_cfg.prompt_list import PromptList, load_prompt_bytes
from firmware_cfg.topics import Topics

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
HASH = "a" * 64
SESSION = Session("drone-7", "s1", NOON, "b1", HASH, "1.2.3")
PROMPTS = b"prompts: [{id: red, text: red}, {id: haze, kind: scene, text: haze}]"
# Home Assistant: homeassistant/components/mqtt/discovery.py and schemas.py
TOPIC = re.compile(r"homeassistant/device/(?:([a-zA-Z0-9_-]+)/)?([a-zA-Z0-9_-]+)/config")
TOP_LEVEL = {"device", "origin", "components", "availability", "qos"}


def prompts(text: bytes = PROMPTS) -> PromptList:
    return load_prompt_bytes(text, "test").model


def config(**more: Any) -> dict[str, Any]:
    return dict(json.loads(discovery(SESSION, prompts(), **more)[1]))


def render(template: str, message: Message) -> str:
    """As Home Assistant does: strict JSON in, text out."""
    environment = ImmutableSandboxedEnvironment()
    return environment.from_string(template).render(value_json=json.loads(message.to_payload())).strip()


def state(key: str, message: Message) -> str:
    return render(config()["components"][key]["value_template"], message)


def make_health(**changes: Any) -> Health:
    facts: dict[str, Any] = {
        "device": "drone-7",
        "sent_at": NOON,
        "uptime_s": 9,
        "frames": 5,
        "fps": 28.5,
        "engine": "openvino",
        "precision": "int8",
        "bundle_sha256": HASH,
        "native": True,
        "clock_synced": True,
    }
    return Health(**{**facts, **changes})


def make_event(**changes: Any) -> Event:
    facts: dict[str, Any] = {
        "device": "drone-7",
        "sent_at": NOON,
        "alert_id": "a1",
        "event_id": "e1",
        "msg_type": "raise",
        "severity": "critical",
        "urgency": "immediate",
        "certainty": "observed",
        "seq": 1,
        "boot_id": "b1",
        "observed_at": NOON,
        "mono_ns": 5,
        "clock_synced": True,
        "frame": 12,
        "prompt": "red",
        "prompt_text": ('it\'s a "red" <car>\nof ours',),
        "prompt_list_sha256": HASH,
        "bundle_sha256": HASH,
        "precision": "fp32",
        "score": 0.7,
        "raw_score": 1.0,
        "threshold": 0.5,
        "count": 2,
        "count_kind": "count",
        "frame_size": (64, 64),
        "reason": 'count >= 1 and it\'s "so"',
    }
    return Event(**{**facts, **changes})


def test_the_message_is_what_home_assistant_takes() -> None:
    topic, payload = discovery(SESSION, prompts())
    match = TOPIC.fullmatch(topic)
    assert match is not None
    assert match.groups() == ("remoteclip", "drone-7")
    body = json.loads(payload)
    assert set(body) == TOP_LEVEL  # it refuses a message with any other key
    assert body["device"]["identifiers"] == ["remoteclip_drone-7"]
    assert body["origin"] == {"name": "remoteclip-edge", "sw_version": "1.2.3"}
    identities = [component["unique_id"] for component in body["components"].values()]
    assert len(set(identities)) == len(identities)
    for component in body["components"].values():
        assert component["platform"] in ("sensor", "binary_sensor", "event")
        parsed = Topics.parse(component["state_topic"])
        assert parsed is not None
        assert parsed.device == "drone-7"
        assert component["name"]


def test_another_prefix_is_used_as_it_is() -> None:
    assert discovery(SESSION, prompts(), prefix="home/ha")[0] == "home/ha/device/remoteclip/drone-7/config"


def test_each_prompt_has_its_numbers_and_a_scene_its_score_only() -> None:
    counts = Counts(
        device="drone-7", sent_at=NOON, prompt="red", observed_at=NOON, frame=1, count=3, score=0.5
    )
    assert (state("prompt_red_count", counts), state("prompt_red_unique", counts)) == ("3", "0")
    assert state("prompt_red_score", counts) == "0.5"
    components = config()["components"]
    assert components["prompt_red_count"]["state_topic"] == "remoteclip/1/drone-7/counts/red"
    assert {key for key in components if key.startswith("prompt_haze")} == {"prompt_haze_score"}


@pytest.mark.parametrize(
    ("told", "shown"), [("online", "online"), ("stopped", "offline"), ("offline", "offline")]
)
def test_it_is_there_while_its_status_says_so(told: Any, shown: str) -> None:
    (availability,) = config()["availability"]
    status = Status(
        device="drone-7", sent_at=NOON, state=told, session_id="s", session_started_at=NOON, boot_id="b"
    )
    assert availability["topic"] == "remoteclip/1/drone-7/status"
    assert render(availability["value_template"], status) == shown


def test_an_event_is_told_with_its_facts_and_a_late_one_is_not() -> None:
    facts = json.loads(state("alert", make_event()))
    assert facts.pop("event_type") in config()["components"]["alert"]["event_types"]
    assert facts == {
        "prompt": "red",
        "severity": "critical",
        "count": 2,
        "score": 0.7,
        "certainty": "observed",
        "reason": 'count >= 1 and it\'s "so"',
        "alert_id": "a1",
    }
    assert state("alert", make_event(historical=True)) == ""


def test_health_tells_whether_an_alert_is_active() -> None:
    assert state("alert_active", make_health(alerts_active=2)) == "ON"
    assert state("alert_active", make_health()) == "OFF"


def test_diagnostics_show_what_is_known_and_unknown_for_the_rest() -> None:
    full = make_health(
        latency_ms=LatencyMs(p50=1, p95=2.5, p99=3),
        dropped=4,
        queued=Queued(alert=1, update=2, telemetry=3),
        temperature_c=51.5,
        power_w=7.5,
        memory_mib=300.5,
    )
    keys = [key for key in config()["components"] if key.startswith("health_")]
    assert [state(key, full) for key in keys] == ["28.5", "2.5", "4", "6", "51.5", "7.5", "300.5"]
    # Home Assistant reads "None" as unknown.
    assert [state(key, make_health()) for key in keys] == ["28.5", "None", "0", "0", "None", "None", "None"]
    assert {config()["components"][key]["entity_category"] for key in keys} == {"diagnostic"}


def test_prompts_that_are_gone_take_their_entities_with_them() -> None:
    components = config(gone=["old", "red"])["components"]
    assert components["prompt_old_count"] == {"platform": "sensor"}
    assert components["prompt_old_score"] == {"platform": "sensor"}
    assert components["prompt_red_count"]["name"] == "red count"  # it is in the list all the same


def test_a_long_list_is_cut() -> None:
    many = ", ".join(f"{{id: p{number}, text: thing {number}}}" for number in range(MOST_PROMPTS + 5))
    _, payload = discovery(SESSION, prompts(f"prompts: [{many}]".encode()))
    shown = {key for key in json.loads(payload)["components"] if key.endswith("_count")}
    assert len(shown) == MOST_PROMPTS
    assert len(payload) < 128 * 1024
