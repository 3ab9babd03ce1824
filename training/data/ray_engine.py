"""The same functions on a Ray cluster: on every machine that `ray start` has joined.

Images and shards do not travel through Ray: data root and output folder are on storage that every node
mounts at the same path. RAY_ADDRESS names the cluster; without it Ray starts on this machine alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray

from firmware_cfg.errors import RemoteclipError
from training.data.engine import Result, Task

_QUEUED = 4  # tasks a CPU that wait in the cluster: enough to keep it busy, few enough to interrupt


class RayEngine:
    """One Ray task a task. The first run joins the cluster, or starts one of `workers` CPUs that ends with
    this process."""

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        if not ray.is_initialized():
            _join(self._workers)
        yield from _run(function, tasks)


def _join(workers: int | None) -> None:
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
    else:
        ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False)


def _run(function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
    remote: Any = ray.remote(num_cpus=1)(function)
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    room = max(1, int(resources.get("CPU", 1))) * _QUEUED
    waiting = iter(enumerate(tasks))
    running: dict[Any, int] = {}
    try:
        while True:
            while len(running) < room and (following := next(waiting, None)) is not None:
                running[remote.remote(following[1])] = following[0]
            if not running:
                return
            done, _ = ray.wait(list(running))
            for reference in done:
                yield running.pop(reference), _result(reference)
    finally:
        for reference in running:
            ray.cancel(reference)


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        # Ray wraps what the function raised; a user wants the one line that it says.
        raise error.cause from error
    except ray.exceptions.RayError as error:
        said = str(error).splitlines()[0]
        raise RemoteclipError(f"a Ray worker died: {said} (build again with --resume)") from error
