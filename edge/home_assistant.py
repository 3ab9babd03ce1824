"""MQTT discovery for Home Assistant: one retained message that describes a drone and all that it counts.

The entities read the topics that are there anyway; nothing else is published for them.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge.events import Session
from edge.files import write_atomically
from firmware_cfg.prompt_list import Prompt, PromptList
from firmware_cfg.topics import Topics

log = logging.getLogger(__name__)

MOST_PROMPTS = 100
"""Prompts of a longer list beyond these are left out: three entities each are enough for one device."""
MOST_GONE = 3 * MOST_PROMPTS
"""Entities that are told to be gone; of more than these the oldest are forgotten."""
MEMORY_NAME = "home_assistant.json"
"""In the state folder: the entities that were ever described, oldest first."""
_NAME = "remoteclip-edge"
_PROMPT_KEY = re.compile(r"prompt_.+_(?:count|unique|score)")

Component = dict[str, Any]

# Late events are no news: no automation shall switch a lamp on for what happened before the link came back.
_EVENT = (
    "{% if not value_json.historical %}"
    "{{ {'event_type': value_json.msg_type, 'prompt': value_json.prompt, 'severity': value_json.severity,"
    " 'count': value_json.count, 'score': value_json.score, 'certainty': value_json.certainty,"
    " 'reason': value_json.reason, 'alert_id': value_json.alert_id} | tojson }}"
    "{% endif %}"
)


class Announcer:
    """Makes the discovery message for each list that comes into use.

    Home Assistant keeps an entity until a message says that it is gone, and may have missed any number of
    lists, or runs of the daemon. So what was described is remembered in a file, and each message names all
    that is gone. A file that cannot be read or written is a warning: some entities may stay for good.
    """

    def __init__(self, session: Session, prefix: str, state_dir: Path) -> None:
        self._session = session
        self._prefix = prefix
        self._path = state_dir / MEMORY_NAME
        self._described = self._remembered()

    def message(self, prompt_list: PromptList) -> tuple[str, bytes]:
        """The topic and the payload for this list; see `discovery`."""
        now = _prompts_components(Topics(self._session.device), prompt_list)
        gone = [key for key in self._described if key not in now][-MOST_GONE:]
        described = [*gone, *now]
        if described != self._described:
            self._described = described
            self._remember()
        return discovery(self._session, prompt_list, prefix=self._prefix, gone=gone)

    def _remembered(self) -> list[str]:
        try:
            keys = json.loads(self._path.read_bytes())[self._session.device]
            return [key for key in keys if isinstance(key, str) and _PROMPT_KEY.fullmatch(key)]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            log.warning("%s: cannot be read: %r", self._path, error)
            return []

    def _remember(self) -> None:
        try:
            write_atomically(self._path, json.dumps({self._session.device: self._described}).encode())
        except OSError as error:
            log.warning("%s: cannot be written: %s", self._path, error.strerror)


def discovery(
    session: Session, prompt_list: PromptList, *, prefix: str = "homeassistant", gone: Iterable[str] = ()
) -> tuple[str, bytes]:
    """The topic and the payload of the discovery message, to be published retained.

    Args:
        session: names the drone and its software.
        prompt_list: what it looks for; send the message again when another list comes into use.
        prefix: Home Assistant's discovery prefix.
        gone: keys of components that earlier messages had; those that this list has not go.
    """
    device = session.device
    topics = Topics(device)
    components = _device_components(topics) | _prompts_components(topics, prompt_list)
    for key in gone:
        components.setdefault(key, {"platform": "sensor"})  # a component without anything else is removed
    for key, component in components.items():
        if len(component) > 1:
            component["unique_id"] = f"remoteclip_{device}_{key}"
    body = {
        "device": {
            "identifiers": [f"remoteclip_{device}"],
            "name": device,
            "manufacturer": _NAME,
            "model": "open-vocabulary counter",
            "sw_version": session.software,
        },
        "origin": {"name": _NAME, "sw_version": session.software},
        "availability": [
            {
                "topic": topics.status,
                # "stopped" is as far away as "offline".
                "value_template": "{{ 'online' if value_json.state == 'online' else 'offline' }}",
            }
        ],
        "qos": 1,
        "components": components,
    }
    payload = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    return f"{prefix}/device/remoteclip/{device}/config", payload


def _prompts_components(topics: Topics, prompt_list: PromptList) -> dict[str, Component]:
    found: dict[str, Component] = {}
    for prompt in prompt_list.prompts[:MOST_PROMPTS]:
        found |= _prompt_components(topics, prompt)
    return found


def _prompt_components(topics: Topics, prompt: Prompt) -> dict[str, Component]:
    def sensor(what: str, **more: object) -> Component:
        return {
            "platform": "sensor",
            "name": f"{prompt.id} {what}",
            "state_topic": topics.counts(prompt.id),
            "value_template": f"{{{{ value_json.{what} }}}}",
            **more,
        }

    found = {"score": sensor("score", state_class="measurement", suggested_display_precision=2)}
    if prompt.kind == "object":
        found["count"] = sensor("count", state_class="measurement")
        found["unique"] = sensor("unique", state_class="total_increasing")
    return {f"prompt_{prompt.id}_{what}": component for what, component in found.items()}


def _device_components(topics: Topics) -> dict[str, Component]:
    def health(platform: str, name: str, template: str, **more: object) -> Component:
        return {
            "platform": platform,
            "name": name,
            "state_topic": topics.health,
            "value_template": f"{{{{ {template} }}}}",
            **more,
        }

    def diagnostic(name: str, template: str, **more: object) -> Component:
        more = {"state_class": "measurement", "entity_category": "diagnostic"} | more
        return health("sensor", name, template, **more)

    # With a dot `update` would be the method of a dict.
    kinds = (f"value_json.queued['{kind}']" for kind in ("alert", "update", "telemetry"))
    return {
        "alert": {
            "platform": "event",
            "name": "alert",
            "state_topic": topics.events,
            "event_types": ["raise", "update", "clear"],
            "value_template": _EVENT,
        },
        "alert_active": health(
            "binary_sensor",
            "alert active",
            "'ON' if value_json.alerts_active else 'OFF'",
            device_class="problem",
        ),
        "health_fps": diagnostic("frame rate", "value_json.fps", unit_of_measurement="fps"),
        "health_latency": diagnostic(
            "latency",
            "value_json.latency_ms.p95 if value_json.latency_ms else None",
            device_class="duration",
            unit_of_measurement="ms",
        ),
        "health_dropped": diagnostic("dropped frames", "value_json.dropped", state_class="total_increasing"),
        "health_queued": diagnostic("waiting messages", " + ".join(kinds)),
        "health_temperature": diagnostic(
            "temperature",
            "value_json.temperature_c",
            device_class="temperature",
            unit_of_measurement="°C",
        ),
        "health_power": diagnostic(
            "power", "value_json.power_w", device_class="power", unit_of_measurement="W"
        ),
        "health_memory": diagnostic(
            "memory", "value_json.memory_mib", device_class="data_size", unit_of_measurement="MiB"
        ),
    }
