"""What people do on the page: read strictly, judged by the console, and answered with a line."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import cv2
import numpy as np
import pytest

from console.web.pictures import WHOLE, crop_of, picture
from edge.evidence.picture import picture as evidence_picture
from edge.frames import RgbImage
from firmware_cfg.messages import AlertAck, Counts, PromptsState
from firmware_cfg.topics import Topics

from .conftest import Room

LIST = "version: 1\nprompts:\n  - {id: person, text: a person}\n"
HERON = Topics("heron-1")


@pytest.fixture
def ask(room: Room, token: Any) -> Any:
    """`ask(what, **asked)` -> status and answer, as lea or as `who`."""

    def post(what: str, who: str = "lea", **asked: Any) -> tuple[int, dict[str, Any]]:
        client = room.client(who)
        answer = client.post(f"/do/{what}", json=asked, headers=token(client))
        return answer.status_code, answer.json()

    return post


def test_an_acknowledgement_goes_to_the_drone_under_the_operators_name(room: Room, ask: Any) -> None:
    room.online()
    room.raised()
    assert ask("acknowledge", device="heron-1", alert="a1")[0] == 200
    topic, payload, retained = room.link.published[0]
    ack = AlertAck.from_payload(payload)
    assert (topic, retained, ack.action, ack.by) == (HERON.alert_ack("a1"), False, "acknowledge", "lea")


def test_a_mute_ends(room: Room, ask: Any) -> None:
    room.online()
    room.raised()
    assert ask("mute", device="heron-1", alert="a1", minutes=15)[0] == 200
    until = AlertAck.from_payload(room.link.published[0][1]).until
    assert until is not None
    assert timedelta(minutes=14) < until - datetime.now(timezone.utc) <= timedelta(minutes=15)


@pytest.mark.parametrize(
    ("what", "asked"),
    [
        ("acknowledge", {"device": "heron-1", "alert": "a1"}),
        ("mute", {"device": "heron-1", "alert": "a1", "minutes": 15}),
        ("comment", {"device": "heron-1", "alert": "a1", "text": "on my way"}),
        ("push", {"text": LIST, "devices": {"heron-1": None}}),
        ("rollback", {"device": "heron-1"}),
    ],
)
def test_a_viewer_may_not(room: Room, ask: Any, what: str, asked: dict[str, Any]) -> None:
    room.online()
    room.raised()
    status, answer = ask(what, "max", **asked)
    assert status == 409
    assert "an operator may" in answer["problem"]
    assert room.link.published == []


@pytest.mark.parametrize(
    ("what", "asked", "field"),
    [
        ("acknowledge", {"device": "../x", "alert": "a1"}, "device"),
        ("acknowledge", {"device": "heron-1"}, "alert"),
        ("acknowledge", {"device": "heron-1", "alert": "a1", "by": "somebody"}, "by"),
        ("mute", {"device": "heron-1", "alert": "a1", "minutes": -1}, "minutes"),
        ("mute", {"device": "heron-1", "alert": "a1", "minutes": 1e9}, "minutes"),
        ("comment", {"device": "heron-1", "alert": "a1", "text": "x" * 1001}, "text"),
        ("push", {"text": LIST, "devices": {}}, "devices"),
        ("evidence", {"device": "heron-1", "sha256": "../../etc/passwd"}, "sha256"),
    ],
)
def test_a_request_that_is_wrong_says_where(
    room: Room, ask: Any, what: str, asked: dict[str, Any], field: str
) -> None:
    status, answer = ask(what, **asked)
    assert status == 400
    assert answer["problem"].startswith(field)
    assert room.link.published == []


def test_there_is_no_such_thing_to_do(room: Room, ask: Any) -> None:
    assert ask("reboot", device="heron-1")[0] == 404


def test_a_list_is_checked_line_by_line(ask: Any) -> None:
    assert ask("check", text=LIST)[1]["right"] is True
    wrong = LIST.replace("text: a person", "text: a person, threshold: 3.5").replace("version", "vershun")
    answer = ask("check", text=wrong)[1]
    assert answer["right"] is False
    assert "line 1" in answer["html"]
    assert "line 3" in answer["html"]
    assert "threshold must be between 0 and 1, got 3.5" in answer["html"]


def test_a_list_that_no_drone_takes_is_refused_before_it_is_read(ask: Any) -> None:
    giant = "prompts: [" + "{}," * 60_000 + "]"
    _, checked = ask("check", text=giant)
    assert not checked["right"]
    assert len(checked["html"]) < 2000
    status, answer = ask("diff", text=giant)
    assert (status, "is larger than" in answer["problem"]) == (409, True)


def test_of_very_many_problems_the_first_are_shown_and_the_others_counted(ask: Any) -> None:
    prompts = "".join(f"  - {{id: boat-{number}, txt: a boat}}\n" for number in range(300))
    _, checked = ask("check", text=f"version: 1\nprompts:\n{prompts}")
    assert checked["html"].count("<li>") == 100
    assert re.search(r"\d+ more\.", checked["html"])


def test_errors_about_hostile_lists_are_text(ask: Any) -> None:
    html = ask("check", text="<script>: 1\nprompts: ['<img src=x>']\n")[1]["html"]
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "<img" not in html
    html = ask("diff", text="<script>x</script>", base="<img src=x>")[1]["html"]
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;img" in html


def test_a_list_is_pushed_to_those_whose_list_the_editor_knew(room: Room, ask: Any) -> None:
    for name in ("heron-1", "heron-2"):
        room.online(name)
        state = {"device": name, "sent_at": datetime.now(timezone.utc), "source": "file", "prompts": ()}
        message = PromptsState(sha256="a" * 64, applied_at=datetime.now(timezone.utc), **state)
        room.hear(Topics(name).prompts_state, message)
    status, answer = ask("push", text=LIST, devices={"heron-1": "a" * 64, "heron-2": "b" * 64})
    assert status == 200
    assert answer["problem"] is True
    assert "Sent to 1 of 2" in answer["said"]
    assert "heron-2: its list was changed meanwhile" in answer["said"]
    assert answer["wanted"] == {"heron-1": hashlib.sha256(LIST.encode()).hexdigest()}
    assert [topic for topic, _, retain in room.link.published if retain] == [HERON.prompts_desired]


def test_evidence_comes_with_its_boxes_where_they_lie_on_the_crop(room: Room, ask: Any) -> None:
    pixels = np.full((400, 800, 3), 90, np.uint8)
    jpeg = evidence_picture(RgbImage(pixels), [(400.0, 100.0, 600.0, 300.0)], 60_000)
    sha256 = hashlib.sha256(jpeg).hexdigest()
    room.online()
    room.raised(evidence_sha256=sha256, boxes=((0.5, 0.25, 0.75, 0.75),))
    room.link.answers[HERON.evidence(sha256)] = jpeg
    status, answer = ask("evidence", device="heron-1", sha256=sha256)
    assert status == 200
    assert answer["bytes"] == len(jpeg)
    # 300 x 300 pixels round a box of 200 x 200: a sixth of it on every side
    assert answer["boxes"][0] == pytest.approx([1 / 6, 1 / 6, 5 / 6, 5 / 6], abs=0.01)


def test_a_picture_with_another_hash_is_not_shown(room: Room, ask: Any) -> None:
    room.online()
    room.raised()
    room.link.answers[HERON.evidence("2" * 64)] = b"\xff\xd8 another"
    status, answer = ask("evidence", device="heron-1", sha256="2" * 64)
    assert (status, "its hash differs" in answer["problem"]) == (409, True)
    assert "src" not in answer


@pytest.mark.parametrize(
    "comment", [b"", b"{}", b"[1]", b'{"crop": [0, 0, 2, 1]}', b'{"crop": "abcd"}', b"\xff"]
)
def test_a_picture_that_names_no_crop_is_the_whole_frame(comment: bytes) -> None:
    done, jpeg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))
    assert done
    body = jpeg.tobytes()
    assert crop_of(body) == WHOLE
    named = body[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + body[2:]
    assert crop_of(named) == WHOLE
    assert crop_of(b"\xff\xd8\xff") == crop_of(b"") == WHOLE
    assert picture(named, [(0.1, 0.1, 0.2, 0.2), (1.0, 1.0, 1.0, 1.0)])["boxes"] == [(0.1, 0.1, 0.2, 0.2)]


def test_counts_are_fetched_as_series_and_taken_away_as_csv(room: Room) -> None:
    now = datetime.now(timezone.utc)
    counts = Counts(
        device="heron-1", sent_at=now, observed_at=now, frame=1, prompt="person", count=3, score=0.5
    )
    room.services.history.put_counts(counts, now)
    assert room.services.history.flush()
    client = room.client()
    series = client.get("/series?device=heron-1&hours=1").json()
    assert [line["prompt"] for line in series["lines"]] == ["person"]
    assert series["lines"][0]["points"][0][1:4] == [3, 3, 3]
    assert client.get("/series?device=heron-2").json()["lines"] == []
    csv = client.get("/export/counts.csv?device=heron-1")
    assert csv.headers["content-type"].startswith("text/csv")
    assert csv.text.splitlines()[1].split(",")[1:4] == ["heron-1", "person", "3"]


@pytest.mark.parametrize("query", ["since=x", "since=1e400", "until=nan", "since=2&until=1", "device=../x"])
def test_a_strange_span_is_one_line(room: Room, query: str) -> None:
    answer = room.client().get(
        f"/series?{query}&device=heron-1" if "device" not in query else f"/series?{query}"
    )
    assert answer.status_code == 409
    assert answer.text.count("\n") == 1


def test_alerts_are_taken_away_as_geojson_and_cursor_on_target(room: Room) -> None:
    room.online()
    room.raised()
    client = room.client()
    features = json.loads(client.get("/export/alerts.geojson").text)["features"]
    assert features[0]["geometry"]["coordinates"] == [11.5, 48.25]
    assert "heron-1" in client.get("/export/alerts.cot").text


def test_a_list_that_is_not_known_is_asked_of_the_drone_and_comes_with_its_hash(room: Room) -> None:
    room.online()
    text = LIST.replace("\n", "\r\n")  # a browser makes its own line ends of these
    room.link.answers[HERON.prompts_list] = text.encode()
    answer = room.client("max").get("/list?device=heron-1")
    assert answer.content == text.encode()
    assert answer.headers["x-list-sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_a_drone_that_gives_no_list_is_not_asked_again_at_once(room: Room) -> None:
    room.online()
    client = room.client("max")
    for _ in range(3):
        assert client.get("/list?device=heron-1").status_code == 409
    assert [topic for topic, _, _ in room.link.published] == [HERON.prompts_get]
    assert room.services.history.flush()
    asked = [row for row in room.services.history.audit() if row.device == "heron-1"]
    assert [(row.user, row.action) for row in asked] == [("max", "ask for the list")]
