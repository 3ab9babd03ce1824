"""Templates, and what they share. Every text is escaped by Jinja; nothing is marked as safe."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.environment import TemplateModule

from edge.fleet_view import plain

FOLDER = Path(__file__).parent


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(value: float, kind: str = "count") -> str:
    return f"{value:.2f}" if kind == "score" else f"{value:g}"


def _short(sha256: str | None) -> str:
    return sha256[:8] if sha256 else "–"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"


@cache
def environment() -> Environment:
    """Escaping is on for every template, and a name that is not there is an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(iso=_iso, plain=plain, number=_number, short=_short, megabytes=_megabytes)
    return made


class Memo:
    """HTML by what it was rendered from: twenty browsers that look at one drone cost as much as one."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, str] = OrderedDict()

    def __call__(self, key: Hashable, render: Callable[[], str]) -> str:
        """What `render` gives; `key` has all that it depends on, so the same key means the same HTML."""
        html = self._kept.get(key)
        if html is None:
            html = self._kept[key] = render()
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return html


@cache
def parts(name: str) -> Any:
    """The macros of `templates/parts/<name>.html`, as functions that give HTML."""
    return cast(ModuleType | TemplateModule, environment().get_template(f"parts/{name}.html").module)
