"""sd_notify over real sockets, seen from systemd's side."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import pytest

from edge.health.systemd import BEATS, STATUS_BYTES, Notifier, Start, Watchdog, more_time

PATIENCE_S = 20.0


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """A socket that does what systemd's does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(PATIENCE_S)
        yield receiver


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    with listening(str(tmp_path / "notify")) as opened:
        yield opened


def environment(receiver: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": receiver.getsockname(), **more}


def told(receiver: socket.socket) -> list[str]:
    """The next datagram's lines."""
    return receiver.recv(4096).decode().split("\n")


def untold(receiver: socket.socket) -> bool:
    """Whether nothing waits in the socket."""
    receiver.setblocking(False)
    try:
        receiver.recv(4096)
    except BlockingIOError:
        return True
    finally:
        receiver.settimeout(PATIENCE_S)
    return False


def fill(notifier: Notifier) -> int:
    """Send until the receiver's queue is full; how many went in."""
    for count in range(100_000):
        if not notifier.alive():
            return count
    pytest.skip("queues of this kernel's datagram sockets have no end")


def test_every_state_is_one_datagram(receiver: socket.socket) -> None:
    with Notifier(environment(receiver)) as notifier:
        assert notifier.listening
        notifier.ready("flies over 2 prompts")
        notifier.status("12 frames a second")
        assert notifier.alive()
        notifier.extend_timeout(2.5)
        notifier.stopping("SIGTERM")
    assert told(receiver) == ["READY=1", "STATUS=flies over 2 prompts"]
    assert told(receiver) == ["STATUS=12 frames a second"]
    assert told(receiver) == ["WATCHDOG=1"]
    assert told(receiver) == ["EXTEND_TIMEOUT_USEC=2500000", "WATCHDOG=1"]
    assert told(receiver) == ["STOPPING=1", "STATUS=SIGTERM"]


def test_an_abstract_socket_is_one_too() -> None:
    name = f"remoteclip-test-{os.getpid()}"
    with listening("\0" + name) as receiver, Notifier({"NOTIFY_SOCKET": "@" + name}) as notifier:
        notifier.ready()
        assert told(receiver) == ["READY=1"]


def test_outside_of_systemd_nothing_is_sent_and_nothing_said(caplog: pytest.LogCaptureFixture) -> None:
    with Notifier({"WATCHDOG_USEC": "1000000"}) as notifier:
        assert not notifier.listening
        assert notifier.watchdog_s is None
        notifier.ready("up")
        notifier.stopping()
        assert not notifier.alive()
        Watchdog(notifier).frame_done()
        with more_time(notifier, limit_s=60):
            pass
    assert caplog.messages == []


def test_the_process_looks_into_its_own_environment(
    receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", receiver.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    with Notifier() as notifier:
        assert notifier.watchdog_s == 30.0
        notifier.ready()
    assert told(receiver) == ["READY=1"]


def test_a_status_from_outside_stays_one_short_line(receiver: socket.socket) -> None:
    with Notifier(environment(receiver)) as notifier:
        notifier.status("stopped\nMAINPID=1\r\x00 \udcff end")
        notifier.status("ü" * STATUS_BYTES)
        notifier.status("")
        notifier.ready()
    assert told(receiver) == ["STATUS=stopped MAINPID=1     end"]
    (line,) = told(receiver)
    assert line == "STATUS=" + "ü" * (STATUS_BYTES // 2)
    assert told(receiver) == ["STATUS="]
    assert told(receiver) == ["READY=1"]


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_the_watchdog_is_fed_where_systemd_asks_this_process_for_it(
    receiver: socket.socket, stated: dict[str, str], seconds: float | None
) -> None:
    with Notifier(environment(receiver, **stated)) as notifier:
        assert notifier.watchdog_s == seconds


def test_the_watchdog_hears_of_frames_a_few_times_a_period(receiver: socket.socket) -> None:
    now = 100.0
    with Notifier(environment(receiver, WATCHDOG_USEC="8000000")) as notifier:
        watchdog = Watchdog(notifier, clock=lambda: now)
        for frame in range(80):
            now = 100.0 + frame / 10
            watchdog.frame_done()
    for _ in range(BEATS):
        assert told(receiver) == ["WATCHDOG=1"]
    assert untold(receiver)


def test_a_full_queue_holds_no_frame_up_and_is_fed_again_when_there_is_room(
    receiver: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    with Notifier(environment(receiver, WATCHDOG_USEC="8000000")) as notifier:
        watchdog = Watchdog(notifier, clock=lambda: now)
        waiting = fill(notifier)
        watchdog.frame_done()
        watchdog.frame_done()
        (line,) = caplog.messages
        assert line.startswith("systemd cannot be told how the flight goes: ")
        for _ in range(waiting):
            told(receiver)
        assert untold(receiver)
        watchdog.frame_done()  # the period is not over, but nobody heard the last one
        assert told(receiver) == ["WATCHDOG=1"]
        watchdog.frame_done()
        assert untold(receiver)
    assert len(caplog.messages) == 1


def test_what_systemd_waits_for_waits_for_room(receiver: socket.socket) -> None:
    with Notifier(environment(receiver)) as notifier:
        waiting = fill(notifier)
        caller = Thread(target=notifier.ready, args=("up",))
        caller.start()
        heard = [told(receiver) for _ in range(waiting + 1)]
        caller.join(PATIENCE_S)
    assert heard[-1] == ["READY=1", "STATUS=up"]


def test_a_socket_that_is_gone_is_said_once_and_flown_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as receiver:
        notifier = Notifier(environment(receiver, WATCHDOG_USEC="1000000"))
    os.unlink(address)
    for _ in range(3):
        assert not notifier.alive()
        notifier.status("on and on")
    assert caplog.messages == ["systemd cannot be told how the flight goes: No such file or directory"]
    with listening(address) as receiver:
        assert notifier.alive()
        assert told(receiver) == ["WATCHDOG=1"]
    notifier.close()
    notifier.close()
    assert not notifier.alive()


def test_other_kinds_of_address_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Notifier({"NOTIFY_SOCKET": "vsock:2:9999"}) as notifier:
        assert not notifier.listening
    assert caplog.messages == [
        "NOTIFY_SOCKET=vsock:2:9999 is no kind of address that is known here; systemd is not told"
    ]


def test_more_time_is_asked_for_until_the_work_is_done(receiver: socket.socket) -> None:
    asked = ["EXTEND_TIMEOUT_USEC=40000", "WATCHDOG=1"]
    with Notifier(environment(receiver, WATCHDOG_USEC="40000")) as notifier:
        with more_time(notifier, limit_s=PATIENCE_S):
            for _ in range(3):
                assert told(receiver) == asked
        while not untold(receiver):
            pass
        assert notifier.alive()
        assert told(receiver) == ["WATCHDOG=1"]


def test_more_time_ends_with_its_limit(receiver: socket.socket) -> None:
    with Notifier(environment(receiver)) as notifier:
        with more_time(notifier, limit_s=0):
            pass
        assert untold(receiver)


def test_a_start_is_told_once_and_then_only_what_changes(receiver: socket.socket) -> None:
    ended = []
    with Notifier(environment(receiver)) as notifier, ExitStack() as lasting:
        lasting.callback(ended.append, "start-up")
        start = Start(notifier, lasting, "flying", 60.0)
        for _ in range(3):
            start.waits()
        assert told(receiver) == ["READY=1", "STATUS=waiting for the camera"]
        assert ended == ["start-up"]
        with start.loading():
            assert told(receiver) == ["STATUS=loading the engine"]
            assert told(receiver)[0].startswith("EXTEND_TIMEOUT_USEC=")
        for _ in range(3):
            start.flies()
        assert told(receiver) == ["STATUS=flying"]
        start.waits()
        assert told(receiver) == ["STATUS=waiting for the camera"]
    assert untold(receiver)


def test_an_engine_that_is_loaded_for_the_very_first_frame_belongs_to_the_start(
    receiver: socket.socket,
) -> None:
    with Notifier(environment(receiver)) as notifier, ExitStack() as lasting:
        start = Start(notifier, lasting, "flying", 60.0)
        with start.loading():
            assert told(receiver)[0].startswith("EXTEND_TIMEOUT_USEC=")
        start.flies()
        assert told(receiver) == ["READY=1", "STATUS=flying"]
    assert untold(receiver)
