"""The discovery message by Home Assistant's rules; its templates rendered on messages as they are sent."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edge.events import Session
from edge.home_assistant import MEMORY_NAME, MOST_GONE, MOST_PROMPTS, Announcer, discovery
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


def announced(state_dir: Path, *lists: bytes) -> dict[str, Any]:
    """The components in the last message of a run that flies these lists, one after another."""
    announcer = Announcer(SESSION, "homeassistant", state_dir)
    payload = b""
    for text in lists:
        _, payload = announcer.message(prompts(text))
    return dict(json.loads(payload)["components"])


def removed(components: dict[str, Any]) -> set[str]:
    """Home Assistant removes a component that is nothing but a platform."""
    return {key for key, component in components.items() if component == {"platform": "sensor"}}


def shown(components: dict[str, Any]) -> set[str]:
    return {key for key in components if key.startswith("prompt_")} - removed(components)


RED = b"prompts: [{id: red, text: red}]"
OLD = b"prompts: [{id: old, text: old}, {id: red, text: red}]"
OLD_KEYS = {"prompt_old_count", "prompt_old_unique", "prompt_old_score"}
RED_KEYS = {"prompt_red_count", "prompt_red_unique", "prompt_red_score"}


def test_prompts_that_are_gone_take_their_entities_with_them(tmp_path: Path) -> None:
    components = announced(tmp_path, OLD, RED)
    assert (shown(components), removed(components)) == (RED_KEYS, OLD_KEYS)
    assert removed(announced(tmp_path, OLD)) == set()


def test_a_message_that_home_assistant_missed_is_made_up_for_by_the_next(tmp_path: Path) -> None:
    blue = b"prompts: [{id: blue, text: blue}]"
    assert removed(announced(tmp_path, OLD, RED, blue)) == OLD_KEYS | RED_KEYS


def test_a_list_that_changed_while_the_daemon_was_down_is_noticed(tmp_path: Path) -> None:
    announced(tmp_path, OLD)
    assert removed(announced(tmp_path, RED)) == OLD_KEYS
    assert removed(announced(tmp_path, RED)) == OLD_KEYS  # the first may never have been sent


def test_an_object_that_became_a_scene_keeps_its_score_only(tmp_path: Path) -> None:
    components = announced(tmp_path, RED, b"prompts: [{id: red, kind: scene, text: red}]")
    assert removed(components) == {"prompt_red_count", "prompt_red_unique"}
    assert shown(components) == {"prompt_red_score"}


def test_a_prompt_that_drops_behind_the_first_hundred_goes(tmp_path: Path) -> None:
    many = [f"{{id: p{number}, text: thing {number}}}" for number in range(MOST_PROMPTS)]
    first, last = ", ".join(["{id: red, text: red}", *many]), ", ".join([*many, "{id: red, text: red}"])
    lists = [f"prompts: [{text}]".encode() for text in (first, last)]
    assert removed(announced(tmp_path, *lists)) == RED_KEYS


def test_what_is_remembered_has_a_bound(tmp_path: Path) -> None:
    lists = []
    for generation in range(5):
        many = ", ".join(f"{{id: g{generation}-{number}, text: thing}}" for number in range(MOST_PROMPTS))
        lists.append(f"prompts: [{many}]".encode())
    components = announced(tmp_path, *lists)
    assert {key.split("-")[0] for key in removed(components)} == {"prompt_g3"}
    assert len(removed(components)) == MOST_GONE


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"other": []}', b'{"drone-7": 5}', b'{"drone-7": [5, "alert"]}']
)
def test_a_damaged_memory_costs_no_flight(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / MEMORY_NAME).write_bytes(content)
    components = announced(tmp_path, RED)
    assert (shown(components), removed(components)) == (RED_KEYS, set())
    assert components["alert"]["platform"] == "event"
    assert removed(announced(tmp_path, OLD, RED)) == OLD_KEYS


def test_a_memory_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert removed(announced(tmp_path / "gone", OLD, RED)) == OLD_KEYS
    assert f"{tmp_path / 'gone' / MEMORY_NAME}: cannot be written: No such file or directory" in caplog.text


def test_a_long_list_is_cut() -> None:
    many = ", ".join(f"{{id: p{number}, text: thing {number}}}" for number in range(MOST_PROMPTS + 5))
    _, payload = discovery(SESSION, prompts(f"prompts: [{many}]".encode()))
    shown = {key for key in json.loads(payload)["components"] if key.endswith("_count")}
    assert len(shown) == MOST_PROMPTS
    assert len(payload) < 128 * 1024
