"""`remoteclip run`: the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    device: Annotated[
        Path, typer.Argument(metavar="DEVICE.yaml", help="Device file: source, model, broker.")
    ],
) -> None:
    """Fly: count, alert and publish until the source ends, or SIGINT or SIGTERM stops it. SIGHUP reloads."""
    import logging

    from edge.daemon import Daemon
    from edge.logs import report_error
    from edge.signals import stopped_by_signals
    from firmware_cfg.device import load_device
    from firmware_cfg.errors import RemoteclipError

    daemon = Daemon(load_device(device))
    try:
        with stopped_by_signals(daemon.stop, daemon.reload):
            summary = daemon.run()
    except RemoteclipError as error:
        if _left_behind():
            report_error(error)
            _leave(error.exit_code)
        raise
    log = logging.getLogger(__name__)
    log.info("%.1f frames a second, %d alerts raised", summary.fps, summary.raised)
    if left := _left_behind():
        log.warning("left while still at work: %s", ", ".join(left))
        _leave(0)


def _left_behind() -> list[str]:
    """Names of threads that did not end in time: a decoder that hangs, an engine that is being built."""
    import threading

    main = threading.main_thread()
    return [thread.name for thread in threading.enumerate() if thread is not main and thread.daemon]


def _leave(code: int) -> None:
    """End at once: the interpreter's own end would tear a library down under such a thread, and abort."""
    import logging
    import os
    import sys

    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
