"""The real TensorRT-RTX compiles our graphs ahead of time for SM86: lite as it ships, and ViT-B-32.

No GPU is needed. The light tower is the shipped bundle's. ViT-B-32 has its own width, patches and heads, and
two of its twelve equal blocks: all twelve take a minute to export and tell nothing more.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from compile.export import HALF_IMAGE_GRAPH, IMAGE_GRAPH, IMAGE_WEIGHTS, export_image_graph
from compile.quantize.images import CalibrationImages
from compile.quantize.run import INT8_GRAPH, QuantizeOptions, quantize_image_graph
from edge.bundle.load import load_bundle
from edge.engines.tensorrt.build import BuildOptions, build_plan
from edge.engines.tensorrt.library import RTX, Library, load_library
from firmware_cfg.errors import MissingExtra
from training.checkpoint import open_checkpoint, save_clip_checkpoint
from training.towers.clip import create_tower

VIT_B_32 = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 768, "patch_size": 32},
    "text_cfg": {"width": 32, "heads": 2, "layers": 1},  # no part of the image graph
}
VIT_GRAPHS = {"fp32": IMAGE_GRAPH, "fp16": HALF_IMAGE_GRAPH, "int8": INT8_GRAPH}
SHIPPED = tuple(load_bundle("default").manifest.variants.items())


@pytest.fixture(scope="module")
def rtx() -> Library:
    try:
        return load_library(RTX)
    except MissingExtra as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported and quantized ViT, calibrated on drawn pictures: ranges do not matter to a parser."""
    folder = tmp_path_factory.mktemp("vit")
    config = folder / "ViT-B-32-of-two-blocks.json"
    config.write_text(json.dumps(VIT_B_32))
    torch.manual_seed(0)
    save_clip_checkpoint(folder / "checkpoint", create_tower(str(config)), "none", {}, "")
    export_image_graph(open_checkpoint(folder / "checkpoint"), folder)
    (folder / "pictures").mkdir()
    for seed in range(2):
        coarse = np.random.default_rng(seed).integers(0, 256, (14, 14, 3), np.uint8)
        cv2.imwrite(str(folder / "pictures" / f"{seed}.png"), coarse.repeat(16, 0).repeat(16, 1))
    images = CalibrationImages.from_folder(folder / "pictures", ((224, 224),), 2)
    quickly = QuantizeOptions(most_float=0, judged_on=1)
    console = Console(stderr=True, quiet=True)
    quantize_image_graph(folder / IMAGE_GRAPH, folder / INT8_GRAPH, images, quickly, console)
    return folder


def compiled(rtx: Library, graph: Path, precision: str, size: tuple[int, int]) -> int:
    """Bytes of the plan. Raises GraphRefused with the parser's words, or BuildFailed."""
    built = build_plan(rtx, graph, precision, BuildOptions(size, targets=("sm86",)))
    assert built.typing == "strong"
    return len(built.data)


def test_the_shipped_bundle_has_what_a_gpu_wants() -> None:
    assert {"fp16", "int8"} <= {precision for precision, _ in SHIPPED}


@pytest.mark.parametrize(("precision", "name"), SHIPPED)
def test_the_shipped_light_tower_compiles(rtx: Library, precision: str, name: str) -> None:
    bundle = load_bundle("default")
    assert compiled(rtx, bundle.file(name), precision, bundle.manifest.image_sizes[0]) > 1_000_000


@pytest.mark.parametrize(
    ("precision", "least", "most"), [("fp32", 1.8, 2.5), ("fp16", 0.95, 1.5), ("int8", 0.4, 0.95)]
)
def test_vit_b_32_compiles_to_what_its_graph_says(
    rtx: Library, vit: Path, precision: str, least: float, most: float
) -> None:
    """Sizes of plans show that precision lives in the graph: no flag asked for any."""
    plan = compiled(rtx, vit / VIT_GRAPHS[precision], precision, (224, 224))
    halves = (vit / IMAGE_WEIGHTS).stat().st_size  # every weight, at two bytes
    assert least < plan / halves < most
