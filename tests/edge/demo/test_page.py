"""The page that the demo serves beside its flight."""

from __future__ import annotations

import re
from urllib.error import URLError
from urllib.request import urlopen

import pytest

import edge.demo.page as page_module
from edge.demo.page import page_beside
from edge.mqtt.settings import BrokerSettings

NOBODY = BrokerSettings.from_url("mqtt://127.0.0.1:1")


def test_it_is_served_while_the_demo_flies_and_then_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(page_module.webbrowser, "open", opened.append)
    monkeypatch.setenv("DISPLAY", ":7")
    with page_beside(NOBODY) as line:
        found = re.fullmatch(
            r"the page of the control room: (http://127\.0\.0\.1:\d+)/  \(name demo, .+\)", line
        )
        assert found, line
        with urlopen(found[1] + "/login") as answer:
            assert b"Control room" in answer.read()
    assert opened == [found[1]]
    with pytest.raises(URLError):
        urlopen(found[1] + "/login")


def test_the_demo_flies_without_the_extra_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "find_spec", lambda name: None)
    with page_beside(NOBODY) as line:
        assert line == "no page beside: starlette is not installed (pip install 'remoteclip-edge[console]')"


def test_a_page_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("/bin/sh", "-c", 'case "$1" in user) exit 0;; esac; echo the port is taken; exit 1', "sh")
    monkeypatch.setattr(page_module, "_PROGRAM", words)
    with page_beside(NOBODY) as line:
        assert line == "no page beside: the port is taken"
