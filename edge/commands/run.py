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
    from edge.signals import stopped_by_signals
    from firmware_cfg.device import load_device

    daemon = Daemon(load_device(device))
    with stopped_by_signals(daemon.stop, daemon.reload):
        summary = daemon.run()
    log = logging.getLogger(__name__)
    log.info("%.1f frames a second, %d alerts raised", summary.fps, summary.raised)
