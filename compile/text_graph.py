"""The text tower of a bundle: exported, its weights quantized, and held against the original."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from compile.export import export_text_tower
from compile.graph_file import copy_of, write_graph
from compile.weight_only import quantize_weights
from edge.engines.base import F32
from firmware_cfg.errors import BundleError
from training.checkpoint import AnyCheckpoint
from training.torch_engine import TorchTextEncoder

LEAST_COSINE = 0.995
_PROBE = (
    "a car seen from above",
    "a person standing in a flooded street",
    "two boats near the pier",
    "an aerial photo of dense residential area",
    "a tree",
    "many planes are parked next to a long building in an airport .",
    "smoke over a forest",
    "an orange life jacket floating in the sea",
)


def write_text_graph(checkpoint: AnyCheckpoint, file: Path) -> float:
    """Export and quantize the text tower; returns the lowest cosine to float32 over the probe sentences.

    A tower that loses too much with its word table at four bits keeps it at eight. Raises BundleError below
    LEAST_COSINE even so, OSError from the disk.
    """
    exported = export_text_tower(checkpoint)
    exact = TorchTextEncoder(checkpoint).encode(_PROBE)
    cosine = -1.0
    for four_bits in (True, False):
        write_graph(quantize_weights(copy_of(exported), four_bits), file)
        cosine = float((run_text_graph(file, checkpoint, _PROBE) * exact).sum(axis=1).min())
        if cosine >= LEAST_COSINE:
            return cosine
    raise BundleError(f"text tower: cosine to float32 is {cosine:.4f}, below {LEAST_COSINE}")


def run_text_graph(file: Path, checkpoint: AnyCheckpoint, texts: Sequence[str]) -> F32:
    """Unit embeddings (T, D) of the sentences by the exported graph on onnxruntime, each sentence alone."""
    tokens = TorchTextEncoder(checkpoint).token_ids
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    rows = []
    for text in texts:
        ids = np.array([tokens(text)], np.int64)
        (found,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        rows.append(found[0])
    return np.stack(rows).astype(np.float32)
