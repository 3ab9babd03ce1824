"""The one exception tree. `str(error)` is the one clear line that a user sees, `exit_code` the command's."""

from __future__ import annotations

from collections.abc import Iterable


class RemoteclipError(Exception):
    """Base of every error that is expected in the field and shown without a traceback."""

    exit_code: int = 1


class UsageError(RemoteclipError):
    """The command was called in a way that cannot work."""

    exit_code = 2


class ConfigError(RemoteclipError):
    """One problem in one configuration file.

    `line` and `column` count from 1; both are 0 when the problem is the file as a whole (it cannot be read).
    `mend` says what to do about it, and may be empty.
    """

    def __init__(self, path: str, line: int, column: int, problem: str, mend: str = "") -> None:
        super().__init__(path, line, column, problem, mend)
        self.path = path
        self.line = line
        self.column = column
        self.problem = problem
        self.mend = mend

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        return f"{place}: {self.problem} ({self.mend})" if self.mend else f"{place}: {self.problem}"


class ConfigErrors(RemoteclipError):
    """Every problem found in one configuration file, in the order of the file. Never empty."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors: tuple[ConfigError, ...] = tuple(errors)
        if not self.errors:
            raise ValueError("ConfigErrors needs at least one error")
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class SourceError(RemoteclipError):
    """A frame source cannot be opened, or delivers nothing."""


class BundleError(RemoteclipError):
    """A model bundle is damaged, incomplete, or not the one that was asked for."""


class EngineError(RemoteclipError):
    """An inference engine cannot be created, or failed while running."""


class BrokerError(RemoteclipError):
    """A broker cannot be found, started or reached where the command cannot go on without it."""


class OutboxError(RemoteclipError):
    """The store-and-forward database cannot be opened or written."""


class MissingExtra(RemoteclipError):
    """An optional dependency is not installed. `MissingExtra("onnxruntime", extra="onnxruntime")`."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(module, extra)
        self.module = module
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.module} is not installed (run: pip install 'remoteclip-edge[{self.extra}]')"
