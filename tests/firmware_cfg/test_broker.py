"""The broker's configuration, as text; tests/system/test_mqtt_control_room.py starts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from firmware_cfg.broker import FOLDER, broker_files
from firmware_cfg.topics import Topics


def options(config: Path) -> list[str]:
    return config.read_text().splitlines()


def shipped(name: str) -> list[str]:
    lines = [line.strip() for line in (FOLDER / name).read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("login", ["certificates", "passwords"])
def test_a_copy_differs_from_what_is_shipped_by_paths_port_and_changes_alone(
    tmp_path: Path, login: Any
) -> None:
    config = broker_files(tmp_path, port=1899, login=login, changes=["autosave_interval 1", "log_type all"])
    lines = set(options(config))
    original = {*shipped("mosquitto.conf"), *shipped(f"listeners/{login}.conf")}
    here = {line.replace("/etc/mosquitto/", f"{tmp_path}/") for line in original}
    assert lines - here == {
        "listener 1899 127.0.0.1",
        f"persistence_location {tmp_path}/data/",
        "autosave_interval 1",
        "log_type all",
    }
    assert {line.split()[0] for line in here - lines} == {
        "listener",
        "persistence_location",
        "autosave_interval",
        "log_type",
        "include_dir",
    }
    assert (tmp_path / "acl").read_bytes() == (FOLDER / "acl").read_bytes()


def test_options_of_the_listener_follow_it(tmp_path: Path) -> None:
    lines = options(broker_files(tmp_path, port=1899, login="certificates", listener=["max_connections 3"]))
    listener = lines.index("listener 1899 127.0.0.1")
    for option in ("cafile", "certfile", "keyfile", "require_certificate", "max_connections"):
        assert [number > listener for number, line in enumerate(lines) if line.startswith(option)] == [True]


def test_without_a_login_there_is_neither_acl_nor_tls(tmp_path: Path) -> None:
    lines = options(broker_files(tmp_path, port=1899))
    assert "allow_anonymous true" in lines
    assert not [line for line in lines if line.startswith(("acl_file", "allow_anonymous false", "cafile"))]


def test_certificates_without_tls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="certificates need TLS"):
        broker_files(tmp_path, port=1899, login="certificates", tls=False)


def test_the_acl_lets_a_device_hear_all_that_it_subscribes_to() -> None:
    readable = {
        line.split()[2] for line in shipped("acl") if line.startswith(("pattern read ", "pattern readw"))
    }
    topics = Topics("drone")
    wanted = {*topics.requests, *topics.left_behind}
    assert {topic.replace("%u", "drone") for topic in readable} == wanted


def test_every_user_name_in_a_pattern_is_a_whole_level() -> None:
    patterns = [line.split()[2] for line in shipped("acl") if line.startswith("pattern")]
    assert patterns
    for pattern in patterns:
        assert pattern.split("/").count("%u") == pattern.count("%") == 1
