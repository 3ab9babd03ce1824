"""Where the per-image functions run: in this process, in worker processes, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

import cv2

from firmware_cfg.errors import RemoteclipError, UsageError
from training.errors import require_extra

ENGINES = ("local", "ray")
Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs a module-level function over many tasks."""

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """Index and result of every task, as they finish. An error of the function is raised here."""
        ...


class LocalEngine:
    """Worker processes on this machine; a single worker is this process."""

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or len(os.sched_getaffinity(0))  # the CPUs that we are given

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        workers = min(self._workers, len(tasks))
        if workers <= 1:
            yield from ((index, function(task)) for index, task in enumerate(tasks))
            return
        # Spawned, not forked: the libraries that decode images hold threads that a fork does not copy.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
        try:
            futures = {pool.submit(function, task): index for index, task in enumerate(tasks)}
            for future in as_completed(futures):
                yield futures.pop(future), future.result()
        except BrokenProcessPool as error:
            raise RemoteclipError(
                "a worker process died, mostly for want of memory (go on with --resume and fewer --workers)"
            ) from error
        finally:  # also where the caller was interrupted: what has not begun never begins
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool; a worker finishes its task
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker waits for tasks on a pipe whose other end it holds too: a killed parent leaves it there."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def create_engine(name: str, workers: int | None = None) -> Engine:
    """The engine called `name`. Raises UsageError for another name, MissingExtra where Ray is missing."""
    if name == "local":
        return LocalEngine(workers)
    if name == "ray":
        require_extra("ray", "ray")
        from training.data.ray_engine import RayEngine

        return RayEngine(workers)
    raise UsageError(f"engine must be {' or '.join(ENGINES)}, got {name!r}")
