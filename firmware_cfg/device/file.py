"""The whole device file: its sections, and what has to fit together between them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from firmware_cfg.base import (
    ConfigModel,
    Duration,
    ExistingFile,
    Identifier,
    WrittenPath,
    is_of_this_tree,
    resolve_path,
)
from firmware_cfg.device.camera import Camera
from firmware_cfg.device.engine import Engine
from firmware_cfg.device.mqtt import Mqtt
from firmware_cfg.device.record import Record
from firmware_cfg.device.records import Evidence, Outbox
from firmware_cfg.device.reporting import HomeAssistant, Metrics
from firmware_cfg.device.source import Source
from firmware_cfg.device.telemetry import Telemetry
from firmware_cfg.located_yaml import load_model
from firmware_cfg.problems import Finding, must, raise_findings, stated

DEFAULT_BUNDLE = "default"


def _bundle(value: str, info: ValidationInfo) -> str:
    return value if value == DEFAULT_BUNDLE else str(resolve_path(value, info))


def _existing_bundle(value: str, info: ValidationInfo) -> str:
    path = Path(_bundle(value, info))
    if value != DEFAULT_BUNDLE and is_of_this_tree(value) and path.is_absolute() and not path.exists():
        mend = f"looked for {path}; remoteclip bundle install makes slots there"
        raise must("be default, or name a bundle that exists", mend)
    return str(path)


def _default_prompts() -> Path:
    return Path(__file__).parents[1] / "prompts" / "traffic.yaml"


def _default_state_dir(data: dict[str, Any]) -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    # A wrong device is an error of its own; older pydantic asks for this default all the same.
    return Path(base, "remoteclip", data.get("device", ""))


class DeviceFile(ConfigModel):
    """A whole device file. After `load_device` every path in it is absolute."""

    habit_mends: ClassVar[dict[str, str]] = {
        "id": "the drone's name is `device`",
        "name": "the drone's name is `device`",
        "broker": "use mqtt: {url: ...}",
        "model": "the model is `bundle`",
    }

    version: Literal[1] = Field(1, description="Version of this format.")
    device: Identifier = Field(description="Name of the drone; it becomes part of every MQTT topic.")
    source: Source = Field(description="Where the frames come from.")
    camera: Camera | None = Field(None, description="The lens and its mount; positions need it.")
    telemetry: Telemetry | None = Field(
        None, description="Where the drone is and how it hangs in the air; without it no position is told."
    )
    bundle: Annotated[str, AfterValidator(_existing_bundle)] = Field(
        DEFAULT_BUNDLE,
        description="Model bundle: a folder, a folder of slots (remoteclip bundle install), or `default` for"
        " the one that ships with the package.",
    )
    prompts: ExistingFile = Field(default_factory=_default_prompts, description="Prompt list file.")
    engine: Engine = Field(Engine(), description="What runs the model.")
    mqtt: Mqtt = Field(Mqtt(), description="The broker.")
    outbox: Outbox = Field(Outbox(), description="What waits for the broker.")
    evidence: Evidence = Field(Evidence(), description="Pictures of what raised an alert.")
    record: Record | None = Field(
        None, description="Keep each flight for search and changes; without it none is."
    )
    metrics: Metrics | None = Field(None, description="Endpoint for Prometheus; without it there is none.")
    home_assistant: HomeAssistant | None = Field(
        None, description="Announce the drone to Home Assistant; without it nothing is."
    )
    state_dir: WrittenPath = Field(
        default_factory=_default_state_dir,
        description="Where unsent messages, pictures and earlier prompt lists are kept;"
        " default: ~/.local/state/remoteclip/<device>.",
    )
    require_signature: bool = Field(False, description="Refuse a bundle that no trusted key has signed.")
    trusted_keys: tuple[ExistingFile, ...] = Field(
        (), description="Ed25519 public keys (PEM) that may sign bundles."
    )
    counts_interval: Duration = Field(1.0, description="How often counts are published.")

    @model_validator(mode="after")
    def _fields_fit_together(self) -> DeviceFile:
        found = []
        if self.require_signature and not self.trusted_keys:
            error = stated(
                "require_signature needs trusted_keys", "list the public keys that may sign bundles"
            )
            found.append(Finding(("require_signature",), error))
        if self.require_signature and self.bundle == DEFAULT_BUNDLE:
            error = stated(
                "the default bundle is not signed", "sign it with your key and name its folder here"
            )
            found.append(Finding(("bundle",), error))
        if self.telemetry is not None and self.camera is None:
            error = stated("telemetry needs a camera section beside it", "camera: {hfov_deg: 69}")
            found.append(Finding(("telemetry",), error))
        if not 0.1 <= self.counts_interval <= 3600:
            found.append(
                Finding(("counts_interval",), stated("counts_interval must be between 100ms and 1h"))
            )
        raise_findings("DeviceFile", found)
        return self


class _BeforeInstall(DeviceFile):
    """A device file whose `bundle` the first install makes."""

    bundle: Annotated[str, AfterValidator(_bundle)] = DEFAULT_BUNDLE


def load_device(path: str | Path, *, bundle_must_exist: bool = True) -> DeviceFile:
    """Read a device file. Raises ConfigErrors. Relative paths in it are taken from its own folder."""
    return load_model(path, DeviceFile if bundle_must_exist else _BeforeInstall)
