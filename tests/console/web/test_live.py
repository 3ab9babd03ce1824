"""The live half: who may listen, what comes, and what becomes of a browser that stalls."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from console.web import live as live_module
from console.web.live import NOT_LOGGED_IN, STALLED

from .conftest import HOST, Room


def closed(browser: Any) -> int:
    """The code that the server closes with, whatever it says before."""
    while True:
        try:
            browser.receive_json()
            browser.send_text("shown")
        except WebSocketDisconnect as ended:
            return int(ended.code)


def test_what_changed_comes_and_nothing_else(room: Room) -> None:
    room.online()
    with room.client().websocket_connect("/live?view=alerts", headers={"origin": HOST}) as browser:
        first = browser.receive_json()["regions"]
        assert list(first["active"]["set"]) == ["none"]
        browser.send_text("shown")
        room.raised()
        second = browser.receive_json()["regions"]
        assert second["active"]["order"] == ["heron-1/a1"]
        assert second["alarms"]["set"]["active"] == 1
        assert "ended" not in second


@pytest.mark.parametrize(("view", "origin"), [("alerts", "https://evil.test"), ("nothing", HOST), ("", HOST)])
def test_another_page_may_not_listen(room: Room, view: str, origin: str) -> None:
    address = f"/live?view={view}"
    with (
        pytest.raises(WebSocketDisconnect),
        room.client().websocket_connect(address, headers={"origin": origin}),
    ):
        pass


def test_a_stranger_is_sent_to_the_login(room: Room) -> None:
    with room.client(None).websocket_connect("/live?view=alerts", headers={"origin": HOST}) as browser:
        assert closed(browser) == NOT_LOGGED_IN


def test_who_signs_out_hears_no_more(room: Room, token: Any) -> None:
    client = room.client()
    with client.websocket_connect("/live?view=alerts", headers={"origin": HOST}) as browser:
        browser.receive_json()
        browser.send_text("shown")
        client.post("/logout", headers=token(client))
        assert closed(browser) == NOT_LOGGED_IN


def test_a_file_of_users_that_breaks_leads_to_the_login(room: Room, users: Path) -> None:
    right = users.read_bytes()
    try:
        with room.client().websocket_connect("/live?view=alerts", headers={"origin": HOST}) as browser:
            browser.receive_json()
            users.write_text("{")
            browser.send_text("shown")
            assert closed(browser) == NOT_LOGGED_IN
        answer = room.client(None).get("/login")
        assert (answer.status_code, "no file of users" in answer.text) == (409, True)
    finally:
        users.write_bytes(right)


def test_a_browser_that_stalls_is_sent_one_message_and_let_go(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "STALL", 0.3)
    with room.client().websocket_connect("/live?view=alerts", headers={"origin": HOST}) as browser:
        browser.receive_json()
        for number in range(20):
            room.online(f"drone-{number}")
            time.sleep(0.005)
        with pytest.raises(WebSocketDisconnect) as ended:
            browser.receive_json()
        assert ended.value.code == STALLED
