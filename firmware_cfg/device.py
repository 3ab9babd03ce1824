"""Device files: which camera, which model, which prompts and which broker one drone uses."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from firmware_cfg.base import (
    ConfigModel,
    Duration,
    ExistingFile,
    Identifier,
    ImageSize,
    SecretFile,
    WrittenPath,
    between,
    is_of_this_tree,
    resolve_path,
)
from firmware_cfg.broker_url import parse_broker_url
from firmware_cfg.located_yaml import load_model
from firmware_cfg.problems import Finding, must, raise_findings, stated

DEFAULT_BUNDLE = "default"
#: The demo's virtual flight, instead of a camera or file.
DEMO_SOURCE = "demo"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def _source_uri(value: str, info: ValidationInfo) -> str:
    if not value.strip() or not value.isprintable():
        raise must("name a source", "a video file, an image folder, or demo")
    if value == DEMO_SOURCE or _SCHEME.match(value):
        return value
    return str(resolve_path(value, info))


def _bundle(value: str, info: ValidationInfo) -> str:
    if value == DEFAULT_BUNDLE:
        return value
    path = resolve_path(value, info)
    if is_of_this_tree(value) and path.is_absolute() and not path.exists():
        raise must("be default, or name a bundle that exists", f"looked for {path}")
    return str(path)


def _broker(value: str) -> str:
    try:
        return str(parse_broker_url(value))
    except ValueError as error:
        mend = (
            "use username and password_env or password_file" if "@" in value else "the port may be left out"
        )
        # The value is not repeated by a `must`: it may hold a password.
        raise stated(f"url must {error}", mend) from error


def _environment_name(value: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) is None:
        raise must("be the name of an environment variable", "the name, not the password itself")
    return value


def _default_prompts() -> Path:
    return Path(__file__).parent / "prompts" / "traffic.yaml"


def _default_state_dir(data: dict[str, Any]) -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    # A wrong device is an error of its own; older pydantic asks for this default all the same.
    return Path(base, "remoteclip", data.get("device", ""))


class Source(ConfigModel):
    """Where the frames come from."""

    uri: Annotated[str, AfterValidator(_source_uri)] = Field(
        description="A video file, an image or image folder, or `demo` for the virtual flight."
    )
    sequence: bool = Field(False, description="An image folder is one flight in order, not unrelated images.")
    realtime: bool = Field(False, description="Play a file at its own speed instead of as fast as possible.")
    drop: Literal["auto", "oldest", "never"] = Field(
        "auto",
        description="When the model is too slow: auto drops frames of live sources, never those of files.",
    )


class Engine(ConfigModel):
    """What runs the model."""

    habit_mends: ClassVar[dict[str, str]] = {
        "device": "name the engine: openvino, onnxruntime or tensorrt",
        "workspace": "use workspace_mib: 1024, for example",
    }

    name: Literal["openvino", "onnxruntime", "tensorrt", "onnxruntime-cuda", "onnxruntime-tensorrt"] = Field(
        "openvino",
        description="Inference engine. tensorrt needs TensorRT and pycuda; onnxruntime-cuda and"
        " onnxruntime-tensorrt need onnxruntime-gpu.",
    )
    precision: Literal["auto", "fp32", "fp16", "int8"] = Field(
        "auto",
        description="auto: the fastest variant of the bundle that passed its accuracy gate on this engine.",
    )
    threads: Annotated[int, between(1, 256)] | None = Field(
        None, description="CPU threads; default: the engine's."
    )
    image_size: ImageSize | None = Field(
        None,
        description="Model input [width, height]; default: the prompt list's, else the bundle's best.",
    )
    workspace_mib: Annotated[int, between(16, 1 << 20)] | None = Field(
        None,
        description="Most GPU memory, in MiB, that TensorRT may use for scratch; default: all there is.",
    )

    @model_validator(mode="after")
    def _workspace_is_tensorrts(self) -> Engine:
        if self.workspace_mib is not None and self.name != "tensorrt":
            error = stated("only the engine tensorrt has a workspace", "name: tensorrt, or leave it out")
            raise_findings("Engine", [Finding(("workspace_mib",), error)])
        return self


class Tls(ConfigModel):
    """Certificates, as PEM files."""

    ca: ExistingFile | None = Field(
        None, description="Authority that signed the broker; default: the system's."
    )
    cert: ExistingFile | None = Field(
        None, description="This device's certificate, for brokers that ask for one."
    )
    key: ExistingFile | None = Field(None, description="Private key of `cert`.")

    @model_validator(mode="after")
    def _cert_and_key_go_together(self) -> Tls:
        if (self.cert is None) != (self.key is None):
            given, missing = ("key", "cert") if self.cert is None else ("cert", "key")
            raise_findings("Tls", [Finding((given,), stated(f"{given} needs {missing} beside it"))])
        return self


class Mqtt(ConfigModel):
    """The broker. Passwords come from the environment or a file of their own, never from this file."""

    habit_mends: ClassVar[dict[str, str]] = {
        "password": "passwords do not belong into this file: use password_env or password_file",
        "host": "use url: mqtt://HOST:PORT",
        "port": "use url: mqtt://HOST:PORT",
        "broker": "use url: mqtt://HOST:PORT",
    }

    url: Annotated[str, AfterValidator(_broker)] = Field(
        "mqtt://127.0.0.1:1883", description="mqtt://HOST:PORT, or mqtts://HOST:PORT for TLS."
    )
    username: str | None = Field(None, description="User name at the broker.")
    password_env: Annotated[str, AfterValidator(_environment_name)] | None = Field(
        None, description="Environment variable that holds the password."
    )
    password_file: SecretFile | None = Field(None, description="File whose first line is the password.")
    tls: Tls | None = Field(None, description="Certificates for mqtts.")
    keepalive: Duration = Field(30.0, description="The broker notices a lost drone after 1.5 times this.")

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Mqtt:
        found = []
        if self.password_env is not None and self.password_file is not None:
            found.append(Finding(("password_file",), stated("password_env is given too", "keep one of them")))
        password = "password_env" if self.password_env is not None else "password_file"
        if self.username is None and getattr(self, password) is not None:
            found.append(Finding((password,), stated("a password needs a username beside it")))
        if self.tls is not None and not parse_broker_url(self.url).tls:
            found.append(Finding(("tls",), stated("tls needs a url that begins with mqtts://")))
        if not 5 <= self.keepalive <= 3600:
            found.append(Finding(("keepalive",), stated("keepalive must be between 5s and 1h")))
        raise_findings("Mqtt", found)
        return self


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
    bundle: Annotated[str, AfterValidator(_bundle)] = Field(
        DEFAULT_BUNDLE,
        description="Model bundle: a folder, or `default` for the one that ships with the package.",
    )
    prompts: ExistingFile = Field(default_factory=_default_prompts, description="Prompt list file.")
    engine: Engine = Field(Engine(), description="What runs the model.")
    mqtt: Mqtt = Field(Mqtt(), description="The broker.")
    state_dir: WrittenPath = Field(
        default_factory=_default_state_dir,
        description="Where unsent messages wait; default: ~/.local/state/remoteclip/<device>.",
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
        if not 0.1 <= self.counts_interval <= 3600:
            found.append(
                Finding(("counts_interval",), stated("counts_interval must be between 100ms and 1h"))
            )
        raise_findings("DeviceFile", found)
        return self


def load_device(path: str | Path) -> DeviceFile:
    """Read a device file. Raises ConfigErrors. Relative paths in it are taken from its own folder."""
    return load_model(path, DeviceFile)
