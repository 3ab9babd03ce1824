"""The page: one HTML file that needs nothing else, and in which no text of a list can become markup."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.tune import charts
from edge.tune.calibrate import LOWEST_SCORE

if TYPE_CHECKING:
    from markupsafe import Markup

    from edge.tune.crops import Crop
    from edge.tune.report import PromptReport
    from edge.tune.sightings import Sightings
    from edge.tune.tuning import Tuned, Tuning

_GROUPS = {
    "best": ("Best", "the highest scores"),
    "borderline": ("Borderline", "nearest to the threshold, on either side: marks tell most here"),
    "spread": ("In between", "from high to low scores, in even steps"),
}


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What the page says beside the numbers.

    list_path, source: as the user named them; command: the command that wrote the page, marks left out;
    marks_path: the file of the marks; marks: by prompt and sighting, whether it is right; diff: of the list;
    null_share: share of the null bank that passes a default threshold; after: by prompt id what is found per
    frame once the list is tuned.
    """

    list_path: str
    source: str
    command: str
    marks_path: Path
    marks: Mapping[tuple[str, int], bool]
    diff: str
    null_share: float
    after: Mapping[str, Sequence[float]]


def render(
    facts: PageFacts,
    sightings: Sightings,
    reports: Sequence[PromptReport],
    pictures: Mapping[int, bytes],
    tuning: Tuning | None,
) -> str:
    """The page's HTML."""
    numbers = [crop.number for report in reports for crop in report.crops if crop.group == "borderline"]
    return render_template(
        "page.html",
        list_name=Path(facts.list_path).name,
        clip_name=Path(facts.source).name or facts.source,
        frames=len(sightings.number),
        places=f"{len(sightings.frame) + sightings.lost:,}",
        lost=f"{sightings.lost:,}" if sightings.lost else "",
        skipped=", ".join(f"{count} {cause}" for cause, count in sightings.skipped.items()),
        independent=sightings.independent,
        null_share=f"{facts.null_share:.2%}",
        prompts=[_prompt(facts, sightings, report, pictures) for report in reports],
        tuned=[_tuned(item) for item in tuning.prompts] if tuning else None,
        notes=tuning.notes if tuning else (),
        diff=facts.diff.splitlines(),
        warning=tuning.warning if tuning else None,
        command=facts.command,
        marks_path=shlex.quote(str(facts.marks_path)),
        example_right=",".join(map(str, numbers[:2])) or "3,7",
        example_wrong=",".join(map(str, numbers[2:3])) or "12",
        lowest=LOWEST_SCORE,
    )


def render_template(name: str, **values: Any) -> str:
    """A template of this folder with the shared style; every value is escaped unless it is Markup."""
    import jinja2
    from markupsafe import Markup

    folder = files("edge.tune")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = (folder / "page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = environment.from_string((folder / name).read_text("utf-8"))
    # The style is ours, and its hash in the page's policy keeps every other one out.
    return template.render(style=Markup(style), style_hash=f"sha256-{digest}", **values)


def chart(svg: str) -> Markup:
    """A chart, whose texts are numbers, as markup."""
    from markupsafe import Markup

    return Markup(svg)


def _prompt(
    facts: PageFacts, sightings: Sightings, report: PromptReport, pictures: Mapping[int, bytes]
) -> dict[str, Any]:
    prompt, scene = report.prompt, report.prompt.kind == "scene"
    lines = [charts.Line(report.threshold, "threshold")]
    after = facts.after.get(prompt.id)
    series = [report.series] if after is None else [report.series, after]
    over_time = charts.over_time(
        sightings.time_s.tolist(),
        series,
        highest=1.0 if scene else None,
        lines=lines if scene else (),
        bars=sightings.independent,
    )
    groups = []
    for group, (title, note) in _GROUPS.items():
        crops = [
            _crop(facts, sightings, report, crop, pictures) for crop in report.crops if crop.group == group
        ]
        if crops:
            groups.append({"title": title, "note": note, "crops": crops})
    return {
        "id": prompt.id,
        "kind": prompt.kind,
        "texts": prompt.text,
        "found": report.found,
        "frames": report.frames,
        "best": report.best,
        "threshold": report.threshold,
        "threshold_from": report.threshold_from,
        "null_threshold": report.null_threshold,
        "suggested": report.suggested,
        "histogram": chart(charts.histogram(report.histogram, lines)),
        "histogram_unit": "frames" if scene else "places",
        "over_time": chart(over_time),
        "two_series": after is not None,
        "rivals": [(name, f"{share:.0%}") for name, share in report.rivals],
        "backgrounds": [(name, f"{share:.0%}") for name, share in report.backgrounds],
        "groups": groups,
    }


def _crop(
    facts: PageFacts, sightings: Sightings, report: PromptReport, crop: Crop, pictures: Mapping[int, bytes]
) -> dict[str, str | int]:
    mark = facts.marks.get((crop.prompt, crop.frame if crop.place is None else crop.place))
    css = ["above" if crop.score >= report.threshold else "below"]
    if mark is not None:
        css.append("right" if mark else "wrong")
    if sightings.independent:
        where = sightings.names[crop.frame]
    else:
        where = f"frame {sightings.number[crop.frame]}, {sightings.time_s[crop.frame]:.1f} s"
    return {
        "number": crop.number,
        "score": f"{crop.score:.2f}",
        "css": " ".join(css),
        "said": "" if mark is None else ", marked right" if mark else ", marked wrong",
        "where": where,
        "picture": base64.b64encode(pictures.get(crop.number, b"")).decode(),
    }


def _tuned(item: Tuned) -> dict[str, str | int]:
    judged = item.left_out
    parts = []
    if judged is None:
        parts.append("other numbers do no better on marks left out, so bias and temperature stay")
    else:
        parts.append(f"bias {item.line.bias:+.2f}, temperature {item.line.temperature:.2f}")
    if item.background is not None:
        parts.append(f"the background sentence “{item.background}” takes wrong ones away")
    if min(item.positive, item.negative) == 0:
        parts.append("marks of both kinds would tell more")
    return {
        "id": item.prompt,
        "positive": item.positive,
        "negative": item.negative,
        "before": f"{item.before.right:.0%}",
        "after": "–" if judged is None else f"{judged.right:.0%}",
        "loss": f"{item.before.loss:.2f}, " + ("–" if judged is None else f"{judged.loss:.2f}"),
        "threshold": "–" if item.threshold is None else f"{item.threshold:.2f}",
        "missed": item.missed,
        "passed": item.passed,
        "sentence": f"{item.prompt}: {'; '.join(parts)}.",
    }
