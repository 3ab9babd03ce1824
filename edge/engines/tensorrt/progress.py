"""How far a build is: TensorRT's nested phases as one fraction that only grows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_log = logging.getLogger(__name__)

#: Called with the share that is done, 0 to 1, and the innermost phase, from TensorRT's threads. What it
#: raises ends the build.
OnProgress = Callable[[float, str], None]
#: Shows one build, named by its label, for as long as the context lasts.
ShowProgress = Callable[[str], AbstractContextManager[OnProgress]]


@dataclass(slots=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class BuildTracker:
    """Adds up phases. Thread safe, as TensorRT asks."""

    def __init__(self, on_progress: OnProgress | None = None) -> None:
        self._on_progress = on_progress
        self._phases: dict[str, _Phase] = {}
        self._lock = threading.Lock()
        self._fraction = 0.0
        self.cancelled = False
        #: What `on_progress` raised, in one of TensorRT's threads: it ends the build, not the program.
        self.failure: BaseException | None = None

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of `steps` steps begins, inside `parent` or as the outermost."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))
        self._report(name)

    def step(self, name: str, step: int) -> bool:
        """Step `step`, counted from 0, of a phase is done. False asks TensorRT to stop."""
        with self._lock:
            if phase := self._phases.get(name):
                phase.done = min(step + 1, phase.steps)
        self._report(name)
        return not self.cancelled

    def finish(self, name: str) -> None:
        """A phase ends, also when it is broken off."""
        with self._lock:
            phase = self._phases.pop(name, None)
            if phase is not None and phase.parent is None and not self.cancelled:
                self._fraction = 1.0
        self._report(name)

    def cancel(self) -> None:
        """Have the build stop at its next step."""
        self.cancelled = True

    def _report(self, name: str) -> None:
        with self._lock:
            self._fraction = max(self._fraction, self._share(name))
            fraction = self._fraction
        if self._on_progress is None or self.failure is not None:
            return
        try:
            self._on_progress(fraction, name)
        except BaseException as error:  # noqa: BLE001 - raised again where the build was asked for
            self.failure = error
            self.cancel()

    def _share(self, name: str) -> float:
        """The share of the whole build that is done, seen from one of its phases."""
        share, current = 0.0, self._phases.get(name)
        for _ in range(len(self._phases)):  # a phase named as its own ancestor must not hang us
            if current is None:
                break
            share = min((current.done + share) / current.steps, 1.0)
            if current.parent is None:
                return share
            current = self._phases.get(current.parent)
        return 0.0  # a phase whose ancestors are not known says nothing about the whole


class _Monitor:
    """The monitor's own half; the other half is the library's IProgressMonitor."""

    tracker: BuildTracker

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Called by TensorRT."""
        self.tracker.start(phase_name, parent_phase, num_steps)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Called by TensorRT."""
        return self.tracker.step(phase_name, step)

    def phase_finish(self, phase_name: str) -> None:
        """Called by TensorRT."""
        self.tracker.finish(phase_name)


def monitor(api: Any, tracker: BuildTracker) -> Any:
    """An IProgressMonitor of the library `api` that tells `tracker`. Keep it until the build is over."""
    made = type("Monitor", (_Monitor, api.IProgressMonitor), {})()
    made.tracker = tracker
    return made


@contextmanager
def logged_progress(label: str) -> Iterator[OnProgress]:
    """Progress for programs without a terminal, such as the daemon: a line at every quarter."""
    _log.info("%s: building the engine; this takes minutes, and is kept", label)
    said = 0
    lock = threading.Lock()

    def report(fraction: float, phase: str) -> None:
        nonlocal said
        with lock:
            quarter = int(fraction * 4)
            news, said = quarter > said, max(said, quarter)
        if news:
            _log.info("%s: %d%% (%s)", label, quarter * 25, phase)

    yield report


@contextmanager
def shown_progress(label: str) -> Iterator[OnProgress]:
    """Progress as a bar on stderr with an estimate, gone when the build is over."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[phase]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=1.0, phase="")
        yield lambda fraction, phase: bar.update(task, completed=fraction, phase=phase[:40])
