"""A progress bar on stderr that leaves nothing behind, where there is somebody to look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")


@contextmanager
def shown(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Gives what is to be called after each of `total` steps."""
    with _bar(what) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def watched(what: str) -> Iterator[Callable[[Iterable[T]], Iterable[T]]]:
    """Gives what wraps the things to go through; their `length`, if they have one, is the total."""
    with _bar(what) as bar:
        yield lambda things: bar.track(things, total=getattr(things, "length", None))


def _bar(what: str) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
