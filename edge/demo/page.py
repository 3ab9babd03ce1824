"""The control room's page, served while the demo flies."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from edge.broker import free_port
from edge.mqtt.settings import BrokerSettings

USER = "demo"
START_S = 30.0
_NEEDS = ("starlette", "uvicorn", "websockets")
_PROGRAM = (sys.executable, "-c", "from console.cli import app; app()")  # nothing in edge imports the console


@contextmanager
def page_beside(broker: BrokerSettings) -> Iterator[str]:
    """Inside, the page is served on this machine; gives the line that says where, and how to come in.

    Where it cannot be, the line says why: the demo flies without it. A browser opens it if there is a screen.
    """
    if missing := [name for name in _NEEDS if find_spec(name) is None]:
        yield f"no page beside: {missing[0]} is not installed (pip install 'remoteclip-edge[console]')"
        return
    with TemporaryDirectory(prefix="remoteclip-page-") as folder:
        password = secrets.token_urlsafe(9)
        data, log, url = Path(folder), Path(folder) / "log", f"http://127.0.0.1:{(port := free_port())}"
        (data / "password").write_text(password)
        add = ("user", "add", USER, "--role", "operator", "--password-file", str(data / "password"))
        added = subprocess.run(
            [*_PROGRAM, *add, "--data", folder], capture_output=True, text=True, check=False
        )
        if added.returncode:
            yield f"no page beside: {added.stderr.strip()[-300:]}"
            return
        with log.open("wb") as written:
            served = subprocess.Popen(
                [*_PROGRAM, "--broker", str(broker.address), "--port", str(port), "--data", folder],
                stdout=written,
                stderr=written,
                start_new_session=True,  # Ctrl-C is for the flight; the page goes when that has ended
            )
        try:
            if not _answers(url, served):
                yield f"no page beside: {log.read_text(errors='replace').strip()[-300:] or 'no answer'}"
                return
            if _screen():
                webbrowser.open(url)
            yield f"the page of the control room: {url}/  (name {USER}, password {password})"
        finally:
            served.terminate()
            served.wait()


def _answers(url: str, served: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and served.poll() is None:
        try:
            with urlopen(f"{url}/login", timeout=5):
                return True
        except (URLError, OSError):
            time.sleep(0.05)
    return False


def _screen() -> bool:
    """Whether a browser that is opened would be seen by somebody; one in this terminal would take it away."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
