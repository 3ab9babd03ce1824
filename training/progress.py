"""Progress bars on stderr, so that what a command prints on stdout stays a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

Item = TypeVar("Item")


def track(items: Sequence[Item], description: str) -> Iterator[Item]:
    """Iterate over the items with a progress bar that leaves nothing behind."""
    yield from rich_track(items, description, transient=True, console=Console(stderr=True))
