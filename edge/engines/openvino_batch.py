"""Tiles that OpenVINO is at work on: one request a tile, and the memory that their outputs come into."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.engines.base import F32, IMAGE_OUTPUTS, U8, EngineOutput, Pending
from edge.engines.openvino_import import openvino
from firmware_cfg.errors import EngineError


@dataclass(slots=True)
class Through:
    """When an engine was through with its last batch: the next one in its queue begins no earlier."""

    at: float = 0.0


class OpenVinoBatch:
    """Runs one batch after another, in requests and arrays that all of them share. Not thread-safe.

    The runtime takes the requests of a compiled graph in turn, so a batch is simply all of its tiles queued.
    """

    def __init__(self, compiled: Any, through: Through) -> None:
        """compiled: the graph for one tile (openvino.CompiledModel); through: of the engine."""
        self._compiled = compiled
        self._through = through
        self._began = 0.0
        self._requests: list[Any] = []
        self._under_way: list[Any] = []
        self._arrays: dict[str, F32] = {}
        self._rows = 0  # of the prompts that the arrays are for
        self._number = 0

    def start(self, image: U8, prompts: F32, bias: F32) -> Pending:
        """See ImageEngine.start. Whatever this batch ran before is waited for, and lost."""
        self.wait()
        self._number += 1
        self._began = time.perf_counter()
        prompts, bias = np.ascontiguousarray(prompts), np.ascontiguousarray(bias)
        try:
            while len(self._requests) < len(image):
                self._requests.append(self._compiled.create_infer_request())
            self._provide(len(image), len(prompts))
            for request, tile in zip(self._requests, image, strict=False):
                feed = {"image": np.ascontiguousarray(tile[None]), "prompts": prompts, "bias": bias}
                # Read in place: the request holds on to the arrays, and the caller leaves them as they are.
                request.start_async(feed, share_inputs=True)
                self._under_way.append(request)
        except RuntimeError as error:
            self.wait()
            raise EngineError(f"openvino failed: {first_line(error)}") from error
        return _Pending(self, self._number, len(image))

    def wait(self) -> None:
        """Until nothing is under way; what fails meanwhile is nobody's any more."""
        for request in self._under_way:
            try:
                request.wait()
            except RuntimeError:
                continue
        self._under_way = []

    def output(self, number: int, tiles: int) -> tuple[EngineOutput, float]:
        """What batch `number` of so many tiles gave, and in how many seconds. Raises EngineError."""
        if number != self._number:
            raise EngineError("this output is gone: two later frames were given to the engine")
        try:
            for request in self._under_way:
                request.wait()
        except RuntimeError as error:
            raise EngineError(f"openvino failed: {first_line(error)}") from error
        finally:
            self.wait()
        requests = self._requests[:tiles]
        output = EngineOutput(**{name: self._arrays[name][:tiles] for name in IMAGE_OUTPUTS})
        ended = self._began + max(request.latency for request in requests) / 1e3
        seconds = ended - min(max(self._began, self._through.at), ended)
        self._through.at = ended
        return output, seconds

    def _provide(self, tiles: int, rows: int) -> None:
        """Have each request write into its part of this batch's arrays, new ones only where they must be."""
        if self._rows == rows and len(self._arrays["embedding"]) >= tiles:
            return
        self._rows = rows
        for name in IMAGE_OUTPUTS:
            # Only the number of prompts is open in a compiled graph.
            sides = self._compiled.output(name).get_partial_shape()
            shape = [rows if side.is_dynamic else side.get_length() for side in sides]
            array = self._arrays[name] = np.empty((len(self._requests), *shape[1:]), np.float32)
            for request, part in zip(self._requests, array, strict=True):
                request.set_tensor(name, openvino.Tensor(part[None], shared_memory=True))


class _Pending:
    """Satisfies edge.engines.base.Pending."""

    def __init__(self, batch: OpenVinoBatch, number: int, tiles: int) -> None:
        self._batch = batch
        self._number = number
        self._tiles = tiles
        self._done: tuple[EngineOutput, float] | None = None
        self._failed: EngineError | None = None

    @property
    def seconds(self) -> float:
        """See Pending.seconds."""
        return 0.0 if self._done is None else self._done[1]

    def result(self) -> EngineOutput:
        """See Pending.result."""
        if self._failed is not None:  # asked again, nothing is under way that could fail again
            raise self._failed
        if self._done is None:
            try:
                self._done = self._batch.output(self._number, self._tiles)
            except EngineError as error:
                self._failed = error
                raise
        return self._done[0]


def first_line(error: Exception) -> str:
    """The last line that says something: OpenVINO puts its source location first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
