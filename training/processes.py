"""One process, or the several that torchrun started, on one machine or more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from firmware_cfg.errors import RemoteclipError, UsageError

Item = TypeVar("Item")
_PATIENCE = timedelta(minutes=30)  # a checkpoint of a large tower on a slow disk is written in less


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among its peers: number `rank` of `count`, working on `device`."""

    rank: int
    count: int
    device: torch.device

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """This process's part of a batch, which the count divides; the parts in rank order are the batch."""
        size = batch // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def gather(self, part: Tensor) -> Tensor:
        """The parts (n, ...) of all processes in rank order, (count * n, ...), through which gradients flow.

        Every process's loss may depend on every part: backward adds up what they all say about one's own.
        """
        return part if self.count == 1 else cast(Tensor, _Gather.apply(part, self))

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over processes, without a gradient."""
        total = value.detach().clone()
        if self.count > 1:
            dist.all_reduce(total)
        return total / self.count

    def objects(self, item: Item) -> list[Item]:
        """The item of every process, in rank order (pickled: for small things)."""
        found: list[Any] = [item] * self.count
        if self.count > 1:
            dist.all_gather_object(found, item)
        return found

    def must_agree(self, step: int, state: Path) -> None:
        """Raise UsageError unless every process resumes at the same step: each reads `state` itself."""
        steps = self.objects(step)
        if len(set(steps)) > 1:
            raise UsageError(
                f"{state}: the processes resume at steps {', '.join(map(str, sorted(set(steps))))}"
                " (put the run on storage that all machines share)"
            )

    def on_main(self, work: Callable[[], None]) -> None:
        """Do the work on the main process while the others wait; an expected error is raised on all."""
        problem: RemoteclipError | None = None
        if self.main:
            try:
                work()
            except RemoteclipError as error:
                problem = error
        told = [problem]
        if self.count > 1:
            dist.broadcast_object_list(told, src=0, device=self.device)
        if told[0] is not None:
            raise told[0]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, processes: Processes) -> Tensor:
        ctx.processes, ctx.size = processes, len(part)
        parts = [torch.empty_like(part) for _ in range(processes.count)]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        begin = ctx.processes.rank * ctx.size
        return total[begin : begin + ctx.size], None


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that torchrun started (NCCL on GPUs, gloo on CPUs); without it, be the only one."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    gpu = torch.cuda.is_available()
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if gpu else "cpu")
    if gpu:
        torch.cuda.set_device(device)
    if count == 1:
        yield Processes(0, 1, device)
        return
    dist.init_process_group("nccl" if gpu else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(dist.get_rank(), count, device)
    finally:
        dist.destroy_process_group()


def batch_workers(processes: int) -> int:
    """Threads that prepare batches: a process's share of the CPUs that this machine gives, 1 to 8."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    return max(1, min(8, len(os.sched_getaffinity(0)) // here))
