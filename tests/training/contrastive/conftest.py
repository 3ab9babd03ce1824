"""Drawn shards, and the tiny run of run_tiny.py both as a module and as a program."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from training.data.manifest import Manifest, Shard, Source, write_manifest

SCRIPT = Path(__file__).parent / "run_tiny.py"
COLOURS = {"red": (200, 40, 40), "green": (40, 190, 50), "blue": (40, 60, 210), "grey": (120, 120, 120)}
IMAGES = {"train": 34, "val": 6}


def _image(colour: str, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    noise = rng.integers(-30, 30, (24, 32, 3))
    pixels = np.clip(np.array(COLOURS[colour])[None, None] + noise, 0, 255).astype(np.uint8)
    done, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()


def _document(colour: str, number: int) -> bytes:
    captions = [f"a {colour} field , number {number}", f"a {colour} field"]
    # The last image of every part says nothing.
    if number == 0:
        captions = []
    return json.dumps(
        {
            "captions": captions,
            "set": "drawn",
            "file": f"{number}.png",
            "boxes": [],
            "labels": [],
            "names": [],
            "ignored": [],
            "width": 32,
            "height": 24,
            "label": colour,
        }
    ).encode()


def build_shards(folder: Path) -> Path:
    (folder / "shards").mkdir(parents=True)
    shards = []
    for part, count in IMAGES.items():
        path = folder / "shards" / f"{part}-000000.tar"
        with tarfile.open(path, "w") as tar:
            for number in range(count):
                colour = list(COLOURS)[number % len(COLOURS)]
                seed = number if part == "train" else 1000 + number
                for suffix, data in (("png", _image(colour, seed)), ("json", _document(colour, number))):
                    member = tarfile.TarInfo(f"{part}{number:03d}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        shards.append(Shard(file=f"shards/{path.name}", part=part, samples=count, bytes=1, sha256="0" * 64))
    source = Source(
        name="drawn",
        format="captions",
        split="train",
        captions_by="captions",
        licence="CC0-1.0",
        source="these tests",
        read=40,
        faulty=0,
        without_caption=0,
        leaks=0,
        duplicates=0,
        train=IMAGES["train"],
        val=IMAGES["val"],
        captions=76,
        boxes=0,
        classes={},
    )
    write_manifest(folder, Manifest(recipe_sha256="1" * 64, recipe={}, sources=[source], shards=shards))
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built data set of 33 captioned training images of four colours, and 5 for validation."""
    return build_shards(tmp_path_factory.mktemp("pairs") / "built")


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """run_tiny.py as a module."""
    spec = importlib.util.spec_from_file_location("run_tiny", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_command(repository: Path) -> Callable[..., list[str]]:
    """The command line that runs run_tiny.py: under torchrun where several processes are asked for."""

    def command(*arguments: object, processes: int = 1) -> list[str]:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        launcher = torchrun if processes > 1 else []
        return [sys.executable, *launcher, str(SCRIPT), *map(str, arguments)]

    return command


@pytest.fixture(scope="session")
def child_environment(repository: Path) -> dict[str, str]:
    """The environment of such a program: it finds the checkout, and takes one thread."""
    return {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Order sums alike here and in the programs that the tests start."""
    torch.set_num_threads(1)
