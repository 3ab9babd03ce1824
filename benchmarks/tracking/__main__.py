"""Unique counts and identities under a moving camera: ours against roboflow's ByteTrack, and what both cost.

    python -m benchmarks.tracking [--data ../shared/data] [--tune] [--only PART]

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
from benchmarks.tracking.interest import clips_table, flights_table
from benchmarks.tracking.runs import runs_table
from benchmarks.tracking.scenes import SCENES

_PARTS = ("flights", "clips", "demo", "runs", "interest", "cost")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--tune", action="store_true", help="fly the grounds and seeds that settings were chosen on"
    )
    parser.add_argument("--only", choices=_PARTS, help="one part of it")
    asked = parser.parse_args()
    for part in _PARTS if asked.only is None else (asked.only,):
        print(_tables(part, asked.data, tune=asked.tune), end="\n\n", flush=True)


def _tables(part: str, data: Path, *, tune: bool) -> str:
    if part == "flights":
        seen = [forest("a"), streets(data, 0)], [0]
        grounds, seeds = seen if tune else ([forest("b"), streets(data, 1), streets(data, 2)], [1])
        over = ", ".join(ground.name for ground in grounds)
        return f"Unique-count error and IDF1 over {over}\n\n{table(compete(SCENES, grounds, seeds, RIVALS))}"
    if part == "clips":
        return f"The target of two real clips\n\n{continuity_table(data)}"
    if part == "demo":
        return f"Unique trees of the demo flight: {demo_line()}"
    if part == "runs":
        return f"Mean absolute error of a frame's count (mean error) on real runs\n\n{runs_table(data)}"
    if part == "interest":
        head = "Windows of interest against all windows"
        return f"{head}\n\n{flights_table(streets(data, 1))}\n\n{clips_table(data)}"
    camera = f"The camera's motion\n\n{motion_table(forest('b'))}"
    return f"A tracker's time for one frame\n\n{tracker_table()}\n\n{camera}"


if __name__ == "__main__":
    main()
