"""What a flight needs, opened from a device file: what is wrong with it is found here, before the flight."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType

import edge.demo.source  # noqa: F401 - makes `demo` a source that open_source knows
from edge.bundle.flight import BundleFlight, begin_flight
from edge.bundle.load import Bundle
from edge.events import Session
from edge.evidence.store import EvidenceStore
from edge.geo.locate import Locator
from edge.health.file import HealthFile
from edge.mqtt.settings import BrokerSettings
from edge.outbox.outbox import Outbox
from edge.pipeline import Pipeline
from edge.prompts.shelf import FOLDER_NAME as PROMPTS_NAME
from edge.prompts.shelf import PromptShelf
from edge.prompts.updates import PromptUpdater
from edge.runs.recorder import open_recorder
from edge.runs.writer import RunWriter
from edge.sources import CameraOptions, CubeOptions, FrameSource, open_source
from edge.whereabouts import Whereabouts, open_whereabouts
from firmware_cfg.device import DeviceFile
from firmware_cfg.messages.prompts import PromptSource
from firmware_cfg.prompt_list import LoadedPromptList

log = logging.getLogger(__name__)

OUTBOX_NAME = "outbox.db"
EVIDENCE_NAME = "evidence"
RUNS_NAME = "runs"


@dataclass(frozen=True, slots=True)
class OnBoard:
    """The parts of one flight. `evidence` is None where no pictures are kept, `recorder` where no run is."""

    broker: BrokerSettings
    flown: BundleFlight
    outbox: Outbox
    updater: PromptUpdater
    source: FrameSource
    whereabouts: Whereabouts
    pipeline: Pipeline
    evidence: EvidenceStore | None
    recorder: RunWriter | None
    session: Session
    health_file: HealthFile


def open_on_board(
    device: DeviceFile,
    source: FrameSource | None,
    stack: ExitStack,
    close_source: Callable[[FrameSource], None],
    stop_reason: Callable[[], str],
) -> OnBoard:
    """Open everything; `stack` closes it again.

    Args:
        source: an open one instead of the device file's.
        close_source: how a source is closed.
        stop_reason: asked at the end, for the health file; an error speaks for itself.

    Raises:
        ConfigErrors, UsageError, BundleError, EngineError, SourceError, OutboxError, MissingExtra: it cannot
        fly.
    """
    broker = BrokerSettings.from_config(device.mqtt)
    outbox = stack.enter_context(_outbox(device))
    # From here on this process is the one that flies: only now may it speak for the device.
    health_file = HealthFile(device.state_dir)
    health_file.write("starting")
    stack.push(_tells_end(health_file, stop_reason))
    shelf = stack.enter_context(PromptShelf(device.state_dir / PROMPTS_NAME))
    updater = PromptUpdater(shelf, device.prompts)
    frames = source or _source(device)
    stack.callback(close_source, frames)
    if frames.independent and device.engine.tiles_where == "interest":
        log.warning("%s: unrelated images have no windows of interest: all of them run", frames.name)
    whereabouts = open_whereabouts(device.camera, device.telemetry, frames, stack)
    # Late: a missing camera, or a second daemon, is no fault of a bundle that is on trial.
    flown = stack.enter_context(begin_flight(device))
    bundle = flown.bundle
    pipeline = stack.enter_context(
        updater.begin(
            lambda prompts, origin: _pipeline(
                device, bundle, prompts, origin, whereabouts.locator, independent=frames.independent
            )
        )
    )
    session = _session(device, bundle, outbox)
    recorder = _recorder(device, bundle, frames, session, whereabouts.locator)
    if recorder is not None:
        stack.enter_context(recorder)
    _say_who_vouches(device, bundle)
    wanted = pipeline.bank.prompt_list.prompts
    log.info("looks for %s (list %s)", ", ".join(each.id for each in wanted), pipeline.bank.list_sha256[:12])
    return OnBoard(
        broker,
        flown,
        outbox,
        updater,
        frames,
        whereabouts,
        pipeline,
        _evidence(device),
        recorder,
        session,
        health_file,
    )


def _tells_end(
    file: HealthFile, stop_reason: Callable[[], str]
) -> Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], None]:
    def tell(
        kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        problem = "" if error is None else " ".join(str(error).split()) or type(error).__name__
        file.write("stopped", reason=problem or stop_reason())

    return tell


def _outbox(device: DeviceFile) -> Outbox:
    wanted = device.outbox
    return Outbox(
        device.state_dir / OUTBOX_NAME,
        max_bytes=wanted.max_mib << 20,
        max_age_s=wanted.max_age,
        history_bytes=wanted.history_mib << 20,
    )


def _source(device: DeviceFile) -> FrameSource:
    wanted = device.source
    camera = CameraOptions.from_config(wanted, patient=True)
    cube = None if wanted.cube is None else CubeOptions.from_config(wanted.cube)
    return open_source(wanted.uri, sequence=wanted.sequence, camera=camera, cube=cube)


def _evidence(device: DeviceFile) -> EvidenceStore | None:
    wanted = device.evidence
    if not wanted.enabled:
        return None
    return EvidenceStore(
        device.state_dir / EVIDENCE_NAME,
        max_bytes_each=wanted.max_kib << 10,
        keep_bytes=wanted.keep_mib << 20,
    )


def _recorder(
    device: DeviceFile, bundle: Bundle, source: FrameSource, session: Session, locator: Locator | None
) -> RunWriter | None:
    wanted = device.record
    if wanted is None:
        return None
    return open_recorder(
        wanted.folder or device.state_dir / RUNS_NAME,
        bundle,
        source,
        locator,
        session=session,
        keep_mib=wanted.keep_mib,
        thumbnail_every_s=wanted.thumbnail_every,
    )


def _pipeline(
    device: DeviceFile,
    bundle: Bundle,
    prompts: LoadedPromptList,
    origin: PromptSource,
    locator: Locator | None,
    *,
    independent: bool,
) -> Pipeline:
    engine = device.engine
    return Pipeline(
        bundle,
        prompts,
        engine_name=engine.name,
        precision=engine.precision,
        image_size=engine.image_size,
        tiles=engine.tiles,
        tiles_where=engine.tiles_where,
        locator=locator,
        threads=engine.threads,
        workspace_mib=engine.workspace_mib,
        independent=independent,
        prompts_source=origin,
        keep_text_tower=True,
    )


def _say_who_vouches(device: DeviceFile, bundle: Bundle) -> None:
    voucher = bundle.voucher
    # Where keys are named, somebody wants signed bundles, even where an unsigned one may still fly.
    doubtful = voucher.ends_soon or (device.trusted_keys and voucher.refusal)
    log.log(logging.WARNING if doubtful else logging.INFO, "%s: %s", bundle.path, voucher.sentence)


def _session(device: DeviceFile, bundle: Bundle, outbox: Outbox) -> Session:
    try:
        software = version("remoteclip-edge")
    except PackageNotFoundError:
        software = "unknown"  # run from a source folder
    return Session(
        device=device.device,
        session_id=uuid.uuid4().hex,
        started_at=datetime.now(timezone.utc),
        boot_id=outbox.boot_id,
        bundle_sha256=bundle.manifest_sha256,
        software=software,
    )
