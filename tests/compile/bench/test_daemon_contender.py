"""The clip behind a gate, which gives the daemon its turns."""

from __future__ import annotations

import threading
from pathlib import Path

from compile.bench.contenders.daemon import GatedClip
from edge.frames import Frame


def test_frames_come_when_released_and_never_end(clip: Path) -> None:
    source = GatedClip(str(clip))
    frames: list[Frame] = []
    arrived = threading.Semaphore(0)

    def read() -> None:
        for frame in source:
            frames.append(frame)
            arrived.release()

    thread = threading.Thread(target=read)
    thread.start()
    source.release(3)
    assert all(arrived.acquire(timeout=10) for _ in range(3))
    assert not arrived.acquire(timeout=0.05)
    source.release(4, rate=1000.0)
    assert all(arrived.acquire(timeout=10) for _ in range(4))
    source.stop()
    thread.join(10)
    source.close()
    assert not thread.is_alive()
    assert [frame.number for frame in frames] == list(range(7))
    times = [frame.time_s for frame in frames]
    assert times == sorted(set(times))  # the tracker sees one flight, although the clip has five frames
    assert (frames[5].image.rgb() == frames[0].image.rgb()).all()
    assert [frame.mono_ns for frame in frames] == sorted(frame.mono_ns for frame in frames)
