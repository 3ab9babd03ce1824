"""The console under a fleet: how late its pages are, what it takes of the machine, whether anything is lost.

    python -m benchmarks.console [--devices 1000] [--seconds 60] [--events 10] [--pages 4] [--json]

The drones of benchmarks/fleet (the shipped mosquitto, passwords and acl in force) say one message a second
each: counts of the four prompts of traffic.yaml every four seconds, health every ten, and besides `--events`
steps of alerts a second in all. The console is the command `remoteclip console`, a process of its own; its
pages are WebSockets that log in and answer as a browser does. Latency runs from the moment at which a raise
was due on the drone to the moment at which a page of alerts was sent its row. Nothing may be missing from the
history.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

import firmware_cfg
from benchmarks.fleet.fleet import Fleet, Options
from benchmarks.fleet.phases import calm, wait_for
from console.accounts import Accounts
from console.serve import HISTORY_NAME, USERS_NAME
from edge.broker import free_port
from edge.mqtt.settings import BrokerSettings
from edge.mqtt.subscriber import Subscriber
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.topics import ROOT

PROMPTS = Path(firmware_cfg.__file__).parent / "prompts" / "traffic.yaml"
PROMPTS_OF_LIST = 4
WARM_UP_S = 5.0
SETTLE_S = 3.0
PATIENCE_S = 60.0
PASSWORD = "a password of the benchmark"
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Result:
    """Latencies in milliseconds; `cores` is the console's processor time over wall time."""

    machine: str
    devices: int
    pages: int
    seconds: float
    messages_per_s: float
    raises: int
    shown: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    most_ms: float
    cores: float
    rss_mib: float
    peak_mib: float
    page_kib_per_s: float
    events_told: int
    events_kept: int


class Page(threading.Thread):
    """One open page: takes what comes and says that it has shown it."""

    def __init__(self, port: int, cookie: str, view: str, shown: dict[str, float]) -> None:
        super().__init__(daemon=True)
        self.received = 0
        self._shown = shown
        self._address = f"ws://127.0.0.1:{port}/live?view={view}"
        self._headers = {"Cookie": cookie}
        self._origin = f"http://127.0.0.1:{port}"
        self.over = threading.Event()

    def run(self) -> None:
        """Until `over`, or the console ends it."""
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect

        try:
            with connect(
                self._address, additional_headers=self._headers, origin=self._origin, max_size=None
            ) as socket:
                while not self.over.is_set():
                    text = str(socket.recv())
                    now = time.monotonic()
                    self.received += len(text)
                    for key in json.loads(text)["regions"].get("active", {}).get("set", {}):
                        self._shown.setdefault(key, now)
                    socket.send("shown")
        except ConnectionClosed:
            return


def fly(options: Options, seconds: float, events_per_s: float, pages: int) -> Result:
    """One run. Raises RemoteclipError where fleet or console do not come up."""
    raised: dict[str, float] = {}
    shown: dict[str, float] = {}
    messages = 0

    def hear(topic: str, payload: bytes, _retained: bool) -> None:
        nonlocal messages
        messages += 1
        if topic.endswith("/events") and b'"msg_type":"raise"' in payload:
            event = json.loads(payload)
            raised[f"{event['device']}/{event['alert_id']}"] = event["mono_ns"] / 1e9

    with (
        tempfile.TemporaryDirectory(prefix="remoteclip-console-") as folder,
        Fleet(options, Path(folder)) as fleet,
    ):
        user, password = fleet.room_login
        os.environ["BENCH_BROKER_PASSWORD"] = password
        broker = BrokerSettings(
            BrokerSettings.from_url(f"mqtt://127.0.0.1:{fleet.broker.port}").address,
            username=user,
            password_env="BENCH_BROKER_PASSWORD",
        )
        fleet.connect(5.0)
        if not wait_for(lambda: fleet.reports().online == options.devices):
            raise RemoteclipError("the fleet could not connect")
        data = Path(folder) / "console"
        with _console(fleet.broker.port, user, data) as (process, port):
            cookie = _login(port)
            views = ["alerts", *(["fleet", "map", "alerts"] * pages)][:pages]
            open_pages = [Page(port, cookie, view, shown if view == "alerts" else {}) for view in views]
            for page in open_pages:
                page.start()
            with Subscriber(broker, (f"{ROOT}/#",), hear) as recorder:
                if not recorder.wait_online(PATIENCE_S):
                    raise RemoteclipError(recorder.problem or "the recorder could not connect")
                fleet.load(events_per_s)
                time.sleep(WARM_UP_S)
                raised.clear()
                before, began, heard = _usage(process.pid), time.monotonic(), messages
                received = sum(page.received for page in open_pages)
                time.sleep(seconds)
                after, took, heard = _usage(process.pid), time.monotonic() - began, messages - heard
                received = sum(page.received for page in open_pages) - received
                measured = dict(raised)
                told = calm(fleet).events
                time.sleep(SETTLE_S)
            for page in open_pages:
                page.over.set()
        kept = _kept_events(data / HISTORY_NAME)
    late = [1e3 * (shown[key] - due) for key, due in measured.items() if key in shown]
    p50, p95, p99, most = np.percentile(late, [50, 95, 99, 100]) if late else [math.nan] * 4
    return Result(
        machine=f"{os.cpu_count()} cores",
        devices=options.devices,
        pages=pages,
        seconds=round(took, 1),
        messages_per_s=heard / took,
        raises=len(measured),
        shown=len(late),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        most_ms=most,
        cores=(after[0] - before[0]) / took,
        rss_mib=after[1],
        peak_mib=after[2],
        page_kib_per_s=received / took / 1024 / max(1, pages),
        events_told=told,
        events_kept=kept,
    )


@contextmanager
def _console(broker_port: int, user: str, data: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The console as its command starts it, with one operator; ended by SIGTERM, its history written."""
    data.mkdir(mode=0o700)
    Accounts(data / USERS_NAME).add("bench", "operator", PASSWORD)
    port = free_port()
    command = [
        *(sys.executable, "-c", "from console.cli import app; app()"),
        *("--broker", f"mqtt://127.0.0.1:{broker_port}", "--username", user),
        *("--password-env", "BENCH_BROKER_PASSWORD", "--port", str(port), "--data", str(data)),
    ]
    process = subprocess.Popen(command)
    try:
        if not wait_for(lambda: process.poll() is not None or _answers(port)) or process.poll() is not None:
            raise RemoteclipError("the console did not start")
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/login")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _login(port: int) -> str:
    """The cookie of a session."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    headers = {
        "Origin": f"http://127.0.0.1:{port}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    connection.request("POST", "/login", urlencode({"name": "bench", "password": PASSWORD}), headers)
    answer = connection.getresponse()
    cookie = answer.getheader("set-cookie", "").partition(";")[0]
    connection.close()
    if not cookie:
        raise RemoteclipError(f"the login was refused ({answer.status})")
    return cookie


def _usage(pid: int) -> tuple[float, float, float]:
    """Seconds of processor since its start, resident MiB now and at most."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    now, most = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return (int(stat[11]) + int(stat[12])) / _TICK, now, most


def _kept_events(path: Path) -> int:
    database = sqlite3.connect(path)
    try:
        return int(database.execute("SELECT count(*) FROM events").fetchone()[0])
    finally:
        database.close()


def _table(result: Result) -> str:
    lines = [
        f"{result.devices} drones, {result.messages_per_s:,.0f} messages/s for {result.seconds:.0f} s,"
        f" {result.pages} pages open ({result.machine})",
        f"raise to page: p50 {result.p50_ms:.0f} ms, p95 {result.p95_ms:.0f}, p99 {result.p99_ms:.0f},"
        f" slowest {result.most_ms:.0f} (n = {result.shown} of {result.raises} raises)",
        f"console: {result.cores:.2f} cores, {result.rss_mib:.0f} MiB (peak {result.peak_mib:.0f});"
        f" each page gets {result.page_kib_per_s:.0f} KiB/s",
        f"events told {result.events_told:,}, in the history {result.events_kept:,}",
    ]
    return "\n".join(lines)


def main() -> int:
    """Exit code 1 when an event is missing, or fleet or console did not come up."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.console", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--devices", type=int, default=1000, help="drones (default 1000)")
    parser.add_argument("--seconds", type=float, default=60.0, help="measured, after a warm-up (default 60)")
    parser.add_argument("--events", type=float, default=10.0, help="steps of alerts a second (default 10)")
    parser.add_argument(
        "--pages", type=int, default=4, help="open pages, in turn alerts, fleet, map (default 4)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    wanted = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted.devices + 300
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(need, hard)), hard))
    options = Options(wanted.devices, PROMPTS, counts_interval=float(PROMPTS_OF_LIST))
    try:
        result = fly(options, wanted.seconds, wanted.events, wanted.pages)
    except RemoteclipError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)) if wanted.json else _table(result))
    return 0 if result.events_kept == result.events_told else 1


if __name__ == "__main__":
    sys.exit(main())
