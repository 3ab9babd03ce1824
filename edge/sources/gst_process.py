"""GStreamer in a process of its own, so that a hung driver can be killed and no binding is needed."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from edge.frames import Image
from edge.sources.gdp import HEADER_BYTES, RawFormat, Record, read_header
from firmware_cfg.errors import SourceError

LAUNCH, INSPECT = "gst-launch-1.0", "gst-inspect-1.0"
_SINK = "capsfilter caps=video/x-raw,format={I420,NV12,RGB} ! gdppay ! fdsink sync=false fd="
_PACKAGES = (
    ("nv", "the Jetson's own, which comes with JetPack: apt install nvidia-l4t-gstreamer"),
    ("avdec_", "apt install gstreamer1.0-libav"),
    ("gdp", "apt install gstreamer1.0-plugins-bad"),
    ("h26", "apt install gstreamer1.0-plugins-bad"),
    ("rtp", "apt install gstreamer1.0-plugins-good"),
    ("rtsp", "apt install gstreamer1.0-plugins-good"),
    ("v4l2", "apt install gstreamer1.0-plugins-good"),
    ("x264", "apt install gstreamer1.0-plugins-ugly"),
    ("video", "apt install gstreamer1.0-plugins-base"),
)
_PIPE_BYTES = 1 << 20
_KEPT_BYTES = 1 << 16
"""Of what a process says: why it ended comes last, and a flight is long."""
_END_S = 2.0


class Frozen(Exception):
    """Nothing came in time."""


class GstProcess:
    """`gst-launch-1.0 PIPELINE ! gdppay ! ...`, whose pictures `next` hands out one after another.

    Args:
        pipeline: what gst-launch-1.0 takes, a word each; ends in raw video in ordinary memory.
        fed: with a pipe that `feed` writes to; its end is {fed} in the pipeline.
    """

    def __init__(self, pipeline: Sequence[str], *, fed: bool = False) -> None:
        self.format: RawFormat | None = None
        # Not stdout: NVIDIA's elements talk there.
        self._read_end, write_end = os.pipe()
        inherited = [write_end]
        self._feed_end: int | None = None
        words = [*pipeline, "!", *_SINK.split()]
        words[-1] += str(write_end)
        if fed:
            feed_from, self._feed_end = os.pipe()
            inherited.append(feed_from)
            words = [word.replace("{fed}", str(feed_from)) for word in words]
        self._words = bytearray()
        self._words_end, words_to = os.pipe()
        os.set_blocking(self._words_end, False)
        try:
            with contextlib.suppress(OSError, ImportError, AttributeError):  # a smaller pipe is slower
                import fcntl

                fcntl.fcntl(self._read_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)  # Python 3.10 on Linux
            self._process = subprocess.Popen(
                [program(LAUNCH), "-q", *words],
                stdin=subprocess.DEVNULL,
                stdout=words_to,
                stderr=words_to,
                pass_fds=inherited,
                start_new_session=True,  # Ctrl-C is for us; we end it
            )
        except BaseException:
            self._close_pipes()
            raise
        finally:
            for end in (*inherited, words_to):
                os.close(end)

    def next(self, patience_s: float) -> tuple[Image, float | None, bool] | None:
        """The next picture, its time stamp in seconds, and whether it is damaged; None at the end.

        Raises Frozen when it takes longer than `patience_s`, ValueError for data that make no sense.
        """
        ends_s = time.monotonic() + patience_s
        while True:
            header = self._read(HEADER_BYTES, ends_s)
            if header is None:
                return None
            record = read_header(header.tobytes())
            payload = self._read(record.length, ends_s)
            if payload is None:
                return None
            if record.is_caps:
                self.format = RawFormat.parse(payload.tobytes().rstrip(b"\0").decode("ascii", "replace"))
            elif record.is_buffer:
                return self._picture(record, payload)

    def feed(self, data: bytes) -> None:
        """Writes all of it, as fast as the pipeline takes it. Raises OSError once the process has ended."""
        if self._feed_end is None:
            raise OSError("the pipeline takes no more")
        view = memoryview(data)
        while view:
            view = view[os.write(self._feed_end, view) :]

    def last_words(self) -> str:
        """Why it ended, in its own words, without what may be secret; empty if it said nothing."""
        while self._hear():
            pass
        said = self._words.decode("utf-8", "replace")
        errors = re.findall(r"ERROR: (?:from element \S+: |pipeline [^:]*: )?(.+)", said) or re.findall(
            r"erroneous pipeline: (.+)", said
        )
        return re.sub(r"(?<=://)[^\s\"']+", "...", errors[0]) if errors else ""

    def kill(self) -> None:
        """Ends the process at once, which ends `next` and `feed`; from any thread."""
        self._process.kill()

    def __enter__(self) -> GstProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        # A driver may hold even a killed process for a while; it is not worth waiting for.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self._close_pipes()

    def _close_pipes(self) -> None:
        for end in (self._read_end, self._feed_end, self._words_end):
            if end is not None:
                os.close(end)

    def _hear(self) -> bool:
        """Takes in what the process says, the newest of it; False when there is nothing more for now."""
        try:
            said = os.read(self._words_end, _KEPT_BYTES)
        except BlockingIOError:
            return False
        self._words += said
        del self._words[:-_KEPT_BYTES]
        return bool(said)

    def _picture(self, record: Record, payload: np.ndarray) -> tuple[Image, float | None, bool]:
        if self.format is None:
            raise ValueError("a picture before its format")
        stamp_s = None if record.pts_ns is None else record.pts_ns / 1e9
        return self.format.image(payload), stamp_s, record.damaged

    def _read(self, size: int, ends_s: float) -> np.ndarray | None:
        # Its own memory for every picture: they are handed out, and live as long as somebody looks at them.
        data = np.empty(size, dtype=np.uint8)
        view = memoryview(data.data)
        ready = select.poll()
        for end in (self._read_end, self._words_end):
            ready.register(end, select.POLLIN)
        while view:
            found = {end for end, _ in ready.poll(max(0.0, ends_s - time.monotonic()) * 1000)}
            if self._words_end in found and not self._hear():
                ready.unregister(self._words_end)
            if self._read_end in found:
                if not (count := os.readv(self._read_end, [view])):
                    return None
                view = view[count:]
            elif time.monotonic() >= ends_s:
                raise Frozen
        return data


def program(name: str) -> str:
    """The path of one of GStreamer's programs. Raises SourceError."""
    path = shutil.which(name)
    if path is None:
        raise SourceError(f"{name} is not installed (apt install gstreamer1.0-tools)")
    return path


def check_elements(pipeline: Sequence[str]) -> None:
    """Raises SourceError for the first element of a pipeline that this machine does not have."""
    inspect = program(INSPECT)
    for name in dict.fromkeys([*elements(pipeline), "gdppay", "fdsink"]):
        if subprocess.run([inspect, "--exists", name], check=False, capture_output=True).returncode:
            mend = next(
                (mend for start, mend in _PACKAGES if name.startswith(start)), "gst-inspect-1.0 lists all"
            )
            raise SourceError(f"GStreamer has no element {name} here ({mend})")


def elements(pipeline: Sequence[str]) -> list[str]:
    """The names of the elements in a pipeline's words: what follows a `!`, is no format and no pad."""
    names, first = [], True
    for word in pipeline:
        if first and "/" not in word and "=" not in word and not word.endswith("."):
            names.append(word)
        first = word == "!"
    return names
