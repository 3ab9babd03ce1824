"""What was done from this console, by whom, and when."""

from __future__ import annotations

from collections.abc import Mapping

from console.web.look import Look
from console.web.render import parts
from console.web.screen import Region
from firmware_cfg.errors import RemoteclipError

_ROWS = 200


def audit(look: Look) -> Mapping[str, Region]:
    """Region `actions`, the newest first; `before` in the query leads to older ones."""
    macros = parts("audit")
    before = look.query.get("before", "")
    try:
        rows = look.services.history.audit(_ROWS, int(before) if before.isdecimal() else None)
    except RemoteclipError as error:
        return {"actions": {"problem": macros.unreadable(str(error))}, "older": {}}
    return {
        "actions": {str(row.id): macros.row(row) for row in rows} or {"none": macros.nothing()},
        "older": {"link": macros.older(rows[-1].id)} if len(rows) == _ROWS else {},
    }
