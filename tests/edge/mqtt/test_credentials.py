"""Login files that change on disk, without a broker; tests/system/test_mqtt_tls.py has one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.mqtt.credentials import Credentials
from edge.mqtt.refusals import DialError, LoginError, VersionError, unreachable
from edge.mqtt.settings import BrokerSettings
from firmware_cfg.broker_url import parse_broker_url

ADDRESS = parse_broker_url("mqtt://broker.example")
NOW = 0.0  # an interval: every look is due


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("first\n")
    return path


@pytest.fixture
def credentials(password: Path) -> Credentials:
    return Credentials(BrokerSettings(ADDRESS, username="drone", password_file=password), NOW)


def test_what_has_not_changed_is_not_new(credentials: Credentials) -> None:
    assert [credentials.renewed() for _ in range(3)] == [False] * 3


def test_a_file_that_changed_is_new_once_it_stands_still(credentials: Credentials, password: Path) -> None:
    password.write_text("second, half writ")
    assert not credentials.renewed()
    password.write_text("second, all written\n")
    assert not credentials.renewed()
    assert credentials.renewed()
    credentials.used()
    assert [credentials.renewed() for _ in range(3)] == [False] * 3


def test_a_file_of_the_same_size_that_was_put_in_its_place_is_new(
    credentials: Credentials, password: Path, tmp_path: Path
) -> None:
    before = password.stat()
    (tmp_path / "new").write_text("other\n")
    os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "new").rename(password)
    assert [credentials.renewed() for _ in range(2)] == [False, True]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", None])
def test_what_cannot_be_used_is_one_warning_until_it_changes_again(
    credentials: Credentials, password: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    password.unlink()
    if content is not None:
        password.write_bytes(content)
    assert [credentials.renewed() for _ in range(4)] == [False] * 4
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "the connection made with the old login stays" in caplog.text
    password.write_text("usable\n")
    assert [credentials.renewed() for _ in range(2)] == [False, True]


def test_a_change_that_is_taken_back_is_none(
    credentials: Credentials, password: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    password.rename(kept)
    password.write_text("a mistake\n")
    assert not credentials.renewed()
    kept.rename(password)
    assert [credentials.renewed() for _ in range(3)] == [False] * 3


def test_without_files_there_is_nothing_to_wait_for() -> None:
    nothing = Credentials(BrokerSettings(ADDRESS), NOW)
    assert nothing.wait() is None
    assert not nothing.renewed()


def test_files_are_looked_at_no_more_often_than_the_interval_says(password: Path) -> None:
    settings = BrokerSettings(ADDRESS, username="drone", password_file=password)
    credentials = Credentials(settings, interval=3600.0)
    password.write_text("changed\n")
    assert [credentials.renewed() for _ in range(3)] == [False] * 3
    wait = credentials.wait()
    assert wait is not None
    assert 3000.0 < wait <= 3600.0


def test_a_login_that_finds_no_network_is_tried_on_and_one_warning_says_so(
    password: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    def reset() -> None:
        nonlocal tries
        tries += 1
        error = ConnectionResetError(104, "Connection reset by peer")
        raise unreachable(settings, error) from error

    settings = BrokerSettings(ADDRESS, username="drone", password_file=password)
    credentials = Credentials(settings, NOW, reset)
    password.write_text("second\n")
    assert [credentials.renewed() for _ in range(21)] == [False] * 21
    assert tries == 20
    (record,) = caplog.records
    assert "the new login cannot be tried out" in record.getMessage()
    assert "second" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "renewed", "certain"),
    [
        (None, True, True),
        (LoginError("the broker refused it"), False, True),
        (DialError("Client identifier not valid"), True, False),
        (VersionError("hangs up"), True, False),
        (VersionError("does not answer", silence=True), False, True),
    ],
)
def test_what_the_broker_says_of_a_new_login_decides(
    password: Path, answer: DialError | None, renewed: bool, certain: bool
) -> None:
    def answers() -> None:
        if answer is not None:
            raise answer

    settings = BrokerSettings(ADDRESS, username="drone", password_file=password)
    credentials = Credentials(settings, NOW, answers)
    password.write_text("second\n")
    assert [credentials.renewed() for _ in range(2)] == [False, renewed]
    assert credentials.certain is certain
