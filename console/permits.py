"""What every action asks first: whether this user may, and whether there is such a drone."""

from __future__ import annotations

from console.accounts import User
from console.devices import DeviceLine
from console.state import ControlRoom
from firmware_cfg.errors import RemoteclipError


class ActionError(RemoteclipError):
    """It cannot be done, or not by this user."""


def require_operator(user: User) -> None:
    """Raises ActionError for one who may only look."""
    if not user.may_act:
        raise ActionError(f"{user.name} may look, not act (an operator may)")


def line_of(room: ControlRoom, device: str) -> DeviceLine:
    """Raises ActionError for a drone that nobody has heard of."""
    line = room.devices.get(device)
    if line is None:
        raise ActionError(f"no drone {device[:64]!a} is known")
    return line
