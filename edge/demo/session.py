"""One demo from start to summary: a broker, a subscriber, the daemon between them, and pictures of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import firmware_cfg
from edge.alerts.machine import Transition
from edge.broker import DemoBroker, start_demo_broker
from edge.daemon import Daemon
from edge.demo.heard import Heard
from edge.demo.recording import Recorder
from edge.demo.result import TREE, DemoResult, Scoreboard
from edge.demo.source import DemoSource
from edge.mqtt.settings import BrokerSettings
from edge.mqtt.subscriber import Subscriber
from edge.pipeline import FrameResult
from edge.render import annotate, colours
from edge.signals import stopped_by_signals
from edge.sources import FrameSource, open_source
from edge.summary import RunSummary
from firmware_cfg.device import DeviceFile, Mqtt, Source
from firmware_cfg.errors import BrokerError, RemoteclipError
from firmware_cfg.messages import Event
from firmware_cfg.prompt_list import load_prompt_list
from firmware_cfg.topics import Topics

DEVICE = "demo"
DEFAULT_PROMPTS = Path(firmware_cfg.__file__).parent / "prompts" / "trees.yaml"
SUBSCRIBE_TIMEOUT_S = 10.0
GOODBYE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to fly: `seconds` of capture time, None for all of it; results go to a new folder in `runs`."""

    source: str
    runs: Path
    prompts: Path = DEFAULT_PROMPTS
    seconds: float | None = None
    realtime: bool = False
    bundle: str = "default"


@dataclass(slots=True)
class _Pictures:
    """Draws every frame for the recorder: boxes, counts, the truth, and which alerts are up."""

    recorder: Recorder
    scoreboard: Scoreboard
    active: dict[str, str] = field(default_factory=dict)
    palette: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def add(self, result: FrameResult, transitions: Sequence[Transition]) -> None:
        for transition in transitions:
            if transition.kind == "clear":
                self.active.pop(transition.alert_id, None)
            else:
                self.active[transition.alert_id] = f"{transition.prompt_id}: {transition.reason}"
        objects = result.bank.layout.object_ids
        self.palette = self.palette or colours(objects)
        lines = [self._line(name, result) for name in objects]
        lines += [f"{name} {score:.2f}" for name, score in result.scores.scene.items()]
        if self.active:
            lines.append("ALERT " + "; ".join(self.active.values()))
        palette = self.palette
        self.recorder.add(
            lambda: annotate(result.frame.image.rgb(), result.tracks, palette, lines), result.frame.time_s
        )

    def _line(self, name: str, result: FrameResult) -> str:
        numbers = result.counts.prompts[name]
        now, total = f"{numbers.count} in view", f"{numbers.unique} in all"
        if name == TREE and self.scoreboard.unique is not None:
            now += f" (true {self.scoreboard.in_frame})"
            total += f" (true {self.scoreboard.unique})"
        return f"{name}: {now}, {total}   {result.frame.time_s:.1f} s"


def fly(
    plan: DemoPlan,
    on_event: Callable[[Event], None],
    looking_on: Callable[[BrokerSettings], AbstractContextManager[object]] | None = None,
) -> DemoResult:
    """Run the demo and say what it came to. SIGINT and SIGTERM end it early. From the main thread only.

    Args:
        plan: what to fly.
        on_event: called for every event as the subscriber received it, in the subscriber's thread.
        looking_on: entered with the broker around the flight, to show more of it.

    Raises:
        RemoteclipError: with the one line that says what is missing.
    """
    prompts = plan.prompts.absolute()
    load_prompt_list(prompts)  # its errors come before a broker or a folder is there
    with ExitStack() as stack:
        source = stack.enter_context(open_source(plan.source))
        folder = new_folder(plan.runs)
        stack.callback(_remove_if_empty, folder)
        broker = stack.enter_context(start_demo_broker())
        settings = BrokerSettings.from_url(broker.url)
        heard = Heard(on_event)
        subscriber = stack.enter_context(Subscriber(settings, [Topics(DEVICE).everything], heard))
        if not subscriber.wait_online(SUBSCRIBE_TIMEOUT_S):
            raise BrokerError(f"{broker.url}: the demo's subscriber cannot connect: {subscriber.problem}")
        if looking_on is not None:
            stack.enter_context(looking_on(settings))
        recorder = stack.enter_context(Recorder(folder))
        scoreboard = Scoreboard(source.flight if isinstance(source, DemoSource) else None)
        pictures = _Pictures(recorder, scoreboard)

        def on_frame(result: FrameResult, transitions: Sequence[Transition]) -> None:
            scoreboard.take(result)
            pictures.add(result, transitions)

        device = DeviceFile(
            device=DEVICE,
            source=Source(uri=plan.source, realtime=plan.realtime),
            prompts=prompts,
            bundle=plan.bundle,
            mqtt=Mqtt(url=broker.url),
            state_dir=Path(stack.enter_context(TemporaryDirectory(prefix="remoteclip-demo-"))),
        )
        daemon = Daemon(device, source=source, on_frame=on_frame, limit_s=plan.seconds)
        with stopped_by_signals(daemon.stop):
            summary = daemon.run()
        heard.wait_for_goodbye(GOODBYE_TIMEOUT_S)
    return _result(summary, source, broker, heard, scoreboard, recorder)


def new_folder(runs: Path) -> Path:
    """Make a folder in `runs` for one run, named by the time. Raises RemoteclipError."""
    name = f"{datetime.now():%Y%m%d-%H%M%S}"
    for attempt in range(1000):
        folder = runs / (name if attempt == 0 else f"{name}-{attempt}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise RemoteclipError(f"{runs}: is not a folder (results are written there)") from None
        except OSError as error:
            raise RemoteclipError(f"{folder}: cannot be made: {error.strerror}") from error
        else:
            return folder
    raise RemoteclipError(f"{runs}: too many runs at {name}")


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):  # a demo that could not start leaves nothing behind
        folder.rmdir()


def _result(
    summary: RunSummary,
    source: FrameSource,
    broker: DemoBroker,
    heard: Heard,
    scoreboard: Scoreboard,
    recorder: Recorder,
) -> DemoResult:
    truth = scoreboard.unique
    return DemoResult(
        source=source.name,
        frames=summary.frames,
        seconds=round(summary.seconds, 2),
        fps=round(summary.fps, 2),
        captured_s=round(summary.captured_s, 2),
        alerts_received=heard.raised,
        alerts_cleared=heard.cleared,
        events_received=heard.events,
        count=sum(summary.unique.values()) if truth is None else summary.unique[TREE],
        truth=truth,
        counts=dict(summary.unique),
        per_frame=scoreboard.per_frame,
        skipped=dict(summary.skipped),
        broker=broker.name,
        video=str(recorder.video_path) if recorder.video_path.exists() else None,
        contact_sheet=str(recorder.sheet_path) if recorder.sheet_path.exists() else None,
    )
