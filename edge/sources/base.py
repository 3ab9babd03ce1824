"""What every frame source is, and the table of them by URI scheme and file suffix."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar

from edge.frames import Frame
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    from edge.geo.camera import CameraModel

_log = logging.getLogger(__name__)

_MAX_GAP_S = 86_400.0
"""A damaged time stamp may lie centuries ahead; no recording pauses for longer than a day."""


class FrameSource(ABC):
    """An iterable of frames that is also a context manager.

    Iterating starts at the beginning each time; one iteration at a time. Damage that leaves other frames
    readable is counted in `skipped` by cause and logged; what makes the whole source unreadable raises
    SourceError, at the latest after the last frame when not one could be read.

    A subclass announces itself: `class V4l2Source(FrameSource, schemes=("v4l2",))` or `suffixes=(".mp4",)`,
    and is then made by `open_source` as `cls.from_uri(uri, sequence=...)`.
    """

    by_scheme: ClassVar[dict[str, type[FrameSource]]] = {}
    by_suffix: ClassVar[dict[str, type[FrameSource]]] = {}

    name: str
    """The file's or folder's name, for messages."""
    fps: float | None = None
    """Nominal frames per second; None where the source has no clock."""
    length: int | None = None
    """Frames that the source says it has, damaged ones included; None where it cannot tell."""
    independent: bool = False
    """True when the frames are unrelated pictures, so that nothing may be tracked from one to the next."""
    live: bool = False
    """True for a camera: it has no end, and a frame that is not taken now is lost."""
    camera: CameraModel | None = None
    """What took the pictures, where the source itself knows it."""
    problem: str = ""
    """Why a live source has no frames just now, one line; empty while it has."""
    outages: int = 0
    """How often a live source was lost, or not there when it was first looked for."""

    def __init_subclass__(cls, *, schemes: Iterable[str] = (), suffixes: Iterable[str] = ()) -> None:
        for table, keys in ((cls.by_scheme, schemes), (cls.by_suffix, suffixes)):
            for key in keys:
                other = table.setdefault(key, cls)
                if other is not cls:
                    raise TypeError(f"{cls.__name__} claims {key!r}, which is {other.__name__}'s")

    def __init__(self, name: str) -> None:
        self.name = name
        self.skipped: Counter[str] = Counter()

    @classmethod
    @abstractmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> FrameSource:
        """Opens the source. `uri` is a path where the subclass is known by suffix. Raises SourceError."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...

    @property
    def waits(self) -> bool:
        """Whether the source is alive although it has no frame; a thread stuck in a decoder is not."""
        return False

    def stop(self) -> None:  # noqa: B027 - recordings never make anybody wait
        """Ends the iteration soon. From any thread, also in a signal handler; takes no lock, cannot fail."""

    def close(self) -> None:  # noqa: B027 - most sources hold nothing open
        """Gives back what the source holds; may be called more than once."""

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _skip(self, cause: str, detail: str, frames: int = 1) -> None:
        """Counts lost frames, and logs them without letting a bad stream flood the journal."""
        before = self.skipped[cause]
        self.skipped[cause] += frames
        if before < 3 or before // 100 != self.skipped[cause] // 100:
            _log.warning("%s: skipped: %s (%s); %d so far", self.name, cause, detail, self.skipped[cause])


class CaptureClock:
    """Turns time stamps that may be missing, repeated or stepping back into ever increasing capture times."""

    def __init__(self, step_s: float, began_at: datetime | None = None) -> None:
        self._step_s = step_s
        self._began_at = began_at if began_at is not None else datetime.now(timezone.utc)
        self._last_s: float | None = None

    def tick(self, stamp_s: float | None) -> tuple[float, datetime]:
        """Capture time of the next frame: seconds since the source began, and UTC. `stamp_s` may be None."""
        last_s = -self._step_s if self._last_s is None else self._last_s
        credible = stamp_s is not None and stamp_s >= 0.0 and last_s < stamp_s <= last_s + _MAX_GAP_S
        if stamp_s is None or not credible:
            stamp_s = last_s + self._step_s
        self._last_s = stamp_s
        return stamp_s, self._began_at + timedelta(seconds=stamp_s)


def check_readable(path: Path) -> None:
    """Raises SourceError unless `path` is a regular file with something in it that this process may read."""
    try:
        if not path.is_file():
            raise SourceError(f"{path}: not a regular file (give a video, an image or a folder of images)")
        with path.open("rb") as file:
            if not file.read(1):
                raise SourceError(f"{path}: the file is empty, 0 bytes (copy it again from its origin)")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror} (check its permissions)") from error
