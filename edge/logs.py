"""How the log looks: lines for people, lines for systemd's journal, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from datetime import datetime, timezone
from enum import Enum
from types import TracebackType
from typing import IO

_log = logging.getLogger(__name__)

# syslog's priorities, which the journal takes from the front of a line.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY = 7


class LogFormat(str, Enum):
    """What `--log-format` takes."""

    auto = "auto"
    text = "text"
    journal = "journal"
    json = "json"


class _Stderr(logging.StreamHandler[IO[str]]):
    """The handler that `configure` owns. It writes to whatever sys.stderr is at that moment."""

    def __init__(self, kind: LogFormat) -> None:
        logging.Handler.__init__(self)
        self.kind = kind
        self.setFormatter(_formatter(kind))

    @property
    def stream(self) -> IO[str]:  # type: ignore[override]
        return sys.stderr


def configure(wanted: LogFormat = LogFormat.auto, *, verbose: bool = False) -> LogFormat:
    """Log to stderr in this format; returns the one that `auto` stands for. May be called again.

    auto: the journal's where stderr leads to systemd's journal, else text. A program that has set up logging
    on its own, before, keeps what it set up.
    """
    kind = _automatic() if wanted is LogFormat.auto else wanted
    root = logging.getLogger()
    own = [handler for handler in root.handlers if isinstance(handler, _Stderr)]
    if len(own) < len(root.handlers):
        return kind
    for handler in own:
        root.removeHandler(handler)
    root.addHandler(_Stderr(kind))
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    if kind is not LogFormat.text:
        # Python's own traceback would be lines without a priority, or no JSON.
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_in_thread
    return kind


def report_error(error: Exception) -> None:
    """The last line of a command that failed: bare text for people, else an error of the log like others."""
    handler = next((item for item in logging.getLogger().handlers if isinstance(item, _Stderr)), None)
    if handler is None or handler.kind is LogFormat.text:
        print(error, file=sys.stderr)
    else:
        _log.error("%s", error)


def _automatic() -> LogFormat:
    """systemd states which stream leads to the journal by device and inode: stderr may lead elsewhere."""
    stated = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(2)
    except OSError:  # closed
        return LogFormat.text
    return LogFormat.journal if stated == f"{status.st_dev}:{status.st_ino}" else LogFormat.text


def _formatter(kind: LogFormat) -> logging.Formatter:
    if kind is LogFormat.json:
        return _JsonFormatter()
    if kind is LogFormat.journal:
        return _JournalFormatter("%(message)s")
    return logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")


class _JournalFormatter(logging.Formatter):
    """The journal has the time, and takes every line for an entry: each gets the priority."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG_PRIORITY)
        lines = super().format(record).splitlines() or [""]
        return "\n".join(f"<{priority}>{line}" for line in lines)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        fields = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "logger": record.name,
            "thread": record.threadName,
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    _log.critical("unexpected: %s: %s", kind.__name__, error, exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
