"""Begins the record of what a bundle sees in a source, in flight and offline alike."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from edge.runs.format import RunAbout
from edge.runs.writer import RunWriter

if TYPE_CHECKING:
    from edge.bundle.load import Bundle
    from edge.events import Session
    from edge.geo.locate import Locator
    from edge.sources import FrameSource


def open_recorder(
    folder: Path,
    bundle: Bundle,
    source: FrameSource,
    locator: Locator | None,
    *,
    session: Session | None = None,
    keep_mib: int | None = None,
    thumbnail_every_s: float = 2.0,
    wait: bool = False,
) -> RunWriter:
    """Begin a run in `folder`.

    Args:
        bundle, source: what looks at what.
        locator: puts footprints on the ground, where the camera is described.
        session: of the flight; None offline.
        keep_mib, thumbnail_every_s, wait: see RunWriter.open.

    Raises:
        RunError: nothing can be written there.
    """
    began_at = datetime.now(timezone.utc) if session is None else session.started_at
    about = RunAbout(
        source=source.name,
        bundle_sha256=bundle.manifest_sha256,
        embedding_width=bundle.manifest.embedding_width,
        began_at=began_at.isoformat(),
        independent=source.independent,
        device="" if session is None else session.device,
        session="" if session is None else session.session_id,
    )
    return RunWriter.open(
        folder,
        about,
        keep_mib=keep_mib,
        thumbnail_every_s=thumbnail_every_s,
        locate=None if locator is None else locator.locate,
        wait=wait,
    )
