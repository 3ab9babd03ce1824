"""Variants of a model against its float32 checkpoint, image by image on a probe set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from compile.gate.look import Looker, pair_places
from compile.gate.probe import Probe
from compile.gate.result import GateResult
from compile.gate.seen import Seen
from edge.bundle.calibration import Calibration
from edge.bundle.load import Bundle
from edge.bundle.manifest import Precision
from edge.frames import RgbImage
from edge.runtime import BundleRuntime, ModelFacts, Runtime
from firmware_cfg.errors import UsageError
from firmware_cfg.prompt_list import PromptList
from training.checkpoint import AnyCheckpoint
from training.evaluation.operating import SUITED, OperatingPoint, choose
from training.evaluation.subject import CheckpointRuntime, Subject
from training.evaluation.wrapped_runtime import WrappedRuntime
from training.pools import read_rgb
from training.progress import track

_ANYTHING = ("vehicle", "person", "boat", "building", "tree", "airplane", "road", "water")
"""Asked for on a set that names no objects: its embeddings and places are compared, not counts."""


def gate_bundle(
    bundle: Bundle,
    checkpoint: AnyCheckpoint,
    probe: Probe,
    *,
    engine: str = "openvino",
    threads: int | None = None,
    precisions: Sequence[str] = (),
) -> dict[Precision, GateResult]:
    """Measure variants of a bundle against the checkpoint that it was made of.

    Both see the same tiles, with the same prompts and the bundle's calibration, each through its own text
    tower. Thresholds are the reference's best on the set's validation images, and every variant takes them:
    in the field, too, a prompt list stays what it was when the precision changes.

    Args:
        bundle, checkpoint, probe: what is compared on what.
        engine, threads: what runs the bundle; the checkpoint runs in torch, in float32.
        precisions: default: every variant that the bundle has.

    Raises:
        UsageError: the bundle was made of another checkpoint, or lacks a precision asked for.
        EngineError, MissingExtra: a variant cannot run. DataError: a file of the set is no image.
    """
    manifest = bundle.manifest
    if manifest.checkpoint_sha256 != checkpoint.sha256:
        raise UsageError(
            f"{bundle.path}: was made of checkpoint {manifest.checkpoint_sha256[:12]}, not of"
            f" {checkpoint.sha256[:12]} (name the checkpoint that it was compiled from)"
        )
    if strangers := set(precisions) - set(manifest.variants):
        has = ", ".join(manifest.variants)
        raise UsageError(f"{bundle.path}: no {', '.join(sorted(strangers))} in this bundle (it has {has})")
    variants: dict[Precision, Runtime] = {
        name: BundleRuntime(bundle, engine, name, threads)
        for name in manifest.variants
        if not precisions or name in precisions
    }
    reference = _SameTiles(CheckpointRuntime(checkpoint), manifest.image_sizes)
    return measure(reference, variants, bundle.calibration, probe, engine)


def measure(
    reference: Runtime,
    variants: Mapping[Precision, Runtime],
    calibration: Calibration,
    probe: Probe,
    engine: str,
) -> dict[Precision, GateResult]:
    """See `gate_bundle`; the models are any that run.

    calibration: for all of them, so that all count by one scale; engine: what ran the variants, for the
    record. Raises UsageError where the reference's embeddings are of another width.
    """
    for name, runtime in variants.items():
        widths = reference.facts.embedding_width, runtime.facts.embedding_width
        if widths[0] != widths[1]:
            raise UsageError(
                f"{name} has embeddings of {widths[1]} numbers, the checkpoint beside it {widths[0]}"
            )
    calibrated = _Calibrated(reference, calibration)
    names = probe.task.names if probe.task else _ANYTHING
    prompts = _prompts(calibrated, probe)
    with ExitStack() as stack:
        first = stack.enter_context(Looker(calibrated, calibration, prompts))
        others = {
            name: stack.enter_context(Looker(runtime, calibration, prompts))
            for name, runtime in variants.items()
        }
        seen = Seen(probe, names)
        notes = {name: Seen(probe, names) for name in others}
        for path in track(probe.paths, f"{probe.name}: {', '.join(others)} against the checkpoint"):
            image = RgbImage(read_rgb(path))
            known = first.look(image)
            seen.note(path, known, None)
            for name, looker in others.items():
                look = looker.look(image)
                notes[name].note(path, look, pair_places(known, look))
        hits, pairs = seen.hits(first), seen.blind_pairs()
        told = seen.answered(first, pairs)
        return {
            name: notes[name].result(
                name, engine, seen, hits, notes[name].hits(looker), told, notes[name].answered(looker, pairs)
            )
            for name, looker in others.items()
        }


class _SameTiles(WrappedRuntime):
    """The checkpoint in the tiles that the bundle's graphs take, which may be fewer."""

    def __init__(self, runtime: CheckpointRuntime, image_sizes: Sequence[tuple[int, int]]) -> None:
        super().__init__(runtime)
        self._facts = replace(runtime.facts, image_sizes=tuple(image_sizes))

    @property
    def facts(self) -> ModelFacts:
        """See Runtime.facts."""
        return self._facts


class _Calibrated(WrappedRuntime):
    """The checkpoint with the bundle's calibration, which it lacks."""

    def __init__(self, runtime: Runtime, calibration: Calibration) -> None:
        super().__init__(runtime)
        self._calibration = calibration

    @property
    def calibration(self) -> Calibration:
        """See Runtime.calibration."""
        return self._calibration


def _prompts(reference: Runtime, probe: Probe) -> PromptList:
    """The set's classes, with thresholds chosen by the reference where validation shows any of them."""
    task = probe.task
    if task is None:
        return OperatingPoint(None, dict.fromkeys(_ANYTHING), {}, {}).prompts(probe.name)
    if not any(len(sample.labels) for sample in task.validation):
        return OperatingPoint(None, dict.fromkeys(task.names), {}, {}).prompts(probe.name)
    subject = Subject(probe.name, "checkpoint", "", probe.folder, reference)
    return choose(subject, task, probe.folder, image_size=SUITED).prompts(probe.name)
