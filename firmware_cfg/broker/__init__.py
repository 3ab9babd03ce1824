"""The broker's configuration for a control room (`mosquitto.conf`, `acl`, `listeners/`), and runnable copies.

A copy differs from what is shipped by its paths, its port and the changes that were asked for; so what the
tests start is what a control room runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).parent

#: Who may come in: drones by certificate, anybody by password, or (on loopback, for tries) anybody at all.
Login = Literal["certificates", "passwords", "anonymous"]

_ETC = "/etc/mosquitto/"


def broker_files(
    folder: Path,
    *,
    port: int,
    login: Login = "anonymous",
    tls: bool = True,
    changes: Sequence[str] = (),
    listener: Sequence[str] = (),
) -> Path:
    """Writes the configuration of one broker at 127.0.0.1 into `folder` and returns its path.

    What the broker keeps lies in `folder`/data. TLS reads `folder`/certs/{ca.crt, broker.crt, broker.key},
    passwords come from `folder`/passwords; they need not be there yet.

    Args:
        login: "anonymous" goes without the acl, which knows nobody without a name, and without TLS.
        tls: False: passwords in plain text, for tries on one machine. Certificates need it.
        changes: lines that take the place of the shipped ones for the same options, or are added.
        listener: the same, for the listener.
    """
    if login == "certificates" and not tls:
        raise ValueError("certificates need TLS")
    folder = folder.resolve()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    general = _lines(FOLDER / "mosquitto.conf")
    general = _changed(
        general,
        [f"acl_file {_ETC}acl", f"persistence_location {folder / 'data'}/", "include_dir"],
    )
    if login == "anonymous":
        general = _changed(general, ["acl_file", "allow_anonymous true"])
        of_listener = ["listener"]
    else:
        shutil.copyfile(FOLDER / "acl", folder / "acl")
        of_listener = _lines(FOLDER / "listeners" / f"{login}.conf")
    if not tls:
        of_listener = _changed(of_listener, ["cafile", "certfile", "keyfile"])
    of_listener = _changed(of_listener, [f"listener {port} 127.0.0.1", *listener])
    lines = [*_changed(general, changes), *of_listener]
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines).replace(_ETC, f"{folder}/") + "\n", encoding="utf-8")
    return config


def _lines(path: Path) -> list[str]:
    """The options of a shipped file, without its comments."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _changed(lines: Sequence[str], changes: Sequence[str]) -> list[str]:
    """Each change stands where its option stood first, else at the end; one without a value takes it out.

    The place matters: what follows `listener` is about that listener.
    """
    names = {change.split()[0] for change in changes}
    waiting = list(changes)
    changed: list[str] = []
    for line in lines:
        name = line.split()[0]
        if name not in names:
            changed.append(line)
            continue
        changed += [change for change in waiting if change.split()[0] == name]
        waiting = [change for change in waiting if change.split()[0] != name]
    return [line for line in changed + waiting if len(line.split()) > 1]
