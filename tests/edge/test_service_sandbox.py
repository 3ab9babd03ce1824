"""The daemon under the system call filter of its unit, without any capability, and with systemd's socket."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

HEADERS = (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h"))
NO_SECCOMP = 77

# Shuts itself in as systemd does, and becomes another program.
SHUT_IN = """
import ctypes, errno, os, struct, sys
AUDIT_ARCH_X86_64, ALLOW, REFUSE, KILL = 0xC000003E, 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
CAPBSET_DROP, SET_SECCOMP, NO_NEW_PRIVS = 24, 22, 38
libc = ctypes.CDLL(None, use_errno=True)
for capability in range(64):
    libc.prctl(CAPBSET_DROP, capability, 0, 0, 0)
code = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, AUDIT_ARCH_X86_64), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
for number in map(int, sys.argv[1].split(",")):
    code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
code.append((RETURN, 0, 0, REFUSE))
steps = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
wanted = Filter(len(code), ctypes.addressof(steps))
if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(SET_SECCOMP, 2, ctypes.byref(wanted), 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
DAEMON = """
import ctypes, errno
from edge.cli import main
libc = ctypes.CDLL(None, use_errno=True)
assert (libc.umount2(b"/nowhere", 0), ctypes.get_errno()) == (-1, errno.EPERM), "the filter does not hold"
assert libc.adjtimex(ctypes.create_string_buffer(512)) >= 0, "it cannot be asked whether the clock is right"
assert "CapEff:\\t0000000000000000\\n" in open("/proc/self/status").read(), "there are capabilities"
main()
"""

DEVICE = """\
device: bird
source: {uri: flight, sequence: true}
prompts: list.yaml
bundle: bundle
state_dir: state
mqtt: {url: 'mqtt://127.0.0.1:9'}
metrics: {port: PORT}
"""


def numbers_of_calls() -> dict[str, int]:
    header = next((path for path in HEADERS if path.is_file()), None)
    if header is None or platform.machine() != "x86_64":
        pytest.skip("needs the kernel's headers (linux-libc-dev) on x86-64")
    return {
        name: int(number) for name, number in re.findall(r"#define __NR_(\w+)\s+(\d+)", header.read_text())
    }


def calls_of(name: str) -> set[str]:
    """The system calls behind a name of a SystemCallFilter, as the systemd here knows it."""
    if not name.startswith("@"):
        return {name}
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        [analyze, "syscall-filter", "--no-pager", name], capture_output=True, text=True, check=True
    )
    members = [line.strip() for line in done.stdout.splitlines()[1:]]
    return {call for member in members if member and member[0] != "#" for call in calls_of(member)}


def allowed_calls(unit: Path) -> set[str]:
    """What is left of all SystemCallFilter lines, in their order; @default is always allowed."""
    allowed = calls_of("@default")
    for line in unit.read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "SystemCallFilter":
            named = {call for name in value.lstrip("~").split() for call in calls_of(name)}
            allowed = allowed - named if value.startswith("~") else allowed | named
    return allowed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_daemon_flies_shut_in_and_tells_systemd(
    repository: Path, bundle_copy: Path, tmp_path: Path
) -> None:
    numbers = numbers_of_calls()
    allowed = allowed_calls(repository / "firmware_cfg" / "systemd" / "remoteclip@.service")
    assert "umount2" not in allowed
    (tmp_path / "flight").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "flight" / f"{number}.png"), np.full((64, 64, 3), 40 * number, np.uint8))
    (tmp_path / "list.yaml").write_text("prompts: [{id: red, text: red}]\n")
    (tmp_path / "device.yaml").write_text(DEVICE.replace("PORT", str(free_port())))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        calls = ",".join(str(numbers[name]) for name in sorted(allowed) if name in numbers)
        done = subprocess.run(
            [sys.executable, "-c", SHUT_IN, calls, "-c", DAEMON, "run", tmp_path / "device.yaml"],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(repository),
                "NOTIFY_SOCKET": systemd.getsockname(),
                "WATCHDOG_USEC": "30000000",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode == NO_SECCOMP:
            pytest.skip("this kernel takes no system call filter")
        assert done.returncode == 0, done.stderr
        heard = [systemd.recv(4096).decode().split("\n")[0]]
        while heard[-1] != "STOPPING=1":
            heard.append(systemd.recv(4096).decode().split("\n")[0])
    assert "3 frames in " in done.stderr
    states = [line for line in heard if not line.startswith("EXTEND_TIMEOUT_USEC=")]
    assert states == ["READY=1", "WATCHDOG=1", "STOPPING=1"]
