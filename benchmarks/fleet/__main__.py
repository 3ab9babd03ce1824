"""A fleet of simulated drones on one real mosquitto, as it is shipped: what it bears, and what breaks first.

    python -m benchmarks.fleet [--devices 1000] [--seconds 60] [--only ramp] [--tls] [--json]

Parts: `ramp` (alerts a second, doubled until something breaks), `late` (a new control room), `away` (one
that was gone), `far` (one behind a slow network), `restart` (of the broker), `files` (a limit of open
files). Each drone is an MQTT session with the daemon's topics, payloads, last will, window and pauses.
Exit code 1 when the fleet could not even connect.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import firmware_cfg
from benchmarks.fleet.fleet import RATES, Options
from benchmarks.fleet.run import PARTS, fly
from benchmarks.fleet.table import print_tables
from firmware_cfg.errors import RemoteclipError

PROMPTS = Path(firmware_cfg.__file__).parent / "prompts" / "traffic.yaml"
_FILES_OF_OURS = 200


def main() -> int:
    """Exit code 1 when something kept the fleet from flying, 2 for options that make no sense."""
    doc = __doc__ or ""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=doc.splitlines()[0])
    parser.add_argument("--devices", type=int, default=1000, help="drones (default 1000)")
    parser.add_argument(
        "--seconds", type=float, default=60, help="of the ramp; other parts follow (default 60)"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; may be repeated")
    parser.add_argument(
        "--rates", type=_rates, default=RATES, metavar="N,N,...", help="alerts a second of the ramp, in turn"
    )
    parser.add_argument(
        "--counts-interval", type=float, default=1.0, help="seconds; 0: no counts (default 1)"
    )
    parser.add_argument(
        "--prompts", type=Path, default=PROMPTS, help="list that the fleet flies (default traffic)"
    )
    parser.add_argument("--mqtt", choices=("5", "3.1.1"), default="5", help="version (default 5)")
    parser.add_argument("--tls", action="store_true", help="TLS, and a certificate for each drone")
    parser.add_argument(
        "--generators", type=int, default=1, help="processes that share the drones (default 1)"
    )
    parser.add_argument(
        "--set", metavar="LINE", action="append", default=[], help="a line of mosquitto.conf in place of ours"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the tables")
    options = parser.parse_args()
    if min(options.devices, options.generators) < 1 or options.seconds <= 0 or options.counts_interval < 0:
        parser.error(
            "--devices and --generators must be at least 1, --seconds above 0, --counts-interval 0 or more"
        )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = options.devices + _FILES_OF_OURS
    if hard != resource.RLIM_INFINITY and hard < need:
        parser.error(f"{options.devices} drones need {need} open files, and {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: broker and generators end, too
    plan = Options(
        devices=options.devices,
        prompts=options.prompts,
        version=options.mqtt,
        tls=options.tls,
        generators=options.generators,
        counts_interval=options.counts_interval or math.inf,
        rates=options.rates,
        settings=tuple(options.set),
    )
    try:
        result = fly(
            plan, tuple(options.only or PARTS), options.seconds, lambda line: print(line, file=sys.stderr)
        )
    except (RemoteclipError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({**asdict(result), "conclusions": result.conclusions}))
    else:
        print_tables(result)
    return 0 if result.storms[0].online == options.devices else 1


def _rates(text: str) -> tuple[float, ...]:
    rates = tuple(float(each) for each in text.split(","))
    if min(rates) <= 0:
        raise ValueError("a rate must be above 0")
    return rates


if __name__ == "__main__":
    raise SystemExit(main())
