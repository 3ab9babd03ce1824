"""The facts of `remoteclip check --system`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from edge import system
from edge.engines import ENGINE_NAMES
from edge.system import Fact

X86 = """processor\t: 0
model name\t: Intel(R) N100
flags\t\t: fpu sse4_2 fma avx2 avx_vnni
processor\t: 1
model name\t: Intel(R) N100
"""
ARM = """processor\t: 0
Features\t: fp asimd evtstrm asimdhp asimddp
Model\t\t: NVIDIA Jetson Orin Nano
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86, ("Intel(R) N100", ("sse4_2", "avx2", "fma", "avx_vnni"))),
        (ARM, ("NVIDIA Jetson Orin Nano", ("asimd", "asimdhp", "asimddp"))),
    ],
)
def test_cpu_features_are_read(tmp_path: Path, text: str, expected: tuple[str, tuple[str, ...]]) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert system.read_cpuinfo(path) == expected


def test_a_machine_without_proc_still_has_a_cpu(tmp_path: Path) -> None:
    fact = system.cpu_fact(tmp_path / "absent")
    assert fact.level == "ok"
    assert "cores" in fact.value
    assert system.memory_fact(tmp_path / "absent").value == "unknown"


def test_memory_is_given_in_gib(tmp_path: Path) -> None:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:        8388608 kB\nMemFree:          100 kB\nMemAvailable:    4194304 kB\n")
    assert system.memory_fact(path).value == "4.0 of 8.0 GiB available"


def test_a_missing_native_kernel_is_a_note_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "LETTERBOX", None)
    monkeypatch.setattr(system, "UNAVAILABLE", "not built: no compiler")
    fact = system.native_fact()
    assert (fact.level, fact.value) == ("note", "not built: no compiler")
    assert "OpenCV" in fact.mend


def test_an_engine_is_imported_for_real() -> None:
    fact = system.engine_fact("openvino", "openvino")
    assert fact.level == "ok"
    assert fact.value[0].isdigit()


def test_every_engine_of_the_daemon_is_looked_at() -> None:
    assert set(system.ENGINES) == set(ENGINE_NAMES)


def test_a_missing_engine_names_what_to_install() -> None:
    fact = system.engine_fact("no_such_engine", "remoteclip-edge[x]")
    assert fact == Fact("engine no_such_engine", "not installed", "note", "pip install 'remoteclip-edge[x]'")


def test_a_broken_engine_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_engine.py").write_text("raise ImportError('libfoo.so.2: cannot open\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    fact = system.engine_fact("broken_engine", "x")
    assert fact.value == "installed, but broken: libfoo.so.2: cannot open"
    assert fact.level == "note"


def test_no_engine_at_all_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "ENGINES", {"no_such_engine": "x"})
    assert system.engine_facts()[-1].level == "problem"


def test_an_old_python_is_a_problem() -> None:
    assert system.python_fact((3, 9, 2)).level == "problem"
    assert system.python_fact((3, 10, 0)).level == "ok"


def test_the_broker_is_found_where_debian_puts_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broker = tmp_path / "mosquitto"
    broker.write_text("#!/bin/sh\n")
    broker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system.broker_fact().value == f"mosquitto at {broker}"


def test_without_any_broker_the_mend_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "find_mosquitto", lambda: None)
    monkeypatch.setattr(system.importlib.util, "find_spec", lambda name: None)
    fact = system.broker_fact()
    assert fact.level == "note"
    assert "mosquitto" in fact.mend
    assert "[demo]" in fact.mend


def test_disk_is_measured_where_the_state_will_be(tmp_path: Path) -> None:
    fact = system.disk_fact(tmp_path / "not" / "yet" / "made")
    assert fact.level in ("ok", "note")
    assert "GiB free" in fact.value


def test_a_full_disk_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(system.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert system.disk_fact(tmp_path).level == "note"


def test_a_folder_without_write_permission_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere, so the answer is put into the system call's mouth.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    fact = system.disk_fact(tmp_path)
    assert fact.level == "problem"
    assert str(tmp_path) in fact.mend


def test_every_note_and_problem_says_what_to_do(tmp_path: Path) -> None:
    facts = system.system_facts(tmp_path)
    assert len({fact.name for fact in facts}) == len(facts)
    assert all(fact.mend for fact in facts if fact.level != "ok")
    assert {"python", "cpu", "native kernel", "engine openvino", "disk"} <= {fact.name for fact in facts}
