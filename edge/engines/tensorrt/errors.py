"""What TensorRT refuses, told apart: the graph, the build, the memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from firmware_cfg.errors import EngineError

_NO_MEMORY = re.compile(
    r"out of memory|outofmemory|insufficient memory|MEM_ALLOC_FAILED|FAILED_ALLOCATION"
    r"|cudaError(?:_t)?\s*2\b|CUDA_ERROR_OUT_OF_MEMORY|requested size was \d+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ParserProblem:
    """One thing that TensorRT's ONNX parser refused.

    Attributes:
        node: name of the node, empty where the file as a whole is refused.
        operator: its ONNX operator, may be empty.
        message: the parser's own words, on one line.
    """

    node: str
    operator: str
    message: str

    def __str__(self) -> str:
        if not self.node:
            return self.message
        operator = f" ({self.operator})" if self.operator else ""
        return f"node {self.node}{operator}: {self.message}"


class GraphRefused(EngineError):
    """TensorRT's parser does not take the graph. `problems` has every one of them, never empty."""

    def __init__(self, graph: str, library: str, problems: Sequence[ParserProblem]) -> None:
        self.problems = tuple(problems)
        shown = str(self.problems[0])
        if more := len(self.problems) - 1:
            shown += f"; and {more} more"
        super().__init__(f"{graph}: {library} cannot parse it: {shown}")


class BuildFailed(EngineError):
    """The graph was parsed, but no engine came out of it."""


class OutOfMemory(EngineError):
    """The GPU has too little free memory for what was asked."""


def is_out_of_memory(text: str) -> bool:
    """Whether a message of TensorRT or CUDA speaks of exhausted memory."""
    return _NO_MEMORY.search(text) is not None


def one_line(text: object) -> str:
    """Any message on one line."""
    return " ".join(str(text).split())
