"""How the console is started, and what it refuses to start with."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.accounts import Accounts
from console.cli import app, checked_tiles
from console.serve import Address, _listening, _owned
from firmware_cfg.errors import RemoteclipError, UsageError


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.9.1"])
def test_this_machine_needs_no_tls(host: str) -> None:
    assert Address.checked(host, 8080, None, None, insecure_http=False).scheme == "http"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "control.example.org"])
def test_other_machines_get_no_passwords_in_the_clear(host: str) -> None:
    with pytest.raises(UsageError, match="in the clear"):
        Address.checked(host, 8080, None, None, insecure_http=False)
    assert Address.checked(host, 8080, None, None, insecure_http=True).host == host


def test_a_certificate_that_cannot_be_used_is_told_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="go together"):
        Address.checked("::", 8080, tmp_path / "c.pem", None, insecure_http=False)
    (tmp_path / "c.pem").write_text("no certificate")
    with pytest.raises(UsageError, match=r"c\.pem"):
        Address.checked("::", 8080, tmp_path / "c.pem", tmp_path / "c.pem", insecure_http=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://tiles.example.org/{z}/{x}.png",
        "file:///{z}/{x}/{y}",
        "https://t.example.org/{z}/{x}/{y}; script-src *",
        "https://user:secret@t.example.org/{z}/{x}/{y}",
        "javascript:{x}{y}{z}",
    ],
)
def test_tiles_that_would_open_the_page_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--tiles"):
        checked_tiles(url)
    assert checked_tiles("https://tiles.example.org/{z}/{x}/{y}.png?key=1")


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(RemoteclipError, match=f"127.0.0.1:{port}: .*in use"),
            _listening(Address("127.0.0.1", port)),
        ):
            pass


def test_two_consoles_do_not_work_with_one_folder(tmp_path: Path) -> None:
    with (
        _owned(tmp_path / "data"),
        pytest.raises(RemoteclipError, match="another console"),
        _owned(tmp_path / "data"),
    ):
        pass
    with _owned(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_users_are_added_listed_and_removed(tmp_path: Path) -> None:
    run = CliRunner()
    data = ["--data", str(tmp_path)]
    password = tmp_path / "password"
    password.write_text("correct horse battery\nsecond line\n")
    added = run.invoke(
        app, ["user", "add", "ann", "--role", "operator", "--password-file", str(password), *data]
    )
    assert (added.exit_code, "ann may come in as operator" in added.output) == (0, True)
    asked = run.invoke(
        app, ["user", "add", "bob", "--role", "viewer", *data], input="another one!\nanother one!\n"
    )
    assert asked.exit_code == 0
    assert "another one!" not in asked.output
    assert run.invoke(app, ["user", "list", *data]).output == "operator  ann\nviewer    bob\n"
    assert run.invoke(app, ["user", "remove", "ann", *data]).exit_code == 0
    assert [user.name for user in Accounts(tmp_path / "users.json").list()] == ["bob"]
    gone = run.invoke(app, ["user", "remove", "ann", *data])
    assert isinstance(gone.exception, RemoteclipError)
    password.write_text("")
    empty = run.invoke(
        app, ["user", "add", "ann", "--role", "viewer", "--password-file", str(password), *data]
    )
    assert isinstance(empty.exception, UsageError)


def test_the_console_needs_neither_the_model_nor_its_runtime() -> None:
    script = (
        "import sys, console.serve, console.web.app, console.export\n"
        "heavy = {'torch', 'openvino', 'onnx', 'onnxruntime', 'cv2', 'av', 'tokenizers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
