"""Unique counts and identities under a moving camera: ours against roboflow's ByteTrack, and what both cost.

    python -m benchmarks.tracking [--data ../shared/data] [--tune] [--cost-only]

Virtual flights over real orthophotos and drone photographs with known truth; everybody gets the very same
places. Settings of all rivals were chosen on other grounds and seeds (`--tune` flies those). Needs the
packages `trackers` and `supervision` (make tracking installs them).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.tracking.clips import continuity_table, demo_line
from benchmarks.tracking.cost import motion_table, tracker_table
from benchmarks.tracking.flights import RIVALS, compete, table
from benchmarks.tracking.grounds import forest, streets
from benchmarks.tracking.scenes import SCENES


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--tune", action="store_true", help="fly the grounds and seeds that settings were chosen on"
    )
    parser.add_argument("--cost-only", action="store_true")
    asked = parser.parse_args()
    if not asked.cost_only:
        if asked.tune:
            grounds, seeds = [forest("a"), streets(asked.data, 0)], [0]
        else:
            grounds, seeds = [forest("b"), streets(asked.data, 1), streets(asked.data, 2)], [1]
        print(f"Unique-count error and IDF1 over {', '.join(ground.name for ground in grounds)}\n")
        print(table(compete(SCENES, grounds, seeds, RIVALS)), flush=True)
        print(f"\nThe target of two real clips\n\n{continuity_table(asked.data)}", flush=True)
        print(f"\nUnique trees of the demo flight: {demo_line()}", flush=True)
    print(f"\nA tracker's time for one frame\n\n{tracker_table()}")
    print(f"\nThe camera's motion\n\n{motion_table(forest('b'))}")


if __name__ == "__main__":
    main()
