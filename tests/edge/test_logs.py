"""What the log looks like to a person, to systemd's journal and to a program; in processes of its own."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge import logs
from edge.logs import LogFormat

PROGRAM = """
import logging, os, sys, threading
from edge.logs import LogFormat, configure, report_error
if sys.argv[1] == "auto-journal":
    status = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
elif sys.argv[1] == "auto-elsewhere":
    os.environ["JOURNAL_STREAM"] = "1:2"
kind = configure(LogFormat(sys.argv[1].partition("-")[0]), verbose="verbose" in sys.argv)
configure(LogFormat(sys.argv[1].partition("-")[0]), verbose="verbose" in sys.argv)
print(kind.value)
log = logging.getLogger("edge.test")
log.debug("in detail")
log.info("up")
log.warning("two\\nlines")
log.error("no \\udcff")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("odd")
thread = threading.Thread(target=lambda: [][0], name="worker")
thread.start()
thread.join()
report_error(ValueError("a.yaml:1:1: wrong"))
raise RuntimeError("the end")
"""


def lines_of(repository: Path, *arguments: str) -> tuple[str, list[str]]:
    """(the format that was chosen, the lines of stderr)."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(
        command, cwd=repository, capture_output=True, text=True, timeout=120, check=False, encoding="utf-8"
    )
    assert done.returncode == 1
    return done.stdout.strip(), done.stderr.splitlines()


@pytest.mark.parametrize("wanted", ["text", "auto", "auto-elsewhere"])
def test_people_get_the_time_and_the_level(
    repository: Path, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    kind, lines = lines_of(repository, wanted)
    assert kind == "text"
    assert [line[8:] for line in lines[:4]] == [
        " INFO up",
        " WARNING two",
        "",
        " ERROR no \\udcff",
    ]
    assert lines[2] == "lines"
    assert "a.yaml:1:1: wrong" in lines
    assert lines[-1] == "RuntimeError: the end"


@pytest.mark.parametrize("wanted", ["journal", "auto-journal"])
def test_the_journal_gets_a_priority_with_every_line(repository: Path, wanted: str) -> None:
    kind, lines = lines_of(repository, wanted)
    assert kind == "journal"
    assert lines[:5] == [
        "<6>up",
        "<4>two",
        "<4>lines",
        "<3>no \\udcff",
        "<3>odd",
    ]
    assert all(line[0] == "<" and line[2] == ">" and line[1] in "23467" for line in lines)
    assert "<3>ZeroDivisionError: division by zero" in lines
    assert "<2>unexpected: IndexError: list index out of range" in lines
    assert "<3>a.yaml:1:1: wrong" in lines
    assert "<2>unexpected: RuntimeError: the end" in lines
    assert lines[-1] == "<2>RuntimeError: the end"


def test_a_program_gets_one_object_a_line(repository: Path) -> None:
    kind, lines = lines_of(repository, "json", "verbose")
    assert kind == "json"
    found: list[dict[str, Any]] = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [(item["level"], item["message"]) for item in found] == [
        ("debug", "in detail"),
        ("info", "up"),
        ("warning", "two\nlines"),
        ("error", "no \udcff"),
        ("error", "odd"),
        ("critical", "unexpected: IndexError: list index out of range"),
        ("error", "a.yaml:1:1: wrong"),
        ("critical", "unexpected: RuntimeError: the end"),
    ]
    assert (found[1]["logger"], found[1]["thread"]) == ("edge.test", "MainThread")
    assert found[1]["time"].endswith("Z")
    assert found[5]["thread"] == "worker"
    assert "ZeroDivisionError" in found[4]["exception"]


def test_logging_that_was_set_up_before_stays_as_it_is() -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    assert before  # pytest's own
    assert logs.configure(LogFormat.json, verbose=True) is LogFormat.json
    assert (root.handlers, root.level) == (before, level)
