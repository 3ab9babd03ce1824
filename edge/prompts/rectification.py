"""Rectification: what ReCLIP adds to any prompt's dense logits, read off the prompt's own embedding.

CLIP's maps favour some classes and some places of the picture. What that amounts to for a prompt with the
unit embedding t is one straight line each for the class and for E fixed features of a cell's place (see
`position_features` of training): bias = <t, weight[:, 0]> + offset[0], position = <t, weight[:, 1:]> +
offset[1:]. The dense logit becomes exp(s) * <cell, [t, position]> + b + bias, in the same graph: the drone
pays nothing. `remoteclip train rectify` fits it without labels; every prompt, seen or not, gets its share.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.files import UNREADABLE_NPZ, open_npz, write_atomically
from firmware_cfg.errors import BundleError

# Of its own: bundles read this module, and edge.engines reads bundles.
F32 = NDArray[np.float32]

RECTIFICATION_NAME = "rectification.npz"
"""The file's name in checkpoint folders and bundles."""
LARGEST = 100.0
"""No prompt's bias or position column is larger: far beyond lies what keeps rows from creating places."""


@dataclass(frozen=True, slots=True, eq=False)
class Rectification:
    """Class bias and position bias of any prompt, affine in its text embedding.

    Attributes:
        weight: (D, 1 + E) float32; the first column gives the bias, the others the position columns.
        offset: (1 + E,) float32.
    """

    weight: F32
    offset: F32

    @property
    def embedding_width(self) -> int:
        """D."""
        return int(self.weight.shape[0])

    @property
    def position_width(self) -> int:
        """E."""
        return int(self.weight.shape[1]) - 1

    def fill(self, text: F32) -> tuple[F32, F32]:
        """What prompts with these unit embeddings (n, D) get: bias (n,), position columns (n, E), float32.

        A bias is added to a logit as it is; position columns are weighed by the logit scale, as t is.
        """
        filled = (text.astype(np.float64) @ self.weight + self.offset).astype(np.float32)
        return np.ascontiguousarray(filled[:, 0]), np.ascontiguousarray(filled[:, 1:])

    def save(self, path: Path) -> None:
        """Write rectification.npz atomically. Raises OSError."""
        buffer = io.BytesIO()
        np.savez(buffer, weight=self.weight.astype(np.float32), offset=self.offset.astype(np.float32))
        write_atomically(path, buffer.getvalue())


def load_rectification(path: Path, embedding_width: int, position_width: int) -> Rectification:
    """Read and check rectification.npz of a model with embeddings D wide and E position features.

    Raises BundleError: not an npz file, an array is missing or of the wrong shape, or holds numbers that make
    no sense.
    """
    width = 1 + position_width
    try:
        with open_npz(path) as archive:
            weight = _array(archive["weight"], "weight", (embedding_width, width))
            offset = _array(archive["offset"], "offset", (width,))
        # Embeddings have unit length, so that no prompt is given more than this.
        most = float((np.linalg.norm(weight, axis=0) + np.abs(offset)).max())
        if not most <= LARGEST:  # "not <=" so that what is no number fails too
            raise ValueError(f"it could give a prompt {most:g}, at most {LARGEST:g} makes sense")
    except UNREADABLE_NPZ as error:
        # A KeyError's text is the quoted message of numpy; its bare form reads like any other.
        detail = error.args[0] if isinstance(error, KeyError) and error.args else error
        mend = "copy it again, or make it with `remoteclip train rectify` for this model"
        raise BundleError(f"{path}: unusable rectification: {detail} ({mend})") from error
    return Rectification(weight, offset)


def _array(array: NDArray[np.generic], name: str, shape: tuple[int, ...]) -> F32:
    if array.dtype.kind != "f" or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} {array.shape}, expected floats of shape {shape}")
    numbers = np.ascontiguousarray(array, np.float32)
    numbers.setflags(write=False)
    return numbers
