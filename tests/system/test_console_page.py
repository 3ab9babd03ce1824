"""The control room's page in a real browser, with a real broker and the daemon on a recorded flight."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import av
import pytest

from console.accounts import Accounts
from edge.broker import find_mosquitto, free_port
from edge.mqtt.messages import OutgoingMessage
from edge.mqtt.subscriber import Subscriber
from firmware_cfg.messages import Status
from firmware_cfg.topics import Topics
from tests.edge.bridge.herons import heron_event
from tests.system.conftest import Mosquitto
from tests.system.daemon_process import DEVICE, DaemonProcess
from tests.system.waiting import WAIT, until

HOSTILE = "</td><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&amp;{{7*7}}"
VIEWS = ("alerts", "fleet", "map", "counts", "prompts", "audit")
PASSWORD = "correct horse battery"
PROMPTS = """\
version: 1
prompts:
  - id: boat
    text: a boat on the water
    threshold: 0.0
    alerts: [{when: count >= 1, severity: critical}]
background: [open water]
"""


class Console:
    """`remoteclip console` as a process, with an operator lea and a viewer max."""

    def __init__(self, folder: Path, repository: Path, broker: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.log = folder / "console.log"
        accounts = Accounts(folder / "users.json")
        accounts.add("lea", "operator", PASSWORD)
        accounts.add("max", "viewer", PASSWORD)
        program = "import sys; from console.cli import app; app(sys.argv[1:])"
        options = ["--broker", broker, "--port", str(port), "--data", str(folder)]
        self._words = [sys.executable, "-c", program, *options]
        self._repository = repository
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._words, cwd=self._repository, stdout=log, stderr=log)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(WAIT)


class Seat:
    """Somebody at a browser of their own: what it says, asks for and complains of."""

    def __init__(self, browser: Any, console: Console, name: str, **context: Any) -> None:
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.url = console.url
        self.context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **context})
        self.context.set_default_timeout(WAIT * 1000)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append("a dialog"))
        self.page.on("request", self._asked)
        self.page.goto(f"{self.url}/login")
        self.page.fill("[name=name]", name)
        self.page.fill("[name=password]", PASSWORD)
        self.page.click("text=Sign in")
        self.page.wait_for_selector("main:not([aria-busy])")

    def open(self, address: str) -> Any:
        """The page once its first regions are there."""
        self.page.goto(f"{self.url}/{address}")
        self.page.wait_for_selector("main:not([aria-busy])")
        return self.page

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:")):
            self.foreign.append(request.url)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    mosquitto = Mosquitto(program, tmp_path_factory.mktemp("mosquitto")).start()
    yield mosquitto
    mosquitto.stop()


@pytest.fixture(scope="module")
def console(
    broker: Mosquitto, browser: Any, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Console]:
    served = Console(tmp_path_factory.mktemp("console"), repository, broker.url)
    page = browser.new_page()
    assert until(lambda: _answers(page, served.url)), served.log.read_text()
    page.close()
    yield served
    served.stop()


def _answers(page: Any, url: str) -> bool:
    try:
        return bool(page.goto(f"{url}/login").ok)
    except Exception:  # noqa: BLE001 - playwright's own, while nobody listens yet
        return False


@pytest.fixture
def sit(browser: Any, console: Console) -> Iterator[Callable[..., Seat]]:
    """`sit(name)` -> that user at a browser of their own."""
    seats: list[Seat] = []

    def make(name: str = "lea", **context: Any) -> Seat:
        seats.append(Seat(browser, console, name, **context))
        return seats[-1]

    yield make
    for seat in seats:
        seat.context.close()


@pytest.fixture(scope="module")
def flight(
    broker: Mosquitto, data_root: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DaemonProcess]:
    """The daemon on boat1.mp4, flown again and again for four minutes, started once it is asked for."""
    folder = tmp_path_factory.mktemp("flight")
    process = DaemonProcess(folder, repository)
    _repeat(data_root / "video" / "boat1.mp4", folder / "boats.mp4", 8)
    process.write_files(broker.url, "{uri: boats.mp4, realtime: true}")
    (folder / "prompts.yaml").write_text(PROMPTS)
    yield process
    process.cut()


def _repeat(clip: Path, target: Path, times: int) -> None:
    """The clip's own packets again and again, nothing encoded anew."""
    with av.open(str(target), "w") as written:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(clip)) as read:
                source = read.streams.video[0]
                stream = stream or written.add_stream_from_template(source)
                end = 0
                for packet in read.demux(source):
                    if packet.dts is None or packet.pts is None:
                        continue
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    written.mux(packet)
                shift += end


@pytest.fixture
def say(broker: Mosquitto) -> Iterator[Callable[[str, bytes], None]]:
    """`say(topic, payload)` retains something at the broker, as any client may."""
    with Subscriber(broker.settings, ("nothing",), lambda topic, payload, retained: None) as somebody:
        assert somebody.wait_online(WAIT)

        def put(topic: str, payload: bytes) -> None:
            somebody.publish(OutgoingMessage(topic, payload, retain=True)).result(WAIT)

        yield put


def test_an_alert_appears_with_its_picture(sit: Callable[..., Seat], flight: DaemonProcess) -> None:
    seat = sit()
    page = seat.page
    assert "No drone has spoken yet" in page.text_content("[data-region=active]")
    flight.start()
    page.wait_for_selector(f"tr.critical:has-text('{DEVICE}')")
    assert page.text_content("#alarms .badge") == "1"
    page.click("tr.critical >> text=Open")
    page.click("text=Fetch the picture")
    page.wait_for_selector("#evidence img[src^='data:image/jpeg']")
    width = page.eval_on_selector("#evidence img", "image => image.decode().then(() => image.naturalWidth)")
    assert width >= 128
    assert page.locator("#evidence rect").count() >= 1
    assert "is right" in page.text_content("#evidence figcaption")
    assert "raise" in page.text_content("[data-region=steps]")
    assert (seat.complaints, seat.foreign) == ([], [])


def test_a_second_browser_sees_who_acknowledged(sit: Callable[..., Seat], flight: DaemonProcess) -> None:
    viewer, operator = sit("max"), sit("lea")
    viewer.page.wait_for_selector("tr.critical")
    assert viewer.page.locator("[data-do]").count() == 0
    operator.page.click("tr.critical >> text=Acknowledge")
    viewer.page.wait_for_selector("tr.critical >> text=seen by lea")
    assert "rings" not in (viewer.page.get_attribute("#alarms .badge", "class") or "")
    operator.page.click("tr.critical >> text=Open")
    operator.page.fill("#say", HOSTILE)
    operator.page.click("text=Write it down")
    operator.page.wait_for_selector("[data-region=comments] >> text=<script>")
    assert "Comments" in viewer.open(operator.page.url.split("/", 3)[3]).text_content("main")
    viewer.page.wait_for_selector("[data-region=comments] >> text=<script>")
    assert (viewer.complaints, operator.complaints) == ([], [])


def test_a_viewer_may_not_act_even_by_hand(sit: Callable[..., Seat], flight: DaemonProcess) -> None:
    viewer = sit("max")
    viewer.open(f"prompts?device={DEVICE}")
    assert viewer.page.locator("#push").count() == 0
    assert viewer.page.get_attribute("#text", "readonly") is not None
    script = """async ([device, text]) => {
        const csrf = document.querySelector('meta[name="csrf"]').content;
        const answer = await fetch('/do/push', {method: 'POST', headers: {'x-csrf-token': csrf},
            body: JSON.stringify({text, devices: {[device]: null}})});
        return [answer.status, (await answer.json()).problem];
    }"""
    status, problem = viewer.page.evaluate(script, [DEVICE, PROMPTS])
    assert status == 409
    assert "max may look, not act" in problem


def test_a_list_is_edited_pushed_and_taken_by_the_drone(
    sit: Callable[..., Seat], flight: DaemonProcess
) -> None:
    seat = sit()
    page = seat.open(f"prompts?device={DEVICE}")
    assert until(lambda: "a boat on the water" in page.input_value("#text"))
    page.fill("#text", PROMPTS.replace("threshold: 0.0", "threshold: 3.5"))
    page.wait_for_selector("#problems >> text=threshold must be between 0 and 1, got 3.5")
    assert "line 5" in page.text_content("#problems")
    assert page.is_disabled("#push")
    page.fill("#text", PROMPTS.replace("id: boat", "id: vessel"))
    page.wait_for_selector("#push:not(:disabled)")
    page.click("text=Show the changes")
    page.wait_for_selector(".diff .add >> text=id: vessel")
    page.click("#push")
    page.wait_for_selector("#lists tr.chosen >> text=in force")
    page.wait_for_selector("[data-region=inforce] >> text=vessel")
    # The old prompt's alert is over with its prompt, and the new one's is up.
    seat.open("alerts")
    page.wait_for_selector("[data-region=ended] tr:has-text('boat')")
    page.wait_for_selector("[data-region=active] tr.critical:has-text('vessel')")
    seat.open("audit")
    page.wait_for_selector("[data-region=actions] tr:has-text('push')")
    assert seat.complaints == []


def test_two_who_edit_one_list_do_not_overwrite_each_other(
    sit: Callable[..., Seat], flight: DaemonProcess
) -> None:
    first, second = (sit() for _ in range(2))
    for seat, name in ((first, "ferry"), (second, "raft")):
        page = seat.open(f"prompts?device={DEVICE}")
        assert until(lambda page=page: "a boat on the water" in page.input_value("#text"))
        page.fill("#text", PROMPTS.replace("id: boat", f"id: {name}"))
        page.wait_for_selector("#push:not(:disabled)")
    first.page.click("#push")
    second.page.wait_for_selector("[data-region=inforce] >> text=ferry")
    second.page.click("#push")
    second.page.wait_for_selector("#toast >> text=its list was changed meanwhile by lea")
    assert "ferry" in second.page.text_content("[data-region=inforce]")


def test_who_begins_to_type_when_another_has_pushed_already_is_told_too(
    sit: Callable[..., Seat], flight: DaemonProcess
) -> None:
    first, second = (sit() for _ in range(2))
    for seat in (first, second):
        page = seat.open(f"prompts?device={DEVICE}")
        assert until(lambda page=page: "a boat on the water" in page.input_value("#text"))
    first.page.fill("#text", PROMPTS.replace("id: boat", "id: barge"))
    first.page.click("#push:not(:disabled)")
    second.page.wait_for_selector("[data-region=inforce] >> text=barge")
    second.page.fill("#text", PROMPTS.replace("id: boat", "id: canoe"))
    second.page.click("#push:not(:disabled)")
    second.page.wait_for_selector("#toast >> text=its list was changed meanwhile by lea")
    assert "barge" in second.page.text_content("[data-region=inforce]")
    # Who has pushed may push again: what was sent is what the editor begins with.
    first.page.fill("#text", PROMPTS.replace("id: boat", "id: dinghy"))
    first.page.click("#push:not(:disabled)")
    second.page.wait_for_selector("[data-region=inforce] >> text=dinghy")
    assert first.complaints == []


def test_hostile_texts_stay_text_in_every_view(
    sit: Callable[..., Seat], say: Callable[[str, bytes], None]
) -> None:
    now = datetime.now(timezone.utc)
    ids = {"device": "heron-1", "session_id": "s1", "boot_id": "b1"}
    status = Status(
        sent_at=now, session_started_at=now, state="online", reason=HOSTILE, software=HOSTILE, **ids
    )
    say(Topics("heron-1").status, status.to_payload())
    event = heron_event(sent_at=now, observed_at=now, prompt_text=(HOSTILE,), reason=HOSTILE)
    say(Topics("heron-1").events, event.to_payload())
    say(f"remoteclip/1/{HOSTILE[:20].replace('/', '')}/status", status.to_payload())
    say("remoteclip/1/heron-2/status", b'{"schema": 2, "device": "<script>"}')
    seat = sit()
    seat.page.wait_for_selector("tr:has-text('heron-1')")
    for view in (*VIEWS, "device?device=heron-1", "alert?device=heron-1&alert=a1", "prompts?device=heron-1"):
        page = seat.open(view)
        assert "owned" not in page.title()
        assert page.locator("main img[src=x], main script").count() == 0
    assert "onerror=alert(1)" in seat.open("device?device=heron-1").text_content("main")
    assert all("409" in each for each in seat.complaints)  # the list of one who never had any
    assert seat.foreign == []


def test_every_view_fits_a_phone_and_is_walked_by_keys(sit: Callable[..., Seat], console: Console) -> None:
    seat = sit(viewport={"width": 390, "height": 800}, color_scheme="dark")
    for number, view in enumerate(VIEWS, start=1):
        seat.page.keyboard.press(str(number))
        seat.page.wait_for_url(f"**/{view}*")
        seat.page.wait_for_selector("main:not([aria-busy])")
        assert seat.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
    seat.page.keyboard.press("Tab")
    assert seat.page.evaluate("document.activeElement.textContent") == "Skip to the content"


def test_a_broker_that_goes_and_a_server_that_goes_are_told(
    sit: Callable[..., Seat], broker: Mosquitto, console: Console
) -> None:
    seat = sit()
    broker.stop()
    seat.page.wait_for_selector("text=No connection to the broker")
    assert "All quiet" not in seat.page.text_content("main")
    broker.start()
    seat.page.wait_for_selector("text=No connection to the broker", state="detached")
    console.stop()
    seat.page.wait_for_selector("#server-lost:not([hidden])")
    console.start()
    seat.page.wait_for_url("**/login")  # sessions end with the server
