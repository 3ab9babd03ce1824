"""Pictures of every view of the console: `python -m benchmarks.screenshots -o runs/screenshots`.

A broker, `remoteclip console`, the virtual flight of the demo (MIT orthophoto) through `remoteclip run`, some
simulated drones round it; Debian's chromium, light and dark, wide and narrow. The last line says how long
the flight's alert took from a subscriber of the broker to the page. `--readme docs/console.png` writes the
README's picture, too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from edge.broker import start_demo_broker
from edge.demo.page import page_beside
from edge.demo.session import DEFAULT_PROMPTS
from edge.mqtt.messages import OutgoingMessage
from edge.mqtt.settings import BrokerSettings
from edge.mqtt.subscriber import Subscriber
from firmware_cfg.messages import (
    Alert,
    Counts,
    Event,
    Health,
    Message,
    Pose,
    PromptInUse,
    PromptsState,
    Status,
)
from firmware_cfg.topics import Topics

DEVICE = "demo"
VIEWS = ("alerts", "fleet", "map", "counts", f"prompts?device={DEVICE}", f"device?device={DEVICE}", "audit")
SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
PATIENCE_S = 60.0
LIST = """\
version: 1
prompts:
  - id: person
    text: [a person seen from above, a hiker on a path]
    review_below: 0.6
    alerts: [{when: count >= 1, for: 1s, severity: critical}]
  - id: vehicle
    text: a car seen from above
    alerts: [{when: count in closed_area >= 1, severity: warning}]
zones:
  closed_area: {ground: %s}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/screenshots"))
    parser.add_argument("--readme", type=Path, help="Where the README's picture goes.")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        broker = BrokerSettings.from_url(stack.enter_context(start_demo_broker()).url)
        line = stack.enter_context(page_beside(broker))
        url, password = line.split(": ", 1)[1].split("/  ")[0], line.rsplit(" ", 1)[1].rstrip(")")
        chromium = stack.enter_context(_chromium())
        seat = _Seat(chromium, url, password)
        raised = stack.enter_context(_flown(broker))
        shown_after = seat.first_alert(raised)
        stack.enter_context(_neighbours(broker, raised.event))
        time.sleep(8)  # so that counts over time have a line
        seat.take_all(arguments.output)
        if arguments.readme is not None:
            picture = Image.open(arguments.output / "alert-wide-light.png").convert("RGB")
            picture.quantize(256).save(arguments.readme, optimize=True)  # a third of the bytes
    print(
        json.dumps({"pictures": str(arguments.output), "alert_on_page_after_ms": round(shown_after * 1000)})
    )


class _Raised:
    """The first raise, and when a subscriber of the broker had it."""

    def __init__(self) -> None:
        self.event: Event
        self.at = 0.0
        self.came = threading.Event()

    def __call__(self, topic: str, payload: bytes, retained: bool) -> None:
        if not self.came.is_set():
            self.event, self.at = Event.from_payload(payload), time.time()
            self.came.set()


class _Seat:
    """An operator at a browser."""

    def __init__(self, chromium: Any, url: str, password: str) -> None:
        self._chromium, self._url = chromium, url
        self._context = chromium.new_context(viewport=SIZES["wide"], color_scheme="light")
        self._page = self._context.new_page()
        self._page.goto(f"{url}/login")
        self._page.fill("[name=name]", "demo")
        self._page.fill("[name=password]", password)
        self._page.click("text=Sign in")
        self._page.wait_for_selector("main:not([aria-busy])")

    def first_alert(self, raised: _Raised) -> float:
        """Seconds from the broker's subscriber to the row in the page, by this machine's one clock."""
        script = """() => new Promise(shown => {
            const region = document.querySelector('[data-region=active]');
            const look = () => region.querySelector('.severity') && shown(Date.now() / 1000);
            new MutationObserver(look).observe(region, {childList: true});
            look();
        })"""
        at = float(self._page.evaluate(script))
        if not raised.came.wait(PATIENCE_S):
            raise SystemExit("the flight raised no alert")
        return at - raised.at

    def take_all(self, folder: Path) -> None:
        """Every view in every size and scheme, and one alert with its picture."""
        self._page.goto(f"{self._url}/device?device={DEVICE}")
        self._page.click("text=Fetch a picture")
        self._page.wait_for_selector("figure:not([hidden])")
        for size, viewport in SIZES.items():
            self._page.set_viewport_size(viewport)
            for scheme in ("light", "dark"):
                self._page.emulate_media(color_scheme=scheme)
                for view in VIEWS:
                    self._take(view, folder / f"{view.split('?')[0]}-{size}-{scheme}.png")
                self._page.goto(f"{self._url}/alerts?q={DEVICE}")
                self._page.wait_for_selector("main:not([aria-busy])")
                link = self._page.locator(f"a.what[href*='device={DEVICE}&']").first
                self._take(str(link.get_attribute("href"))[1:], folder / f"alert-{size}-{scheme}.png")

    def _take(self, view: str, path: Path) -> None:
        self._page.goto(f"{self._url}/{view}")
        self._page.wait_for_selector("main:not([aria-busy])")
        for button in ("Fetch the picture", "Fetch a picture"):
            if self._page.locator(f"text={button}").count():
                self._page.click(f"text={button}")
                self._page.wait_for_selector("figure:not([hidden])")
        time.sleep(0.7)
        self._page.screenshot(path=path)


@contextmanager
def _chromium() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise SystemExit("no chromium on the path (apt-get install chromium)")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def _flown(broker: BrokerSettings) -> Iterator[_Raised]:
    raised = _Raised()
    with TemporaryDirectory(prefix="remoteclip-shots-") as folder:
        device = Path(folder) / "device.yaml"
        device.write_text(
            f"device: {DEVICE}\nsource: {{uri: 'demo://?speed=4', realtime: true}}\n"
            f"prompts: {DEFAULT_PROMPTS}\n"
            f"mqtt: {{url: '{broker.address}'}}\nstate_dir: state\ncounts_interval: 500ms\n"
        )
        with Subscriber(broker, (Topics(DEVICE).events,), raised) as subscriber:
            subscriber.wait_online(PATIENCE_S)
            log = (Path(folder) / "log").open("wb")
            flight = subprocess.Popen(
                [sys.executable, "-m", "edge.cli", "run", str(device)], stdout=log, stderr=log
            )
            try:
                yield raised
            finally:
                flight.terminate()
                flight.wait()
                log.close()


@contextmanager
def _neighbours(broker: BrokerSettings, near: Event) -> Iterator[None]:
    """Drones round the flight that say what drones say, every second, until the end."""
    over = threading.Event()
    with Subscriber(broker, ("nothing",), lambda *_: None) as somebody:
        somebody.wait_online(PATIENCE_S)
        fleet = _Fleet(near)

        def fly() -> None:
            while not over.wait(1.0):
                for topic, message in fleet.step():
                    somebody.publish(OutgoingMessage(topic, message, retain="/events" not in topic))

        thread = threading.Thread(target=fly)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


class _Fleet:
    """heron-1 sees a person, heron-2 a vehicle; osprey-1 has lost its camera, osprey-2 is lost."""

    def __init__(self, near: Event) -> None:
        if near.pose is None:
            raise SystemExit("the flight tells no pose")
        self._near, self._pose, self._steps = near, near.pose, 0
        north, east = near.pose.latitude, near.pose.longitude
        area = [[north + y, east + x] for y, x in ((2e-4, 4e-4), (2e-4, 9e-4), (7e-4, 9e-4), (6e-4, 4e-4))]
        self._list = (LIST % json.dumps(area)).encode()

    def step(self) -> Iterator[tuple[str, bytes]]:
        self._steps += 1
        for number, name in enumerate(("heron-1", "heron-2", "heron-3", "osprey-1", "osprey-2")):
            yield from self._drone(name, number)

    def _drone(self, name: str, number: int) -> Iterator[tuple[str, bytes]]:
        topics, now = Topics(name), datetime.now(timezone.utc)
        said: dict[str, Any] = {"device": name, "sent_at": now}
        if self._steps == 1:
            state = "offline" if name == "osprey-2" else "online"
            session = {"session_id": "s1", "session_started_at": now - timedelta(hours=2), "boot_id": "b1"}
            yield _of(topics.status, Status(**said, **session, state=state, software="0.1.0"))
            sha256 = hashlib.sha256(self._list).hexdigest()
            each: dict[str, Any] = {"kind": "object", "threshold": 0.4, "threshold_from": "null_bank"}
            used = (PromptInUse(id="person", text=("a person seen from above",), **each),)
            using = PromptsState(**said, sha256=sha256, applied_at=now, source="mqtt", prompts=used)
            yield _of(topics.prompts_state, using)
            yield topics.prompts_desired, self._list
        camera = "rtsp://camera.local: no answer in 5 s" if name == "osprey-1" else None
        health: dict[str, Any] = {
            "engine": "tensorrt",
            "precision": "fp16",
            "native": True,
            "clock_synced": True,
        }
        numbers: dict[str, Any] = {"uptime_s": 7200, "frames": 72000, "fps": 9.8 - number / 4}
        bundle = self._near.bundle_sha256
        yield _of(
            topics.health, Health(**said, **health, **numbers, camera_problem=camera, bundle_sha256=bundle)
        )
        people = (self._steps // 4 + number) % 3
        counted = Counts(
            **said,
            prompt="person",
            observed_at=now,
            frame=self._steps,
            count=people,
            unique=6 + number,
            score=0.6,
        )
        yield _of(topics.counts("person"), counted)
        alerts = {"heron-1": ("person", "critical", "possible"), "heron-2": ("vehicle", "warning", "likely")}
        if name in alerts and self._steps % 3 == 1:
            event = self._event(name, number, *alerts[name], now)
            yield _of(topics.events, event)
            yield _of(topics.alert(event.alert_id), Alert.from_event(event, now))

    def _event(
        self, name: str, number: int, prompt: str, severity: Any, certainty: Any, now: datetime
    ) -> Event:
        along = self._steps * 1.5e-5
        pose = Pose(
            latitude=self._pose.latitude - 3e-4 + along + number * 4e-4,
            longitude=self._pose.longitude + 5e-4 - number * 9e-4 + along / 3,
            height_m=80.0,
            yaw_deg=18.0 if number == 0 else 200.0,
        )
        changes: dict[str, Any] = {
            "device": name,
            "sent_at": now,
            "observed_at": now,
            "boot_id": "b1",
            "seq": self._steps,
            "alert_id": f"a-{prompt}",
            "event_id": f"{name}-{self._steps}",
            "prompt": prompt,
            "msg_type": "raise" if self._steps == 1 else "update",
            "severity": severity,
            "certainty": certainty,
            "prompt_text": (f"a {prompt} seen from above",),
            "score": 0.54,
            "count": 1,
            "boxes": (),
            "points": (),
            "position": {"coordinates": (pose.longitude + 1e-4, pose.latitude + 1e-4)},
            "h_acc_m": 9.0 + number * 5,
            "pose": pose,
            "track_ids": (),
            "evidence_sha256": None,
            "reason": "count >= 1",
        }
        return Event(**{**self._near.model_dump(), **changes})


def _of(topic: str, message: Message) -> tuple[str, bytes]:
    return topic, message.to_payload()


if __name__ == "__main__":
    main()
