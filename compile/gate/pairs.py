"""Blind pairs as a gate: two images that the reference finds alike, and which sentence belongs to which.

What a conversion loses first is what tells near things apart. So every image with sentences is paired with
the one that the reference finds most like it among those with other sentences, and each image's first
sentence must find its own image of the two (MMVP-VLM; training/blindpairs/questions.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from training.blindpairs.questions import choices


def blind_pairs(images: F32, sentences: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """(Q, 2) int64 indices of images, each pair once; none of an image whose sentences all others share.

    Args:
        images: (n, D) the reference's embeddings.
        sentences: of each.
    """
    cosine = np.array(images @ images.T, np.float64)
    for row, own in enumerate(sentences):
        shared = [not set(own).isdisjoint(other) for other in sentences]
        cosine[row, shared] = -np.inf
    nearest = cosine.argmax(axis=1)
    pairs = {
        tuple(sorted((row, int(near)))) for row, near in enumerate(nearest) if cosine[row, near] > -np.inf
    }
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def answered(images: F32, statements: F32, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(Q,) whether both statements of a pair find their own image.

    Args:
        images, statements: (n, D) embeddings of every image, and of its first sentence.
        pairs: see `blind_pairs`.
    """
    similarity = np.einsum("qsd,qid->qsi", statements[pairs], images[pairs])
    return choices(similarity).all(axis=1)
