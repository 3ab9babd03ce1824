"""One run: clip by clip, all subjects at once in their processes, taking turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from compile.bench.clips import made_up_clip, recorded_clips, size_of
from compile.bench.measured import Measured, Result, StartUp
from compile.bench.plan import Plan
from compile.bench.process import BenchError, Worker
from compile.bench.rooflines import add_rooflines
from compile.bench.spec import PACED, TURN, Setting, Subject, request
from compile.bench.start_up import COUNT, caches_in, own_cache_of, time_count
from compile.bench.timing import Spread
from compile.bench.worker import ROWS
from edge.broker import start_demo_broker
from firmware_cfg.errors import BrokerError, MissingExtra

Say = Callable[[str], None]

TRIAL_FRAMES = 2
"""Of a task's first, untimed turn: it tells how many frames a turn has."""
ROW_ROUNDS = 30


@dataclass(slots=True)
class _Task:
    """One subject's task while it is measured."""

    worker: Worker
    subject: Subject
    name: str
    frames: int = 0
    failed: bool = False
    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    def turn(self, frames: int) -> dict[str, list[float]]:
        answer = self.worker.ask({"task": self.name, "frames": frames})
        self.memory = answer["memory"]
        samples: dict[str, list[float]] = answer["samples"]
        return samples


def run(plan: Plan, data: Path | None, work: Path, measured: Measured, say: Say) -> None:
    """Measure what the plan names, into `measured`; `work` is an empty folder.

    A subject that cannot start, or fails in the middle, is left out with a note. Raises BenchError where
    nothing is left, RemoteclipError where clips cannot be read.
    """
    environment = caches_in(work)
    with ExitStack() as stack:
        broker = _broker(stack, plan, measured)
        clips = _clips(plan, data, work, measured, say)
        tower = _tower(plan, work, environment, measured, say)
        for number, (name, path) in enumerate(clips.items()):
            setting = Setting(
                clip=str(path),
                bundle=plan.bundle,
                prompts=str(plan.prompts),
                work=str(_folder(work / f"clip{number}")),
                broker=broker,
                weights=str(plan.weights or ""),
                tower=tower,
                image_size=plan.image_size,
            )
            _measure_clip(plan, name, setting, number == 0, environment, measured, say)
        if "daemon" in plan.parts:
            say("starting remoteclip count")
            clip = next(iter(clips.values()))
            try:
                own_cache = {**environment, **own_cache_of(environment, COUNT)}
                start = time_count(clip, plan.bundle, plan.prompts, own_cache, plan.starts)
                measured.start_ups.append(start)
            except BenchError as error:
                measured.note(str(error))
    add_rooflines(plan, measured)
    for part in ROWS:
        if part in plan.parts:
            say(part)
            _add_rows(part, plan, environment, measured)
    if not measured.results and not any(measured.rows.values()):
        raise BenchError(f"nothing could be measured: {'; '.join(measured.notes)}")


def _measure_clip(
    plan: Plan,
    clip: str,
    setting: Setting,
    first: bool,
    environment: Mapping[str, str],
    measured: Measured,
    say: Say,
) -> None:
    with ExitStack() as stack:
        tasks: list[_Task] = []
        for subject in plan.subjects(first):
            say(f"{clip}: starting {subject.name}")
            worker = _start(plan, subject, setting, first, environment, measured, stack)
            if worker is not None:
                tasks += [_Task(worker, subject, name) for name in subject.tasks]
        try:
            _take_turns(plan, clip, tasks, measured, say)
        finally:
            # Also of a run that is interrupted: what was measured is reported.
            _add_results(clip, tasks, measured)


def _take_turns(plan: Plan, clip: str, tasks: list[_Task], measured: Measured, say: Say) -> None:
    """All rounds. A task that fails is left out from then on, with a note; the others go on."""

    def turn(task: _Task, frames: int) -> dict[str, list[float]]:
        try:
            return task.turn(frames)
        except BenchError as error:
            task.failed = True
            measured.note(f"{clip}: {task.subject.name}, {task.name}, from then on: {error}")
            return {}

    for task in tasks:
        if trial := turn(task, TRIAL_FRAMES).get("frame"):
            # At its own rate a latency does not tell how long a frame takes.
            task.frames = round(plan.turn_s * 10) if task.name == PACED else plan.frames(min(trial))
    for number in range(plan.rounds):
        say(f"{clip}: round {number + 1} of {plan.rounds}")
        # Another order each round: nobody always follows the one who leaves the caches worst.
        for task in random.Random(number).sample(tasks, len(tasks)):
            if not task.failed:
                samples = turn(task, max(1, task.frames))
                if "frame" in samples and task.name != PACED:
                    samples.setdefault(TURN, [fmean(samples["frame"])])
                for name, values in samples.items():
                    task.seconds.setdefault(name, []).extend(values)


def _add_results(clip: str, tasks: list[_Task], measured: Measured) -> None:
    for task in tasks:
        if task.seconds:
            subject, spreads = (
                task.subject,
                {name: Spread.of(values) for name, values in task.seconds.items()},
            )
            measured.results.append(
                Result(
                    clip,
                    subject.kind,
                    subject.variant,
                    subject.name,
                    task.name,
                    spreads,
                    task.memory,
                    tuple(round(seconds * 1e3, 4) for seconds in task.seconds.get(TURN, ())),
                )
            )


def _start(
    plan: Plan,
    subject: Subject,
    setting: Setting,
    first: bool,
    environment: Mapping[str, str],
    measured: Measured,
    stack: ExitStack,
) -> Worker | None:
    """A worker that is ready, or None and a note; at the first clip several in turn, for their start-up."""
    seconds: list[float] = []
    # Its own, or what the subjects before it have put there would make its first start a warm one.
    own_cache = own_cache_of(environment, subject.name)
    for number in range(plan.starts if first else 1):
        # A daemon's state is its own: the second one would find the first one's messages.
        here = replace(setting, work=str(_folder(Path(setting.work) / f"start{number}")))
        try:
            worker = Worker(request(subject, here), {**environment, **own_cache})
        except BenchError as error:
            measured.note(f"{subject.name}: {error}")
            return None
        if problem := worker.first.get("failed"):
            worker.close()
            measured.note(f"{subject.name}: {problem}")
            return None
        seconds.append(round(worker.start_s, 3))
        if number + 1 < (plan.starts if first else 1):
            worker.close()
    stack.callback(worker.close)
    if first:
        warm = min(seconds[1:]) if len(seconds) > 1 else None
        measured.start_ups.append(StartUp(subject.name, seconds[0], warm))
    return worker


def _broker(stack: ExitStack, plan: Plan, measured: Measured) -> str:
    if "daemon" not in plan.parts:
        return ""
    try:
        broker = stack.enter_context(start_demo_broker())
    except (BrokerError, MissingExtra) as error:
        measured.note(f"broker: {error}; the daemon's messages wait in its outbox")
        return ""
    measured.settings["broker"] = measured.machine["broker"] = broker.name
    return broker.url


def _clips(plan: Plan, data: Path | None, work: Path, measured: Measured, say: Say) -> dict[str, Path]:
    say("preparing the clips")
    clips = {} if plan.quick else recorded_clips(data, work)
    if not clips:
        if not plan.quick:
            measured.note(
                "truck4 and boat1 are not there, a made-up clip stands in (their data root: --data)"
            )
        size = (320, 180) if plan.quick else (1280, 720)
        clips = {"made-up clip": made_up_clip(work / "made-up.mp4", size)}
    measured.clips.update({name: size_of(path) for name, path in clips.items()})
    return clips


def _tower(plan: Plan, work: Path, environment: Mapping[str, str], measured: Measured, say: Say) -> str:
    """The path of RemoteCLIP's tower as ONNX; empty, and a note, where it cannot be exported."""
    if "tower" not in plan.parts:
        return ""
    say("exporting RemoteCLIP's tower")
    path = work / "tower.onnx"
    setting = Setting("", plan.bundle, str(plan.prompts), str(work), weights=str(plan.weights or ""))
    asked = {**request(Subject("export", "", ()), setting), "path": str(path)}
    try:
        with Worker(asked, environment) as worker:
            problem = worker.first.get("failed")
    except BenchError as error:
        problem = str(error)
    if problem:
        measured.note(f"RemoteCLIP's tower as ONNX: {problem}")
    return "" if problem else str(path)


def _add_rows(part: str, plan: Plan, environment: Mapping[str, str], measured: Measured) -> None:
    setting = Setting(
        "",
        plan.bundle,
        str(plan.prompts),
        "",
        image_size=plan.image_size,
        precision=plan.precisions[0] if plan.precisions else "auto",
    )
    asked = {**request(Subject("rows", part, ()), setting), "rounds": min(ROW_ROUNDS, 3 * plan.rounds)}
    try:
        with Worker(asked, environment) as worker:
            answer = worker.first
    except BenchError as error:
        answer = {"failed": str(error)}
    if problem := answer.get("failed"):
        measured.note(f"{part}: {problem}")
        return
    measured.rows[part] = answer["rows"]
    # The vocabulary leaves nothing out: it tells what it ran on.
    say_it = measured.tell if part == "vocabulary" else measured.note
    for note in answer["notes"]:
        say_it(note)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
