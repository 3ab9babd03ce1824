"""The shipped model flies for long, as fast as it goes, with faults by schedule; what memory does meanwhile.

    python -m benchmarks.soak [--seconds 300] [--every 5] [--source VIDEO] [--json]

Exit code 1 when the daemon grew by GROWTH_MIB or more, or has more threads or open files than after its
warm-up, when it dropped a frame, or when it ended badly.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import firmware_cfg
from benchmarks.faults.world import Stuck
from benchmarks.soak.flight import Soak, fly

SAMPLE = Path(firmware_cfg.__file__).parent / "samples" / "forest_edge.mp4"


def print_soak(soak: Soak) -> None:
    """The result for a reader."""
    rows = (
        ("frames", f"{soak.frames:,}", f"{soak.frames / soak.whole_s:.1f} a second"),
        ("dropped, unreadable", f"{soak.dropped}, {soak.skipped}", ""),
        ("events", f"{soak.events}", ""),
        ("faults", f"{soak.faults}", ""),
        ("memory", f"{soak.rss_start:.1f} -> {soak.rss_end:.1f} MiB", f"{soak.grown:+.1f} MiB"),
        ("memory at first, most", f"{soak.rss_begin:.1f}, {soak.rss_most:.1f} MiB", ""),
        ("threads", f"{soak.threads_start} -> {soak.threads_end}", ""),
        ("open files", f"{soak.files_start} -> {soak.files_end}", ""),
    )
    print(f"soak of {soak.whole_s:.0f} s; start: after {soak.whole_s - soak.seconds:.0f} s of warm-up")
    for name, value, more in rows:
        print(f"  {name:22} {value:>22}  {more}".rstrip())
    print("flat" if soak.passed else f"NOT FLAT {soak.problem}")


def main() -> int:
    """Exit code 1 when something grew."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300, help="wall time (default 300)")
    parser.add_argument("--every", type=float, default=5, help="seconds from fault to fault (default 5)")
    parser.add_argument("--source", type=Path, default=SAMPLE, help="video that is looped")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.seconds < 30 or options.every <= 0:
        parser.error("--seconds must be at least 30, --every above 0")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: daemon and broker end, too
    try:
        soak = fly(options.seconds, options.every, options.source, lambda line: print(line, file=sys.stderr))
    except Stuck as stuck:
        print(stuck, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({**asdict(soak), "grown": soak.grown, "passed": soak.passed}))
    else:
        print_soak(soak)
    return 0 if soak.passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
