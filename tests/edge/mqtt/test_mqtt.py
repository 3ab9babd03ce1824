"""One connection, against a listener that is no broker; tests/system has the real one."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.mqtt.connection import Connection, ConnectionPlan
from edge.mqtt.messages import OutgoingMessage
from edge.mqtt.settings import BrokerSettings
from firmware_cfg.errors import BrokerError


@pytest.fixture
def hangs_up() -> Iterator[BrokerSettings]:
    """Takes every connection and ends it at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with contextlib.suppress(OSError):  # the listener was closed
                while True:
                    listener.accept()[0].close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield BrokerSettings.from_url(f"mqtt://127.0.0.1:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def sockets() -> int:
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    count = 0
    for link in links:
        with contextlib.suppress(OSError):
            count += os.readlink(link).startswith("socket:")
    return count


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc/self/fd to count")
def test_a_try_that_fails_leaves_no_socket_behind(hangs_up: BrokerSettings) -> None:
    plan = ConnectionPlan("drone", lambda *_: None, will=lambda: OutgoingMessage("will", b""))

    def fail() -> None:
        with pytest.raises(BrokerError, match="hangs up"):
            Connection(hangs_up, "5", plan).open()

    fail()
    before = sockets()
    gc.disable()  # a drone that is offline for a day must not depend on it
    try:
        for _ in range(20):
            fail()
        assert sockets() <= before + 4  # those whose network thread is ending just now
    finally:
        gc.enable()
