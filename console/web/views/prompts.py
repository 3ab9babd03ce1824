"""Prompt lists: what each device runs, and what became of a list that was pushed."""

from __future__ import annotations

from collections.abc import Mapping

from console.web.look import Look
from console.web.render import parts
from console.web.screen import Region


def prompts(look: Look) -> Mapping[str, Region]:
    """Regions `lists` (a row for each device) and `inforce` (prompts of the one looked at)."""
    macros = parts("prompts")
    devices = look.services.room.devices
    wanted = look.query.get("q", "").strip().lower()
    chosen = look.query.get("device", "")
    names = [name for name in sorted(devices) if wanted in name]
    if chosen in devices and chosen not in look.window(names):
        names = [chosen, *(name for name in names if name != chosen)]
    rows = {name: macros.row(devices[name], name == chosen, look) for name in look.window(names)}
    rows = rows or {"none": macros.nobody(bool(devices))}
    device = devices.get(chosen)
    state = device.prompts if device is not None else None
    inforce = {} if state is None else {each.id: macros.prompt(each) for each in state.prompts}
    return {"lists": rows, "inforce": inforce}
