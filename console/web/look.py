"""One look at the control room: who looks, at what, and when. Views make regions of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from console.accounts import Session
from console.services import Services
from console.web.render import Memo
from console.web.screen import Region

MOST_ROWS = 100
"""Rows of a table on one page; nobody reads more at a glance."""


@dataclass(frozen=True, slots=True)
class Look:
    """`query` are the parameters of the page's address: filters, the page number, which device or alert.

    `memo` is one for all who look.
    """

    services: Services
    session: Session
    query: Mapping[str, str]
    now: datetime
    memo: Memo = field(default_factory=Memo)

    @property
    def operator(self) -> bool:
        """Whether buttons that change something are shown. Whether they may is for `console.actions`."""
        return self.session.user.role == "operator"

    @property
    def page(self) -> int:
        """From 0."""
        text = self.query.get("page", "")
        return max(0, int(text) - 1) if text.isdecimal() and len(text) < 6 else 0

    def window(self, rows: list[str]) -> list[str]:
        """Those of the page that is looked at."""
        return rows[self.page * MOST_ROWS : (self.page + 1) * MOST_ROWS]


View = Callable[[Look], Mapping[str, Region]]
