"""`remoteclip compile bundle`: a checkpoint becomes a verified bundle, or nothing is written."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from rich.console import Console

from compile.calibrate import calibrate
from compile.export import export_image_graph, export_text_tower
from compile.golden import TEXTS, golden_vectors
from compile.graph_file import OPSET
from compile.weight_only import quantize_weights
from edge.bundle import load_bundle, write_manifest
from edge.engines.base import F32
from edge.golden import GoldenCheck
from edge.manifest import MANIFEST_NAME
from edge.verify import BundleReport, verify_bundle
from firmware_cfg.errors import BundleError, UsageError
from training.checkpoint import TOKENIZER_FILE, Checkpoint, load_checkpoint
from training.folders import recover_folder, replace_folder
from training.models.lite import POSITION_WIDTH, STRIDE
from training.models.lookup_graph import PLACES
from training.models.text import MAX_TOKENS
from training.recipe import Recipe
from training.torch_engine import LITE_IMAGE_SIZES, TorchTextEncoder

LEAST_TEXT_COSINE = 0.995
GOLDEN_SIZE = (256, 256)
PARITY_ENGINES = ("openvino", "onnxruntime")
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


@dataclass(frozen=True, slots=True)
class Compiled:
    """A finished bundle: where it lies, its name, what verification found, and every file's size in bytes."""

    folder: Path
    manifest_sha256: str
    report: BundleReport
    sizes: dict[str, int]


def compile_bundle(
    checkpoint_folder: Path, out: Path, recipe: Recipe, data: Path, console: Console
) -> Compiled:
    """Export, calibrate and verify a checkpoint; `out` is replaced only by a bundle that passed.

    Raises UsageError where `out` holds something else, BundleError where the text tower lost too much or an
    engine does not reproduce the golden vectors.
    """
    out = out.absolute()
    recover_folder(out)
    if out.exists() and not _is_bundle_or_empty(out):
        raise UsageError(f"{out}: holds something else than a bundle (choose another folder with --out)")
    checkpoint = load_checkpoint(checkpoint_folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        console.print("exporting the image graph")
        export_image_graph(checkpoint, partial)
        console.print("exporting the text tower, weight-only int8")
        cosine = write_text_tower(checkpoint, partial / "text.onnx")
        shutil.copyfile(checkpoint_folder / TOKENIZER_FILE, partial / TOKENIZER_FILE)
        (partial / "card.md").write_text(checkpoint.card, "utf-8")
        calibrate(checkpoint, recipe, data, LITE_IMAGE_SIZES).save(partial / "calibration.npz")
        text = run_text_graph(partial / "text.onnx", checkpoint, TEXTS)
        golden_vectors(checkpoint, text, GOLDEN_SIZE).save(partial / "golden.npz")
        fields = manifest_fields(checkpoint, cosine)
        write_manifest(partial, fields)
        console.print(f"verifying on {', '.join(PARITY_ENGINES)}")
        report = verify_bundle(partial, PARITY_ENGINES)
        if report.problems:
            raise BundleError(f"{out}: not written: {'; '.join(report.problems)}")
        fields["accuracy"]["parity"] = [parity_entry(check) for check in report.golden]
        write_manifest(partial, fields)
        partial.chmod(0o755)
        replace_folder(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sizes = {file.name: file.stat().st_size for file in sorted(out.iterdir())}
    return Compiled(out, load_bundle(out).manifest_sha256, report, sizes)


def write_text_tower(checkpoint: Checkpoint, file: Path) -> float:
    """Export and quantize the text tower; returns the lowest cosine to float32 over the probe sentences.

    Raises BundleError below LEAST_TEXT_COSINE.
    """
    tower = copy.deepcopy(checkpoint.text)
    table = tower.minilm.bert.embeddings.position_embeddings
    # 512 rows, of which sentences of 64 tokens never read the rest.
    table.weight.data = table.weight.data[:MAX_TOKENS].clone()
    onnx.save(quantize_weights(export_text_tower(tower)), str(file))
    exact = TorchTextEncoder(checkpoint).encode(_PROBE)
    cosine = float((run_text_graph(file, checkpoint, _PROBE) * exact).sum(axis=1).min())
    if cosine < LEAST_TEXT_COSINE:
        raise BundleError(f"text tower: cosine to float32 is {cosine:.4f}, below {LEAST_TEXT_COSINE}")
    return cosine


def run_text_graph(file: Path, checkpoint: Checkpoint, texts: Sequence[str]) -> F32:
    """Unit embeddings (T, D) of the sentences by the exported graph on onnxruntime, each sentence alone."""
    tokens = TorchTextEncoder(checkpoint).token_ids
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    rows = []
    for text in texts:
        ids = np.array([tokens(text)], np.int64)
        (found,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        rows.append(found[0])
    return np.stack(rows).astype(np.float32)


def manifest_fields(checkpoint: Checkpoint, text_cosine: float) -> dict[str, Any]:
    """All that the manifest says, save the hashes of the files."""
    return {
        "model": checkpoint.spec.model,
        "tower": checkpoint.spec.tower,
        "image_sizes": LITE_IMAGE_SIZES,
        "stride": STRIDE,
        "embedding_width": checkpoint.spec.embedding_width,
        "position_width": POSITION_WIDTH,
        "places": PLACES,
        "logit_scale": checkpoint.image.logit_scale.exp().item(),
        "logit_bias": checkpoint.image.logit_bias.item(),
        "opset": OPSET,
        "variants": {"fp32": "image.onnx"},
        "text": {"file": "text.onnx", "max_tokens": MAX_TOKENS, "cosine_to_float": text_cosine},
        "checkpoint_sha256": checkpoint.sha256,
        "accuracy": {"validation": checkpoint.metrics.get("validation", {})},
        "licence": checkpoint.spec.licence,
        "created_by": f"remoteclip-edge {_version()}",
    }


def parity_entry(check: GoldenCheck) -> dict[str, Any]:
    """What one engine's check against torch found, for the manifest."""
    return {
        "engine": check.engine,
        "precision": check.precision,
        "places": check.places,
        "missing": check.missing,
        "max_abs_difference": {name: float(f"{value:.3g}") for name, value in check.differences.items()},
    }


def _is_bundle_or_empty(path: Path) -> bool:
    return path.is_dir() and ((path / MANIFEST_NAME).is_file() or not any(path.iterdir()))


def _version() -> str:
    try:
        return version("remoteclip-edge")
    except PackageNotFoundError:
        return "checkout"
