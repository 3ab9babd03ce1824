"""Variants of a model against its float32 checkpoint, image by image on a probe set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compile.gate.look import Look, Looker, Pairs, pair_places
from compile.gate.probe import Probe
from compile.gate.result import GateResult
from edge.bundle import Bundle
from edge.calibration import Calibration
from edge.engines.base import F32, ImageEngine
from edge.frames import RgbImage
from edge.letterbox import best_image_size, letterbox
from edge.manifest import Precision
from edge.runtime import BundleRuntime, ModelFacts, Runtime
from edge.text_encoder import SentenceEncoder
from firmware_cfg.errors import UsageError
from firmware_cfg.prompt_list import PromptList
from training.checkpoint import AnyCheckpoint
from training.evaluation.operating import SUITED, OperatingPoint, choose, counted
from training.evaluation.scenes import RECALL_AT, best_ranks
from training.evaluation.subject import CheckpointRuntime, Subject
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
    return measure(CheckpointRuntime(checkpoint), variants, bundle.calibration, probe, engine)


def measure(
    reference: Runtime,
    variants: Mapping[Precision, Runtime],
    calibration: Calibration,
    probe: Probe,
    engine: str,
) -> dict[Precision, GateResult]:
    """See `gate_bundle`; the models are any that run.

    calibration: for all of them; engine: what ran the variants, for the record. The variants' facts hold for
    the reference too: a graph may take fewer sizes of tiles than a checkpoint.
    """
    facts = next(iter(variants.values())).facts
    calibrated = _Calibrated(reference, calibration, facts)
    prompts = _prompts(calibrated, probe)
    with ExitStack() as stack:
        first = stack.enter_context(Looker(calibrated, calibration, prompts))
        others = {
            name: stack.enter_context(Looker(runtime, calibration, prompts))
            for name, runtime in variants.items()
        }
        seen = _Seen(probe)
        notes = {name: _Seen(probe) for name in others}
        for path in track(probe.paths, f"{probe.name}: {', '.join(others)} against the checkpoint"):
            image = RgbImage(read_rgb(path))
            size = best_image_size(image.width, image.height, facts.image_sizes)
            tile, fit = letterbox(image, *size)
            known = first.look(tile, fit)
            seen.note(path, known, None)
            for name, looker in others.items():
                look = looker.look(tile, fit)
                notes[name].note(path, look, pair_places(known, look, facts.stride))
        hits = seen.hits(first)
        return {
            name: notes[name].result(name, engine, seen, hits, notes[name].hits(looker))
            for name, looker in others.items()
        }


class _Seen:
    """What one model said of all images, kept small."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._samples = {sample.path: sample for sample in probe.task.samples} if probe.task else {}
        self._names = probe.task.names if probe.task else _ANYTHING
        self.embeddings: list[F32] = []
        self.counts: list[list[int]] = []
        self.pairs: list[Pairs] = []

    def note(self, path: Path, look: Look, pairs: Pairs | None) -> None:
        """Keep what matters of one look; pairs: its places beside the reference's."""
        self.embeddings.append(look.embedding)
        if path in self._samples:
            self.counts.append(counted(self._samples[path], look.sighting, self._names))
        if pairs is not None:
            self.pairs.append(pairs)

    def hits(self, looker: Looker) -> NDArray[np.float64] | None:
        """(n, 6) recall at 1, 5, 10 of each image with sentences, by them and of them; None without any."""
        shown = [path for path in self._probe.paths if path in self._probe.sentences]
        if not shown:
            return None
        sentences = [self._probe.sentences[path] for path in shown]
        # Equal sentences are computed once, so that they are equally similar to the last bit.
        distinct, which = np.unique([text for own in sentences for text in own], return_inverse=True)
        row = {path: number for number, path in enumerate(self._probe.paths)}
        images = np.stack([self.embeddings[row[path]] for path in shown])
        similarity = (images @ looker.text_embeddings(distinct.tolist()).T)[:, which]
        owner = np.repeat(np.arange(len(shown)), [len(own) for own in sentences])
        of_image, of_text = best_ranks(similarity, owner)
        columns = [(of_image < k).astype(np.float64) for k in RECALL_AT]
        share = np.bincount(owner).astype(np.float64)
        columns += [np.bincount(owner, of_text < k) / share for k in RECALL_AT]
        return np.stack(columns, axis=1)

    def result(
        self,
        precision: Precision,
        engine: str,
        reference: _Seen,
        hits_reference: NDArray[np.float64] | None,
        hits: NDArray[np.float64] | None,
    ) -> GateResult:
        """This model beside the reference."""
        probe, names = self._probe, self._names
        a, b = np.stack(reference.embeddings), np.stack(self.embeddings)
        length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        owners = np.concatenate([pairs.owner for pairs in self.pairs])
        confusion = np.zeros((len(names), len(names)), np.int64)
        np.add.at(confusion, (owners[:, 0], owners[:, 1]), 1)
        task = probe.task
        samples = [self._samples[path] for path in probe.paths if path in self._samples]
        return GateResult(
            precision=precision,
            engine=engine,
            probe=probe.name,
            images=tuple(path.name for path in probe.paths),
            cosine=_numbers((a * b).sum(axis=1) / length),
            places=sum(pairs.looked_for for pairs in self.pairs),
            place_cosine=_numbers(np.concatenate([pairs.cosine for pairs in self.pairs])),
            names=tuple(names),
            confusion=confusion,
            truth=task.truth(samples) if task else None,
            counted_reference=np.array(reference.counts, np.int64) if task else None,
            counted=np.array(self.counts, np.int64) if task else None,
            hits_reference=hits_reference,
            hits=hits,
        )


class _Calibrated:
    """The checkpoint with the bundle's calibration, which it lacks, and facts. Satisfies Runtime."""

    def __init__(self, runtime: Runtime, calibration: Calibration, facts: ModelFacts) -> None:
        self._runtime = runtime
        self.calibration = calibration
        self.facts = facts

    @property
    def sentences(self) -> SentenceEncoder:
        """See Runtime.sentences."""
        return self._runtime.sentences

    def image_engine(self, size: tuple[int, int]) -> ImageEngine:
        """See Runtime.image_engine."""
        return self._runtime.image_engine(size)

    def release_sentences(self) -> None:
        """See Runtime.release_sentences."""
        self._runtime.release_sentences()


def _prompts(reference: Runtime, probe: Probe) -> PromptList:
    """The set's classes, with thresholds chosen by the reference where validation shows any of them."""
    task = probe.task
    if task is None:
        return OperatingPoint(None, dict.fromkeys(_ANYTHING), {}, {}).prompts(probe.name)
    if not any(len(sample.labels) for sample in task.validation):
        return OperatingPoint(None, dict.fromkeys(task.names), {}, {}).prompts(probe.name)
    subject = Subject(probe.name, "checkpoint", "", probe.folder, reference)
    return choose(subject, task, probe.folder, image_size=SUITED).prompts(probe.name)


def _numbers(cosines: NDArray[np.floating]) -> F32:
    """Cosines, -1 in place of those that are not numbers: what says nothing is like nothing."""
    return np.asarray(np.nan_to_num(cosines, nan=-1.0, posinf=-1.0, neginf=-1.0), np.float32)
