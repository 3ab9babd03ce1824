"""`remoteclip prompts tune` from end to end: pass or cache, crops, marks, page, and the list's new text."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.files import write_atomically
from edge.prompts.build import build_prompt_bank, in_memory_list
from edge.tune.collect import EVERYTHING, Look, Seen, collect, pass_key
from edge.tune.crops import choose, cut
from edge.tune.marks import Mark, MarksFile, resolve, save_marks
from edge.tune.page import PageFacts, render
from edge.tune.report import PromptReport, reports
from edge.tune.scoring import Scored, Scorer
from edge.tune.sightings import Sightings, load_sightings
from edge.tune.tuning import Tuning, tune
from edge.tune.write_back import difference, edited
from firmware_cfg.errors import UsageError
from firmware_cfg.located_yaml import read_config_bytes

if TYPE_CHECKING:
    from edge.prompts.bank import PromptBank
    from edge.runtime import Runtime
    from edge.sources import FrameSource
    from firmware_cfg.prompt_list import LoadedPromptList

OpenSource = Callable[[], "FrameSource"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to tune on what.

    source: the clip as the user named it; page: the HTML file to write; look: how the clip is looked at;
    settings: whatever else changes what the model sees, such as its bundle's hash; options: further words of
    the command line, which the page repeats.
    """

    loaded: LoadedPromptList
    source: str
    page: Path
    look: Look = EVERYTHING
    settings: tuple[object, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def cache(self) -> Path:
        """The pass over the clip, beside the page."""
        return self.page.with_suffix(".sightings.npz")

    @property
    def marks(self) -> Path:
        """The marks by place, beside the page."""
        return self.page.with_suffix(".marks.yaml")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to; `changed` is the list's new text where marks ask for one, else None.

    `tuning.warning` says where that text is worse than the old one.
    """

    reports: tuple[PromptReport, ...]
    tuning: Tuning | None
    changed: bytes | None
    diff: str
    sightings: Sightings
    from_cache: bool
    marks: tuple[Mark, ...]


def run(
    plan: Plan,
    runtime: Runtime,
    open_source: OpenSource,
    marks: MarksFile,
    *,
    seen: Seen = iter,
) -> Outcome:
    """Write the page, and the marks beside it where there are any; the list itself is left as it is.

    Raises:
        RemoteclipError: see `pass_key`, `collect`, `resolve`, `tune`, `edited`, `prepare`.
    """
    prepare(plan.page)
    data = read_config_bytes(plan.loaded.path)
    sightings, from_cache = _sightings(plan, runtime, open_source, marks, seen)
    scorer = Scorer(runtime.facts, runtime.calibration)
    try:
        scored = scorer.score(sightings, _bank(runtime, plan.loaded))
        crops = choose(sightings, scored)
        resolved = resolve(marks, crops, sightings, scored)
        tuning = tune(scorer, sightings, scored, resolved, runtime.sentences) if resolved else None
        after = scorer.score(sightings, _bank(runtime, in_memory_list(tuning.model))) if tuning else None
        nulls = _null_thresholds(runtime, plan.loaded)
    finally:
        runtime.release_sentences()
    changed = edited(data, plan.loaded.path, tuning.model) if tuning else data
    diff = difference(data, changed, plan.loaded.path)
    found = tuple(reports(sightings, scored, crops, nulls, tuning.suggested if tuning else {}))
    with open_source() as source:
        pictures = cut(source, sightings, crops)
    facts = PageFacts(
        list_path=plan.loaded.path,
        source=plan.source,
        command=_command(plan),
        marks_path=plan.marks,
        marks={(mark.prompt, mark.index): mark.right for mark in resolved},
        diff=diff,
        null_share=runtime.calibration.false_alarm_rate_object,
        after={} if after is None else _per_frame(sightings, after),
    )
    write_page(plan.page, render(facts, sightings, found, pictures, tuning))
    if resolved:
        save_marks(plan.marks, resolved, sightings, scored)
    return Outcome(found, tuning, changed if diff else None, diff, sightings, from_cache, tuple(resolved))


def prepare(page: Path) -> None:
    """Make the page's folder, and find out now whether it can be written. Raises UsageError."""
    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{page}: a page's name ends in .html")
    if page.is_dir():
        raise UsageError(f"{page}: is a folder (name the page's file)")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        probe = page.with_name(f".{page.name}.probe")
        write_atomically(probe, b"")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"{page}: cannot be written: {error.strerror} (name another place with -o)"
        ) from error


def _sightings(
    plan: Plan, runtime: Runtime, open_source: OpenSource, marks: MarksFile, seen: Seen
) -> tuple[Sightings, bool]:
    """Those of an earlier run where nothing has changed since, else new ones; and which they are."""
    key = pass_key(plan.source, plan.loaded.sha256, plan.look, *plan.settings)
    known = load_sightings(plan.cache, key)
    if known is not None:
        return known, True
    if marks.positive or marks.negative:
        why = (
            "its crops are of another clip, list or model"
            if plan.page.exists()
            else "there is no such page yet"
        )
        raise UsageError(
            f"{plan.page}: {why}, so crop numbers say nothing (run without marks, then look at the new page)"
        )
    with open_source() as source:
        sightings = collect(runtime, plan.loaded, source, key, plan.look, seen=seen)
    _write(plan.cache, sightings.as_bytes())
    return sightings, False


def _bank(runtime: Runtime, loaded: LoadedPromptList) -> PromptBank:
    return build_prompt_bank(loaded, runtime.sentences, runtime.facts, runtime.calibration)


def _null_thresholds(runtime: Runtime, loaded: LoadedPromptList) -> Mapping[str, float]:
    """What the list's thresholds would be if it set none, by prompt id."""
    prompts = tuple(prompt.model_copy(update={"threshold": None}) for prompt in loaded.model.prompts)
    unset = loaded.model.model_copy(update={"prompts": prompts})
    return _bank(runtime, replace(loaded, model=unset)).thresholds


def _per_frame(sightings: Sightings, scored: Scored) -> dict[str, list[float]]:
    """How many places every object prompt finds in each frame."""
    frames = len(sightings.number)
    return {
        name: np.bincount(sightings.frame[scored.found(name)], minlength=frames).astype(float).tolist()
        for name in scored.bank.layout.object_ids
    }


def _command(plan: Plan) -> str:
    words = ["remoteclip", "prompts", "tune", plan.loaded.path, "--on", plan.source, "-o", str(plan.page)]
    return shlex.join([*words, *plan.options])


def write_page(path: Path, html: str) -> None:
    """Write it as a whole. Raises UsageError."""
    _write(path, html.encode())


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written: {error.strerror} (name another place with -o)"
        ) from error
