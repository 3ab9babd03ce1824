"""What a flight over a clip takes of memory: the daemon's peak and its end, MiB, as one line of JSON.

    python -m benchmarks.memory CLIP [--frames 50] [--cold]

`--cold` flies without a cache of compiled engines, as the first flight of a bundle does. No broker is there:
messages stay in the outbox.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import firmware_cfg
from compile.bench.worker import memory_mib
from edge.broker import free_port
from edge.daemon import Daemon
from edge.pipeline import FrameResult
from firmware_cfg.device import DeviceFile, Engine, Mqtt, Source
from firmware_cfg.errors import RemoteclipError

PROMPTS = Path(firmware_cfg.__file__).parent / "prompts" / "traffic.yaml"


def fly(clip: str, frames: int, state: Path) -> dict[str, float]:
    """`peak` and `now` after so many frames, or after those there are. Raises RemoteclipError."""
    found: dict[str, float] = {}
    told = 0

    def tell(_: FrameResult, __: object) -> None:
        nonlocal told
        told += 1
        if told <= frames:
            found.update(memory_mib(), frames=told)
        if told == frames:
            daemon.stop("measured")

    device = DeviceFile(
        device="memory",
        source=Source(uri=clip),
        prompts=PROMPTS,
        bundle="default",
        engine=Engine(precision="int8", image_size=(640, 384)),
        mqtt=Mqtt(url=f"mqtt://127.0.0.1:{free_port()}"),
        state_dir=state,
    )
    daemon = Daemon(device, on_frame=tell)
    daemon.run()
    return found


def main() -> int:
    """Parse, fly, print."""
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clip")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--cold", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        if arguments.cold:
            os.environ["REMOTECLIP_CACHE"] = str(Path(work) / "cache")
        try:
            print(json.dumps(fly(arguments.clip, arguments.frames, Path(work) / "state")))
        except RemoteclipError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
