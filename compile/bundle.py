"""`remoteclip compile bundle`: a checkpoint becomes a verified bundle, or nothing is written."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console

from compile.ahead import AheadBuild, compile_ahead
from compile.calibrate import calibrate
from compile.export import HALF_IMAGE_GRAPH, IMAGE_GRAPH, export_image_graph
from compile.gate.measure import gate_bundle, measure
from compile.gate.probe import Probe, load_probe, shipped_probe
from compile.gate.result import GateResult, regressions_of
from compile.golden import TEXTS, golden_vectors
from compile.graph_file import OPSET
from compile.quantize.images import CalibrationImages
from compile.quantize.run import INT8_GRAPH, QuantizeOptions, QuantizeReport, quantize_image_graph
from compile.text_graph import run_text_graph, write_text_graph
from edge.bundle.golden import GoldenCheck
from edge.bundle.load import Bundle, load_bundle, write_manifest
from edge.bundle.manifest import (
    CALIBRATION_NAME,
    CARD_NAME,
    GOLDEN_NAME,
    MANIFEST_NAME,
    SIZE_MULTIPLE,
    TOKENIZER_NAME,
    Precision,
    Target,
)
from edge.bundle.verify import BundleReport, verify_loaded
from edge.engines.tensorrt.library import RTX, load_library
from edge.prompts.rectification import RECTIFICATION_NAME
from edge.runtime import BundleRuntime
from firmware_cfg.errors import BundleError, UsageError
from training.checkpoint import AnyCheckpoint, ClipCheckpoint, open_checkpoint, tokenizer_document
from training.evaluation.subject import CheckpointRuntime
from training.folders import recover_folder, replace_folder
from training.models.lite import POSITION_WIDTH
from training.models.lookup_graph import PLACES
from training.recipe import Recipe
from training.torch_engine import TorchTextEncoder, model_facts, text_tower

TEXT_GRAPH = "text.onnx"
VARIANTS: dict[Precision, str] = {"fp32": IMAGE_GRAPH, "fp16": HALF_IMAGE_GRAPH, "int8": INT8_GRAPH}
INT8_LAYOUT = (
    "symmetric int8 Q/DQ: weights a scale a channel, activations a scale a tensor, biases and the lookup"
    " float32; the same graph for OpenVINO, ONNX Runtime and TensorRT"
)
PARITY_ENGINES = ("openvino", "onnxruntime")
_LITE_GOLDEN_SIZE = (256, 256)


@dataclass(frozen=True, slots=True)
class BundleOptions:
    """What a bundle is made with, and what for.

    Attributes:
        recipe: of the checkpoint: its sets calibrate the scores and the ranges of int8.
        data: the folder that these sets lie in.
        target: the device that it is for; for all but "cpu" the graphs are also compiled ahead of time.
        image_size: (width, height) of a CLIP tower's tile; default: its native square.
        images: a folder of images for the ranges of int8, instead of the recipe's training images.
        quantize: how hard to look for layers that int8 hurts.
        probe: an annotated folder to measure the gates on, instead of the set that ships.
        teacher: the checkpoint that this one was distilled from, to be measured beside it.
        allow_regression: write a bundle that fails its gates all the same; its manifest says so for ever.
    """

    recipe: Recipe
    data: Path
    target: Target = "cpu"
    image_size: tuple[int, int] | None = None
    images: Path | None = None
    quantize: QuantizeOptions = field(default_factory=QuantizeOptions)
    probe: Path | None = None
    teacher: Path | None = None
    allow_regression: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A finished bundle.

    Attributes:
        bundle: as it was verified; its path is where it lies now.
        report: what every engine here made of the golden vectors.
        quantized: what int8 quantization did.
        gates: what each variant lost against the checkpoint.
        teacher: the float32 variant against the checkpoint's teacher, where one was named.
        ahead: what was built for the target ahead of time.
        sizes: bytes by file name.
    """

    bundle: Bundle
    report: BundleReport
    quantized: QuantizeReport
    gates: dict[Precision, GateResult]
    teacher: GateResult | None
    ahead: tuple[AheadBuild, ...]
    sizes: dict[str, int]

    @property
    def megabytes(self) -> float:
        """Of all files."""
        return sum(self.sizes.values()) / 1e6


def compile_bundle(source: Path, out: Path, options: BundleOptions, console: Console) -> Compiled:
    """Export, calibrate, quantize, verify and gate; `out` is replaced only by a bundle that passed.

    source: a checkpoint folder, or a file of CLIP weights (see `open_checkpoint`).

    Raises UsageError where `out` holds something else than a bundle; BundleError where the text tower or a
    variant lost too much, or an engine does not reproduce the golden vectors; EngineError where the target's
    builder refuses a graph; MissingExtra where that builder is not installed.
    """
    out = out.absolute()
    recover_folder(out)
    if out.exists() and not _is_bundle_or_empty(out):
        raise UsageError(f"{out}: holds something else than a bundle (choose another folder with --out)")
    checkpoint = open_checkpoint(source)
    # What can be wrong with the options is found before minutes of work.
    sizes = _image_sizes(checkpoint, options.image_size)
    probe = load_probe(options.probe) if options.probe else shipped_probe()
    teacher = _teacher(options.teacher, checkpoint) if options.teacher else None
    library = load_library(RTX) if options.target != "cpu" else None
    with _replaced_when_done(out) as folder:
        fields, quantized = _write_parts(checkpoint, folder, sizes, options, console)
        first = write_manifest(folder, fields)
        bundle = load_bundle(folder)
        console.print(f"verifying on {', '.join(PARITY_ENGINES)}")
        report = verify_loaded(bundle, PARITY_ENGINES)
        if report.problems:
            raise BundleError(f"{out}: not written: {'; '.join(report.problems)}")
        ahead = compile_ahead(bundle, library, console) if library else ()
        console.print("measuring what each variant lost")
        gates = gate_bundle(bundle, checkpoint, probe)
        taught = _beside_teacher(bundle, teacher, probe) if teacher else None
        fields["regressions"] = regressions_of(gates, options.allow_regression)
        fields["gates"] = {precision: result.record() for precision, result in gates.items()}
        fields["accuracy"]["parity"] = [_parity(check) for check in report.golden]
        write_manifest(folder, fields, hashes=first.files)
    bundle = load_bundle(out)
    weighed = {file.name: file.stat().st_size for file in sorted(out.iterdir())}
    return Compiled(bundle, report, quantized, gates, taught, ahead, weighed)


def _write_parts(
    checkpoint: AnyCheckpoint,
    folder: Path,
    sizes: tuple[tuple[int, int], ...],
    options: BundleOptions,
    console: Console,
) -> tuple[dict[str, Any], QuantizeReport]:
    """All files but the manifest, and what the manifest will say of them."""
    console.print("exporting the image graph in float32 and float16")
    export_image_graph(checkpoint, folder, sizes[0] if isinstance(checkpoint, ClipCheckpoint) else None)
    console.print("exporting the text tower, weights only in int8")
    cosine = write_text_graph(checkpoint, folder / TEXT_GRAPH)
    (folder / TOKENIZER_NAME).write_text(tokenizer_document(text_tower(checkpoint)), "utf-8")
    (folder / CARD_NAME).write_text(checkpoint.card or "No card came with these weights.\n", "utf-8")
    calibrate(checkpoint, options.recipe, options.data, sizes).save(folder / CALIBRATION_NAME)
    if checkpoint.rectification is not None:
        checkpoint.rectification.save(folder / RECTIFICATION_NAME)
    text = run_text_graph(folder / TEXT_GRAPH, checkpoint, TEXTS)
    golden_size = sizes[0] if isinstance(checkpoint, ClipCheckpoint) else _LITE_GOLDEN_SIZE
    golden_vectors(checkpoint, text, golden_size).save(folder / GOLDEN_NAME)
    console.print("quantizing the image graph to int8")
    images = (
        CalibrationImages.from_folder(options.images, sizes)
        if options.images
        else CalibrationImages.from_recipe(options.recipe, options.data, sizes)
    )
    quantized = quantize_image_graph(
        folder / IMAGE_GRAPH, folder / INT8_GRAPH, images, options.quantize, console
    )
    fields = manifest_fields(checkpoint, sizes, cosine)
    fields["target"] = options.target
    fields["layout"] = {"int8": INT8_LAYOUT}
    fields["accuracy"]["quantization"] = quantized.facts()
    return fields, quantized


def manifest_fields(
    checkpoint: AnyCheckpoint, sizes: tuple[tuple[int, int], ...], text_cosine: float
) -> dict[str, Any]:
    """What the manifest says of a model, whatever was measured of its bundle."""
    facts = model_facts(checkpoint)
    if isinstance(checkpoint, ClipCheckpoint):
        tower, licence = checkpoint.spec.model, checkpoint.licence
        places = min(PLACES, *(width * height // facts.stride**2 for width, height in sizes))
    else:
        tower, licence, places = checkpoint.spec.tower, checkpoint.spec.licence, PLACES
    return {
        "model": checkpoint.spec.model,
        "tower": tower,
        "image_sizes": sizes,
        "stride": facts.stride,
        "embedding_width": facts.embedding_width,
        "position_width": POSITION_WIDTH,
        "places": places,
        "logit_scale": facts.logit_scale,
        "logit_bias": facts.logit_bias,
        "opset": OPSET,
        "variants": VARIANTS,
        "text": {
            "file": TEXT_GRAPH,
            "max_tokens": TorchTextEncoder(checkpoint).max_tokens,
            "cosine_to_float": text_cosine,
        },
        "rectified": checkpoint.rectification is not None,
        "checkpoint_sha256": checkpoint.sha256,
        "accuracy": {"validation": checkpoint.metrics.get("validation", {})},
        "licence": licence or "not stated by the weights",
        "created_by": f"remoteclip-edge {_version()}",
    }


def _teacher(path: Path, student: AnyCheckpoint) -> AnyCheckpoint:
    """The teacher's checkpoint. Raises UsageError where its embeddings are no match for the student's."""
    teacher = open_checkpoint(path)
    theirs, own = model_facts(teacher).embedding_width, model_facts(student).embedding_width
    if theirs != own:
        raise UsageError(f"{path}: its embeddings are {theirs} wide, the student's {own}: not its teacher")
    return teacher


def _beside_teacher(bundle: Bundle, teacher: AnyCheckpoint, probe: Probe) -> GateResult:
    """The float32 variant measured against another checkpoint than its own, by that one's thresholds."""
    runtime = BundleRuntime(bundle, precision="fp32")
    found = measure(CheckpointRuntime(teacher), {"fp32": runtime}, bundle.calibration, probe, "openvino")
    return found["fp32"]


def _image_sizes(
    checkpoint: AnyCheckpoint, image_size: tuple[int, int] | None
) -> tuple[tuple[int, int], ...]:
    """The tiles of the bundle: all that a light tower is measured at, or the one of a CLIP tower's graph."""
    facts = model_facts(checkpoint)
    if not isinstance(checkpoint, ClipCheckpoint):
        if image_size is not None:
            raise UsageError(f"{checkpoint.spec.model} takes any size of tile (leave --image-size out)")
        return tuple(facts.image_sizes)
    width, height = size = image_size or facts.image_sizes[0]
    step = math.lcm(facts.stride, SIZE_MULTIPLE)
    if width % step or height % step or min(size) < step:
        raise UsageError(f"--image-size {width}x{height}: {checkpoint.spec.model} takes multiples of {step}")
    return (size,)


def _parity(check: GoldenCheck) -> dict[str, Any]:
    """What one engine's check against torch found, for the manifest."""
    return {
        "engine": check.engine,
        "precision": check.precision,
        "places": check.places,
        "missing": check.missing,
        "max_abs_difference": {name: float(f"{value:.3g}") for name, value in check.differences.items()},
    }


@contextmanager
def _replaced_when_done(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place at the end, and leaves nothing behind on an error."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield partial
        partial.chmod(0o755)
        replace_folder(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _is_bundle_or_empty(path: Path) -> bool:
    return path.is_dir() and ((path / MANIFEST_NAME).is_file() or not any(path.iterdir()))


def _version() -> str:
    try:
        return version("remoteclip-edge")
    except PackageNotFoundError:
        return "checkout"
