"""The sections `metrics` and `home_assistant` of a device file: who else is told how the drone is doing."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from firmware_cfg.base import ConfigModel, between
from firmware_cfg.problems import must


def _ip_address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError as error:
        raise must("be an IP address", "127.0.0.1 for this device only, 0.0.0.0 for every network") from error


def _topic_prefix(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", value) is None:
        raise must("be a topic such as homeassistant", "use letters, digits, _ and -, levels divided by /")
    return value


class Metrics(ConfigModel):
    """An HTTP endpoint for Prometheus."""

    port: Annotated[int, between(1, 65535)] = Field(9464, description="TCP port of /metrics.")
    address: Annotated[str, AfterValidator(_ip_address)] = Field(
        "127.0.0.1", description="Address to listen on; it is open to whoever reaches it."
    )


class HomeAssistant(ConfigModel):
    """MQTT discovery for Home Assistant."""

    prefix: Annotated[str, AfterValidator(_topic_prefix)] = Field(
        "homeassistant", description="Home Assistant's discovery prefix."
    )
