"""The comparison of two lists as a page."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.tune import charts
from edge.tune.compare import counts_said
from edge.tune.page import chart, render_template

if TYPE_CHECKING:
    from edge.tune.compare import Comparison, Side


def render(comparison: Comparison, source: str) -> str:
    """One HTML file that needs nothing else."""
    a, b = comparison.sides
    raises = [(time_s, "A", prompt, rule) for time_s, prompt, rule in a.raises]
    raises += [(time_s, "B", prompt, rule) for time_s, prompt, rule in b.raises]
    return render_template(
        "compare.html",
        a=Path(a.name).name,
        b=Path(b.name).name,
        clip_name=Path(source).name or source,
        frames=len(comparison.times),
        independent=comparison.independent,
        rows=[_row(comparison, name) for name in comparison.prompts],
        charts=[_chart(comparison, name) for name in comparison.prompts],
        alerts=[(f"{time_s:.1f} s", *rest) for time_s, *rest in sorted(raises)],
        differences=[
            {
                "where": item.name if comparison.independent else f"frame {item.number}, {item.time_s:.1f} s",
                "said": counts_said(item),
                "a": base64.b64encode(item.pictures[0]).decode(),
                "b": base64.b64encode(item.pictures[1]).decode(),
            }
            for item in comparison.differences
        ],
    )


def _row(comparison: Comparison, name: str) -> list[str]:
    frames = len(comparison.times)

    def pair(shown: Any) -> str:
        return ", ".join(shown(side) if name in side.thresholds else "–" for side in comparison.sides)

    def counted(side: Side, number: str) -> str:
        return "–" if name in side.scenes else number

    return [
        name,
        pair(lambda side: f"{side.thresholds[name]:.2f}"),
        pair(lambda side: counted(side, f"{side.counted[name] / frames:.2f}")),
        pair(lambda side: counted(side, str(side.most[name]))),
        pair(lambda side: counted(side, str(side.unique[name]))),
        pair(lambda side: f"{side.best[name]:.2f}"),
        pair(lambda side: str(sum(prompt == name for _, prompt, _ in side.raises))),
    ]


def _chart(comparison: Comparison, name: str) -> dict[str, Any]:
    nothing = [0.0] * len(comparison.times)
    series = [side.series.get(name, nothing) for side in comparison.sides]
    scene = any(name in side.scenes for side in comparison.sides)
    svg = charts.over_time(
        comparison.times, series, highest=1.0 if scene else None, bars=comparison.independent
    )
    return {"id": name, "scene": scene, "svg": chart(svg)}
