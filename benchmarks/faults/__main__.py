"""`python -m benchmarks.faults`: flies every fault and prints the table."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import asdict

import benchmarks.faults.kinds  # noqa: F401 - fills FAULTS
from benchmarks.faults.fault import FAULTS, Row, fly
from benchmarks.faults.kinds.process import fly_kills
from benchmarks.faults.table import print_table

KILLS = "kill -9 at random points"


def main() -> int:
    """Exit code 1 when anything was lost, told twice or got stuck; 2 for a name that is none."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="random kill -9 points (default 200)")
    parser.add_argument(
        "--only", metavar="TEXT", action="append", default=[], help="only faults whose name holds TEXT"
    )
    parser.add_argument("--list", action="store_true", help="list the faults and exit")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")
    options = parser.parse_args()
    names = [name for name in [*FAULTS, KILLS] if not options.only or any(o in name for o in options.only)]
    if options.list:
        print(*names, sep="\n")
        return 0
    if not names or options.kills < 1:
        parser.error("no such fault; --list names them" if not names else "--kills must be at least 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: daemon and broker end, too
    rows: list[Row] = []
    for place, name in enumerate(names, start=1):
        print(f"[{place}/{len(names)}] {name}", file=sys.stderr, flush=True)
        row = fly_kills(options.kills) if name == KILLS else fly(FAULTS[name])
        rows.append(row)
        verdict = f"skipped: {row.skipped}" if row.skipped else "ok" if row.passed else "FAILED"
        print(f"    {verdict}", *row.problems, sep="\n    ", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps({"faults": [{**asdict(row), "passed": row.passed} for row in rows]}))
    else:
        print_table(rows)
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
