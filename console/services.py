"""What the page works with, put together in one place: by `console/cli.py`, and by tests without a broker."""

from __future__ import annotations

from dataclasses import dataclass

from console.accounts import Accounts
from console.actions import Actions
from console.history import History
from console.link import Link
from console.state import ControlRoom


@dataclass(frozen=True, slots=True)
class Settings:
    """How the page is served.

    Attributes:
        broker: its address as it is shown, without a password.
        tiles: address of map tiles with {z}, {x} and {y}; None: the map is a plain graticule.
        secure: the page comes over TLS, so cookies may demand it.
        insecure_http: somebody has asked for a page without TLS beyond this machine.
    """

    broker: str = ""
    tiles: str | None = None
    secure: bool = False
    insecure_http: bool = False


@dataclass(frozen=True, slots=True)
class Services:
    """Everything belongs to the thread of the event loop but for `history`, which any thread may read."""

    room: ControlRoom
    history: History
    link: Link
    actions: Actions
    accounts: Accounts
    settings: Settings
