"""What a build left out and why: report.json for programs, report.md for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge.files import write_atomically
from training.data.manifest import COUNTS, Manifest
from training.data.selection import Selection
from training.data.sources import SourceRead

_LISTED = 1000  # of each list; the counts are always whole


def write_report(
    folder: Path, root: Path, manifest: Manifest, reads: Sequence[SourceRead], selection: Selection
) -> None:
    """Write report.json and report.md. Raises OSError."""
    document = report_document(root, manifest, reads, selection)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    write_atomically(folder / "report.json", f"{text}\n".encode())
    write_atomically(folder / "report.md", report_text(document).encode())


def report_document(
    root: Path, manifest: Manifest, reads: Sequence[SourceRead], selection: Selection
) -> dict[str, Any]:
    """The report as JSON; files below the data root, so that it is the same wherever that lies."""

    def below(path: str) -> str:
        return path.replace(f"{root}/", "")

    findings = {}
    for read in reads:
        found = read.findings.as_json()
        for entry in found["listed"]:
            entry["file"], entry["problem"] = below(entry["file"]), below(entry["problem"])
        findings[read.data_set.name] = found
    return {
        "recipe_sha256": manifest.recipe_sha256,
        "sources": [source.model_dump() for source in manifest.sources],
        "findings": findings,
        "duplicates": {
            "count": len(selection.duplicates),
            "listed": [asdict(near) for near in selection.duplicates[:_LISTED]],
        },
        "leaks": [
            {
                "name": leaks.name,
                "split": leaks.split,
                "images": leaks.images,
                "unreadable": leaks.unreadable,
                "train_removed": len(leaks.train),
                "val_removed": len(leaks.val),
                "listed": [asdict(near) for near in (*leaks.train, *leaks.val)[:_LISTED]],
            }
            for leaks in selection.leaks
        ],
    }


def report_text(document: dict[str, Any]) -> str:
    """The report as Markdown."""
    rows = [[s["name"], *(s[column] for column in COUNTS)] for s in document["sources"]]
    rows.append(["all", *(sum(s[column] for s in document["sources"]) for column in COUNTS)])
    titles = ["set", *(column.replace("_", " ") for column in COUNTS)]
    licences = [[s["name"], s["captions_by"], s["licence"], s["source"]] for s in document["sources"]]
    faults = [
        [name, kind.replace("_", " "), count]
        for name, found in document["findings"].items()
        for kind, count in found["counts"].items()
    ]
    leaks = [
        [e["name"], e["split"], e["images"], e["unreadable"], e["train_removed"], e["val_removed"]]
        for e in document["leaks"]
    ]
    duplicates = document["duplicates"]
    return "\n".join(
        [
            "# Data report",
            "",
            "Images by set: read = faulty + without caption + leaks + duplicates + train + val.",
            "",
            *_table(titles, rows),
            "## Sources",
            "",
            *_table(["set", "captions by", "licence", "source"], licences),
            "## Findings",
            "",
            *_table(["set", "kind", "count"], faults),
            *_listing([e for found in document["findings"].values() for e in found["listed"]], _finding),
            "## Leaks: images removed because they are near an evaluated one or one set aside",
            "",
            *_table(["set", "split", "images", "unreadable", "train removed", "val removed"], leaks),
            *_listing([near for entry in document["leaks"] for near in entry["listed"]], _near),
            f"## Duplicates: {duplicates['count']} training images near one that is kept",
            "",
            *_listing(duplicates["listed"], _near),
        ]
    )


def _table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    if not rows:
        return ["None.", ""]
    lines = [titles, ["---"] * len(titles), *rows]
    return [*(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines), ""]


def _listing(entries: Sequence[dict[str, Any]], say: Any, most: int = 50) -> list[str]:
    lines = [f"- {say(entry)}" for entry in entries[:most]]
    if len(entries) > most:
        lines.append(f"- and {len(entries) - most} more in report.json")
    return [*lines, ""] if lines else []


def _finding(entry: dict[str, Any]) -> str:
    place = f"{entry['file']}: {entry['entry']}" if entry["entry"] else entry["file"]
    return f"{entry['kind'].replace('_', ' ')}: {place}: {entry['problem']}"


def _near(entry: dict[str, Any]) -> str:
    return f"{entry['file']} is near {entry['near']} (distance {entry['distance']})"
