"""From the save of a prompt list to the first frame counted under it, while the daemon plays a clip.

    python benchmarks/prompt_swap.py CLIP [--saves N] [--sentences N] [--busy N] [--fast] [--json]

The real daemon flies, its broker out of reach; every list that is saved has sentences that were never encoded
before. The clip is played over and over at its own speed (`--fast`: as fast as the model goes). Frames that
wait too long are dropped, as with a camera, and counted: in a stretch without a save, then in one about as
long with saves. A save is timed from before its first byte is written. `--busy N` keeps N processes busy.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.broker import free_port
from edge.daemon import Daemon
from edge.frames import Frame
from edge.pipeline import FrameResult
from edge.sources import FrameSource, open_source
from edge.system import cpu_fact
from firmware_cfg.device import DeviceFile, Mqtt, Source
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.prompt_list import load_prompt_bytes

WARM_UP_S = 3.0
BETWEEN_S = 1.0
LONGEST_S = 30.0


class Again(FrameSource):
    """A clip over and over, its clock and numbers running on."""

    def __init__(self, clip: Path) -> None:
        super().__init__(clip.name)
        self._clip = clip

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> FrameSource:
        """Not known by any scheme."""
        return cls(Path(uri))

    def __iter__(self) -> Iterator[Frame]:
        number, ended, step = 0, 0.0, 0.1
        while True:
            began = ended
            with open_source(str(self._clip), sequence=False) as source:
                for frame in source:
                    time_s = began + frame.time_s
                    step = time_s - ended or step
                    yield replace(frame, number=number, time_s=time_s)
                    number, ended = number + 1, time_s
            ended += step


@dataclass(slots=True)
class Watcher:
    """Notes when the first frame was counted under each list, which frames came, and how long they took."""

    first: dict[str, float] = field(default_factory=dict)
    frame_s: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, result: FrameResult, transitions: Sequence[object]) -> None:
        """For the daemon's frame loop."""
        now = time.monotonic()
        self.frame_s.append(now - result.frame.mono_ns / 1e9)
        self.numbers.append(result.frame.number)
        if result.bank.list_sha256 not in self.first:
            with self.changed:
                self.first[result.bank.list_sha256] = now
                self.changed.notify()

    def wait(self, sha256: str) -> float:
        """When the list was first counted under. Raises TimeoutError."""
        with self.changed:
            if not self.changed.wait_for(lambda: sha256 in self.first, LONGEST_S):
                raise TimeoutError(f"no frame under the new list in {LONGEST_S:g} s")
            return self.first[sha256]


def new_list(sentences: int) -> bytes:
    """A list of sentences that nobody has ever written."""
    lines = [
        f"  - {{id: p{number}, text: a boat of shape {secrets.token_hex(2)} beside {secrets.token_hex(2)}}}"
        for number in range(sentences)
    ]
    return "\n".join(["prompts:", *lines, "background: [open water]", ""]).encode()


def save(path: Path, data: bytes, *, in_place: bool) -> None:
    """As editors do: over the file itself, or beside it and then in its place."""
    target = path if in_place else path.with_suffix(".new")
    target.write_bytes(data)
    if not in_place:
        os.replace(target, path)


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Fly, save lists, and take the times."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = folder / "list.yaml"
        path.write_bytes(new_list(options.sentences))
        device = DeviceFile(
            device="bench",
            source=Source(
                uri=str(options.clip),
                realtime=not options.fast,
                drop="oldest" if not options.fast else "never",
            ),
            bundle=options.bundle,
            prompts=path,
            mqtt=Mqtt(url=f"mqtt://127.0.0.1:{free_port()}"),
            state_dir=folder / "state",
        )
        for _ in range(options.busy):
            spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(spin.wait)
            stack.callback(spin.kill)
        watcher = Watcher()
        daemon = Daemon(device, source=Again(options.clip), on_frame=watcher)
        failed: list[BaseException] = []

        def fly() -> None:
            try:
                daemon.run()
            except BaseException as error:  # noqa: BLE001 - raised below, in the thread that measures
                failed.append(error)

        thread = threading.Thread(target=fly)
        thread.start()
        try:
            watcher.wait(load_prompt_bytes(path.read_bytes(), "list").sha256)
            time.sleep(WARM_UP_S)
            warm = len(watcher.frame_s)
            time.sleep(options.saves * BETWEEN_S)
            usual = len(watcher.frame_s)
            seconds = []
            for number in range(options.saves):
                data = new_list(options.sentences)
                began = time.monotonic()
                save(path, data, in_place=bool(number % 2))
                seconds.append(watcher.wait(load_prompt_bytes(data, "list").sha256) - began)
                time.sleep(BETWEEN_S * (0.5 + secrets.randbelow(1000) / 1000))
        finally:
            daemon.stop("measured")
            thread.join()
        if failed:
            raise failed[0]
    before, during = np.array(watcher.frame_s[warm:usual]), np.array(watcher.frame_s[usual:])
    return {
        "machine": cpu_fact().value,
        "clip": options.clip.name,
        "pace": "fast" if options.fast else "realtime",
        "busy": options.busy,
        "new sentences": options.sentences,
        "saves": len(seconds),
        "swap ms": _milliseconds(np.array(seconds), 50, 95, 100),
        "frame ms before": _milliseconds(before, 50, 99),
        "frame ms during": _milliseconds(during, 50, 99),
        "frames before": len(before),
        "dropped before": _dropped(watcher.numbers[warm - 1 : usual]),
        "frames during": len(during),
        "dropped during": _dropped(watcher.numbers[usual - 1 :]),
    }


def _dropped(numbers: list[int]) -> int:
    return numbers[-1] - numbers[0] - (len(numbers) - 1)


def _milliseconds(seconds: npt.NDArray[np.float64], *shares: int) -> dict[str, int]:
    return {f"p{share}": round(float(np.percentile(seconds, share)) * 1e3) for share in shares}


def main() -> int:
    """Entry point. Exit code 1 where it cannot be measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("--saves", type=int, default=20)
    parser.add_argument("--sentences", type=int, default=3, help="new ones in each list")
    parser.add_argument(
        "--busy", type=int, default=0, metavar="N", help="other processes that keep a core busy"
    )
    parser.add_argument("--fast", action="store_true", help="as fast as the model goes, dropping nothing")
    parser.add_argument("--bundle", default="default")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        report = measure(options)
    except (RemoteclipError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    print(
        json.dumps(report)
        if options.json
        else "\n".join(f"{name:<16} {value}" for name, value in report.items())
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
