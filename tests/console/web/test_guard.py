"""Who may come in, and what every answer says to the browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from console.tries import FREE_TRIES
from console.web.guard import MAX_BODY, content_security_policy

from .conftest import HOST, PASSWORD, Room

PAGES = ("/", "/alerts", "/fleet", "/map", "/counts", "/prompts", "/audit", "/device?device=x", "/alert")
FETCHED = (
    "/series?device=x",
    "/list?device=x",
    "/export/counts.csv",
    "/export/alerts.geojson",
    "/export/alerts.cot",
)


@pytest.mark.parametrize("address", [*PAGES, *FETCHED])
def test_a_stranger_is_led_to_the_login(room: Room, address: str) -> None:
    answer = room.client(None).get(address, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_every_answer_forbids_scripts_that_are_not_ours(room: Room) -> None:
    client = room.client()
    for address in ("/login", "/alerts", "/nowhere", "/series", "/list?device=nobody"):
        headers = client.get(address, follow_redirects=False).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_pages_have_no_inline_script_style_or_handler(room: Room) -> None:
    room.online()
    room.raised()
    client = room.client()
    for address in ("/login", *PAGES):
        page = client.get(address).text
        assert "<style" not in page
        assert " style=" not in page
        assert "onclick" not in page
        assert page.count("<script") == page.count("<script src=") + page.count('<script type="module" src=')


def test_only_the_tile_server_that_was_named_may_serve_pictures(make_room: Callable[..., Room]) -> None:
    assert "img-src 'self' data:;" in content_security_policy(None)
    policy = content_security_policy("https://tiles.test:8443/{z}/{x}/{y}.png")
    assert "img-src 'self' data: https://tiles.test:8443;" in policy
    page = make_room(tiles="https://tiles.test/{z}/{x}/{y}.png").client().get("/map")
    assert 'data-tiles="https://tiles.test/{z}/{x}/{y}.png"' in page.text


def test_the_cookie_is_for_this_server_alone(make_room: Callable[..., Room]) -> None:
    for secure in (False, True):
        client = make_room(secure=secure).client(None)
        form = {"name": "lea", "password": PASSWORD}
        answer = client.post("/login", data=form, follow_redirects=False)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert ("secure" in cookie) is secure
        assert ("strict-transport-security" in answer.headers) is secure


def test_a_wrong_password_is_slowed_down_and_says_how_long(room: Room) -> None:
    client = room.client(None)
    wrong = {"name": "lea", "password": "guess guess guess"}
    answers = [client.post("/login", data=wrong) for _ in range(FREE_TRIES + 1)]
    assert [answer.status_code for answer in answers] == [403] * FREE_TRIES + [429]
    assert "wrong name or password" in answers[0].text
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "guess" not in answers[-1].text


def test_a_login_from_another_page_is_refused(room: Room) -> None:
    form = {"name": "lea", "password": PASSWORD}
    for origin in ("https://evil.test", "null", f"{HOST}.evil.test"):
        answer = room.client(None).post("/login", data=form, headers={"origin": origin})
        assert answer.status_code == 403
    client = room.client(None)
    del client.headers["origin"]
    assert client.post("/login", data=form).status_code == 403


def test_nobody_is_there_yet(room: Room, users: Any) -> None:
    page = room.client(None).get("/login").text
    assert "user add" not in page
    users.rename(users.with_suffix(".aside"))
    try:
        assert "remoteclip console user add" in room.client(None).get("/login").text
    finally:
        users.with_suffix(".aside").rename(users)


def test_a_change_needs_the_pages_own_token(room: Room, token: Any) -> None:
    room.online()
    room.raised()
    client = room.client()
    asked = {"device": "heron-1", "alert": "a1"}
    assert client.post("/do/acknowledge", json=asked).status_code == 403
    assert client.post("/do/acknowledge", json=asked, headers={"x-csrf-token": "x"}).status_code == 403
    assert room.link.published == []
    other = room.client().get("/audit").text.split('content="')[1]
    assert token(client)["x-csrf-token"] not in other
    assert client.post("/do/acknowledge", json=asked, headers=token(client)).status_code == 200
    assert room.link.published[0][0] == "remoteclip/1/heron-1/alerts/a1/ack"


def test_signing_out_ends_the_session_at_the_server(room: Room, token: Any) -> None:
    client = room.client()
    cookies = dict(client.cookies)
    assert client.post("/logout", headers=token(client)).status_code == 200
    assert room.services.history.flush()
    logged = [(row.user, row.action, row.detail) for row in reversed(room.services.history.audit())]
    assert logged == [("lea", "login", "testclient"), ("lea", "logout", "")]
    again = room.client(None)
    again.cookies.update(cookies)
    assert again.get("/alerts", follow_redirects=False).status_code == 303


def test_a_body_beyond_the_limit_is_not_read(room: Room, token: Any) -> None:
    client = room.client()
    answer = client.post("/do/check", content=b"x" * (MAX_BODY + 1), headers=token(client))
    assert answer.status_code == 413
    assert room.client(None).post("/login", content=b"name=" + b"x" * 5000).status_code == 400


def test_scripts_may_be_kept_and_change_their_address_with_their_text(room: Room) -> None:
    client = room.client(None)
    page = client.get("/login").text
    address = page.split('<script src="')[1].split('"')[0]
    answer = client.get(address)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert client.get("/static/x/../app.py").status_code == 404
