"""One embedding for several sentences that say the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edge.engines.base import F32
from edge.prompts.text_encoder import SentenceEncoder


def mean_embeddings(encoder: SentenceEncoder, groups: Iterable[Sequence[str]]) -> F32:
    """Unit embeddings (G, D) float32: the mean of each group of sentences, made unit. Raises TextTooLong."""
    means = np.stack([encoder.encode(sentences).mean(axis=0) for sentences in groups])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)
