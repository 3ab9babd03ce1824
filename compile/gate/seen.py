"""What one model said of a whole probe set, kept small, and beside what another one said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compile.gate.look import Look, Looker, Pairs
from compile.gate.pairs import answered, blind_pairs
from compile.gate.probe import Probe
from compile.gate.result import GateResult
from edge.bundle.manifest import Precision
from edge.engines.base import F32
from training.evaluation.operating import counted
from training.evaluation.scenes import RECALL_AT, best_ranks


class Seen:
    """What one model said of all images, kept small."""

    def __init__(self, probe: Probe, names: Sequence[str]) -> None:
        """names: what is asked for."""
        self._probe = probe
        self._samples = {sample.path: sample for sample in probe.task.samples} if probe.task else {}
        self._names = tuple(names)
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

    def blind_pairs(self) -> NDArray[np.int64]:
        """(Q, 2) images with sentences, by their number among these, that this model finds alike."""
        images, sentences = self._captioned()
        return blind_pairs(images, sentences) if sentences else np.empty((0, 2), np.int64)

    def answered(self, looker: Looker, pairs: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """(Q,) which of the pairs it tells apart by their sentences; None without any."""
        if not len(pairs):
            return None
        images, sentences = self._captioned()
        return answered(images, looker.text_embeddings([own[0] for own in sentences]), pairs)

    def _captioned(self) -> tuple[F32, list[tuple[str, ...]]]:
        """Embeddings and sentences of the images that have sentences."""
        paths = self._probe.paths
        rows = [number for number, path in enumerate(paths) if path in self._probe.sentences]
        images = np.stack([self.embeddings[row] for row in rows]) if rows else np.empty((0, 0), np.float32)
        return images, [self._probe.sentences[paths[row]] for row in rows]

    def result(
        self,
        precision: Precision,
        engine: str,
        reference: Seen,
        hits_reference: NDArray[np.float64] | None,
        hits: NDArray[np.float64] | None,
        answered_reference: NDArray[np.bool_] | None = None,
        answered: NDArray[np.bool_] | None = None,
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
            names=names,
            confusion=confusion,
            truth=task.truth(samples) if task else None,
            counted_reference=np.array(reference.counts, np.int64) if task else None,
            counted=np.array(self.counts, np.int64) if task else None,
            hits_reference=hits_reference,
            hits=hits,
            answered_reference=answered_reference,
            answered=answered,
        )


def _numbers(cosines: NDArray[np.floating]) -> F32:
    """Cosines, -1 in place of those that are not numbers: what says nothing is like nothing."""
    return np.asarray(np.nan_to_num(cosines, nan=-1.0, posinf=-1.0, neginf=-1.0), np.float32)
