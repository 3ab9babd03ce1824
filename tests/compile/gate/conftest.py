"""A small probe set, and a bundle whose variants are the shipped model whole, noisy and wrongly fused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compile.gate.probe import SHIPPED
from edge.bundle.load import write_manifest
from firmware_cfg.bundles import default_bundle_path
from training.checkpoint import AnyCheckpoint, open_checkpoint
from training.recipe import DEFAULT_CHECKPOINT

PICTURES = ("apron_1", "baseball_0", "parking_1", "photo_forest", "pond_0", "road_0", "ships_1", "tanks_1")

Damage = Callable[[onnx.ModelProto], None]


@pytest.fixture(scope="session")
def small_probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few pictures of the shipped set, all of one model tile."""
    return _part_of_the_shipped(tmp_path_factory.mktemp("probe") / "small", PICTURES)


@pytest.fixture(scope="session")
def tiny_probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The least that has objects, sentences and an empty picture."""
    return _part_of_the_shipped(tmp_path_factory.mktemp("probe") / "tiny", ("apron_1", "pond_0", "ships_1"))


def _part_of_the_shipped(folder: Path, pictures: Sequence[str]) -> Path:
    (folder / "images").mkdir(parents=True)
    wanted = {f"{name}.jpg" for name in pictures}
    boxes = json.loads((SHIPPED / "instances_val.json").read_text())
    boxes["images"] = [image for image in boxes["images"] if image["file_name"] in wanted]
    numbers = {image["id"] for image in boxes["images"]}
    boxes["annotations"] = [box for box in boxes["annotations"] if box["image_id"] in numbers]
    sentences = json.loads((SHIPPED / "dataset.json").read_text())
    sentences["images"] = [image for image in sentences["images"] if image["filename"] in wanted]
    for name in wanted:
        shutil.copyfile(SHIPPED / "images" / name, folder / "images" / name)
    (folder / "instances_val.json").write_text(json.dumps(boxes))
    (folder / "dataset.json").write_text(json.dumps(sentences))
    return folder


@pytest.fixture(scope="session")
def shipped_checkpoint() -> AnyCheckpoint:
    """What the shipped bundle was made of."""
    return open_checkpoint(DEFAULT_CHECKPOINT)


@pytest.fixture(scope="session")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle, with noise in the weights of `fp16` and a residual lost in a fusion of `int8`."""
    return damage(tmp_path_factory.mktemp("damaged") / "bundle", fp16=noise(0.03), int8=_lost_residual)


def damage(folder: Path, **damages: Damage) -> Path:
    """The shipped bundle, with these variants made of its whole one."""
    shutil.copytree(default_bundle_path(), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    whole = folder / manifest["variants"]["fp32"]
    variants = {"fp32": whole.name}
    for precision, harm in damages.items():
        model = onnx.load(str(whole))
        harm(model)
        variants[precision] = f"image.{precision}.onnx"
        onnx.save(model, str(folder / variants[precision]))
    fields = {name: value for name, value in manifest.items() if name != "files"}
    fields |= {"variants": variants, "gates": {}, "layout": {}, "regressions": []}
    write_manifest(folder, fields)
    return folder


def noise(share: float) -> Damage:
    """Every convolution's weights off by about a share of themselves."""

    def spoil(model: onnx.ModelProto) -> None:
        rng = np.random.default_rng(0)
        for tensor in model.graph.initializer:
            weights = numpy_helper.to_array(tensor)
            if weights.ndim == 4:
                noisy = weights * (1 + share * rng.standard_normal(weights.shape))
                tensor.CopyFrom(numpy_helper.from_array(noisy.astype(weights.dtype), tensor.name))

    return spoil


def _lost_residual(model: onnx.ModelProto) -> None:
    """One residual addition passes its first input on, as a fusion does that forgets the other."""
    made_by_convolution = {node.output[0] for node in model.graph.node if node.op_type == "Conv"}
    additions = [
        node
        for node in model.graph.node
        if node.op_type == "Add" and any(name in made_by_convolution for name in node.input)
    ]
    wrong = additions[len(additions) // 2]
    wrong.op_type = "Identity"
    del wrong.input[1:]
