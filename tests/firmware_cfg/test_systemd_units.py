"""The systemd units that ship: systemd itself reads them, and finds the service well shut in."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from firmware_cfg.device import load_device

Systemd = Callable[..., "subprocess.CompletedProcess[str]"]

PROGRAM = "/opt/remoteclip/bin/remoteclip"
#: Tenths of systemd's exposure, 0 to 100; what is missing to 0 is what the daemon needs, as the unit says.
MOST_EXPOSURE = 25


@pytest.fixture
def units(repository: Path) -> Path:
    return repository / "firmware_cfg" / "systemd"


@pytest.fixture
def systemd() -> Systemd:
    """`systemd(program, *arguments)`, which skips where the program is not installed."""

    def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        if (found := shutil.which(program)) is None:
            pytest.skip(f"{program} is not installed")
        command = [found, *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
        )
        if "unrecognized option" in done.stderr:
            pytest.skip(f"{program} is too old: {done.stderr.strip()}")
        return done

    return run


@pytest.fixture
def installed(units: Path, tmp_path: Path) -> Path:
    """The service as it is installed, with a program that is there: systemd-analyze looks for it."""
    text = (units / "remoteclip@.service").read_text()
    assert PROGRAM in text
    path = tmp_path / "remoteclip@.service"
    path.write_text(text.replace(PROGRAM, sys.executable))
    return path


def version(systemd: Systemd) -> int:
    return int(re.findall(r"systemd (\d+)", systemd("systemd-analyze", "--version").stdout)[0])


@pytest.mark.parametrize("drop_ins", [(), ("jetson.conf", "password.conf"), ("backoff.conf",)])
def test_systemd_has_nothing_to_say_against_the_units(
    systemd: Systemd, installed: Path, units: Path, drop_ins: tuple[str, ...]
) -> None:
    if "backoff.conf" in drop_ins and version(systemd) < 254:
        pytest.skip("this systemd does not know steps between restarts")
    folder = installed.with_name("remoteclip@.service.d")
    folder.mkdir()
    for name in drop_ins:
        shutil.copy(units / "drop-ins" / name, folder)
    done = systemd("systemd-analyze", "verify", "--man=no", installed.with_name("remoteclip@bird.service"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_finds_what_is_wrong_with_a_unit(systemd: Systemd, installed: Path) -> None:
    """So the test above can fail."""
    installed.write_text(installed.read_text().replace("WatchdogSec=30s", "WatchdogSec=often\nWachdog=1"))
    done = systemd("systemd-analyze", "verify", "--man=no", installed.with_name("remoteclip@bird.service"))
    assert "Wachdog" in done.stderr
    assert "often" in done.stderr


def test_the_service_is_shut_in(systemd: Systemd, installed: Path) -> None:
    done = systemd(
        *("systemd-analyze", "security", "--no-pager", "--offline=true"),
        *(f"--threshold={MOST_EXPOSURE}", installed),
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overall exposure level" in done.stdout


def test_the_unit_is_one_that_the_daemon_can_live_with(units: Path) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(units / "remoteclip@.service")
    service = parser["Service"]
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == ("notify", "main", "mixed")
    assert service["ExecStart"] == f"{PROGRAM} run /etc/remoteclip/devices/%i.yaml"
    assert service["ExecReload"].endswith("kill -HUP $MAINPID")
    assert service["Restart"] == "on-failure"
    assert parser["Unit"]["StartLimitIntervalSec"] == "0"
    assert "network-online.target" not in parser["Unit"]["After"]
    # OpenVINO's kernels are made at run time, the boot id is in /proc/sys, cameras are in /dev.
    assert service.keys().isdisjoint({"MemoryDenyWriteExecute", "ProcSubset", "PrivateDevices"})


@pytest.mark.parametrize("page", ["service.md", "jetson.md"])
def test_the_documented_commands_look_into_the_services_own_folders(
    repository: Path, units: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    """`%S` is /var/lib, `%C` /var/cache (systemd.unit(5))."""
    text = (units / "remoteclip@.service").read_text().replace("%S", "/var/lib").replace("%C", "/var/cache")
    service = dict(re.findall(r"^Environment=(XDG_STATE_HOME|REMOTECLIP_CACHE)=(.*)$", text, re.MULTILINE))
    assert len(service) == 2
    ((user, variables),) = re.findall(
        rf"alias as-service='sudo -u (\S+) env (.*) {PROGRAM}'", (repository / "docs" / page).read_text()
    )
    assert dict(each.split("=") for each in variables.split()) == service
    assert f"\nUser={user}\n" in text
    for name, value in service.items():
        monkeypatch.setenv(name, value)
    device = load_device(repository / "firmware_cfg" / "devices" / "cpu.yaml")
    assert device.state_dir == Path("/var/lib/remoteclip/drone-1")


def test_what_needs_the_services_state_folder_is_never_shown_without_its_prefix(repository: Path) -> None:
    for page in ("service.md", "jetson.md"):
        shown = re.findall(
            r"^    (.*/etc/remoteclip/devices/.*)$", (repository / "docs" / page).read_text(), re.M
        )
        needing = [line for line in shown if re.search(r" (run|health|prompts|bundle|engine) ", line)]
        assert len(needing) >= 3
        assert all(line.startswith(("as-service ", "ExecStart=")) for line in needing)


def test_the_user_of_the_service_is_made(systemd: Systemd, units: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("systemd-sysusers changes the owner of what it writes")
    (tmp_path / "etc").mkdir()
    rules = units / "remoteclip.sysusers.conf"
    done = systemd("systemd-sysusers", f"--root={tmp_path}", rules)
    assert done.returncode == 0, done.stderr
    users = (tmp_path / "etc" / "passwd").read_text()
    assert re.search(r"^remoteclip:x:\d+:\d+:remoteclip-edge:/var/lib/remoteclip:", users, re.MULTILINE)
    groups = (tmp_path / "etc" / "group").read_text()
    assert re.search(r"^video:x:\d+:remoteclip$", groups, re.MULTILINE)
