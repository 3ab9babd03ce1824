"""The `mqtt` section of a device file."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from firmware_cfg.base import ConfigModel, Duration, ExistingFile, SecretFile, between
from firmware_cfg.broker_url import parse_broker_url
from firmware_cfg.problems import Finding, must, raise_findings, stated


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
    backlog_rate: Annotated[float, between(1, 1000)] = Field(
        50.0, description="Messages a second of what waited for the broker; what is new is not held back."
    )

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
