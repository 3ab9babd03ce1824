from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from training.data.reader import ShardSamples
from training.errors import DataError

webdataset = pytest.importorskip("webdataset", reason="webdataset (extra: train) writes these shards")


def _annotation(number: int) -> dict[str, Any]:
    return {
        "captions": [f"picture {number}", "seen from above"],
        "set": "drawn",
        "file": f"drawn/{number}.jpg",
        "boxes": [[1.5, 2, 11.5, 12]] * (number % 2),
        "labels": [1] * (number % 2),
        "names": ["ship", "plane"],
        "ignored": [],
        "width": 24,
        "height": 16,
        "label": "Port",
    }


def _write(path: Path, numbers: range, suffix: str = "png") -> None:
    """Shards by WebDataset's own writer, so that the reader is held to the format and not to our writer."""
    path.parent.mkdir(exist_ok=True)
    with webdataset.TarWriter(str(path), encoder=False) as tar:
        for number in numbers:
            image = cv2.imencode(f".{suffix}", np.full((16, 24, 3), (0, 0, number), np.uint8))[1].tobytes()
            document = json.dumps(_annotation(number)).encode()
            tar.write({"__key__": f"drawn-{number:03d}", suffix: image, "json": document})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write(tmp_path / "shards" / "train-000000.tar", range(3))
    _write(tmp_path / "shards" / "train-000001.tar", range(3, 5))
    _write(tmp_path / "shards" / "val-000000.tar", range(90, 91))
    return tmp_path


def test_samples_are_reached_by_number_across_shards(folder: Path) -> None:
    samples = ShardSamples(folder)
    assert len(samples) == 5
    assert samples.keys() == tuple(f"drawn-{number:03d}" for number in range(5))
    sample = samples[3]
    assert (sample.key, sample.source, sample.file, sample.label) == (
        "drawn-003",
        "drawn",
        "drawn/3.jpg",
        "Port",
    )
    assert sample.captions == ("picture 3", "seen from above") == samples.captions(3)
    assert sample.boxes.tolist() == [[1.5, 2, 11.5, 12]]
    assert [sample.names[label] for label in sample.labels] == ["plane"]
    assert samples[2].boxes.shape == (0, 4)
    assert samples[-1].key == "drawn-004"
    assert [sample.key for sample in samples[1:3]] == ["drawn-001", "drawn-002"]
    with pytest.raises(IndexError):
        samples[5]


def test_pixels_are_rgb(folder: Path) -> None:
    pixels = ShardSamples(folder)[4].pixels()
    assert pixels.shape == (16, 24, 3)
    assert pixels[0, 0].tolist() == [4, 0, 0]


def test_the_validation_part_is_apart(folder: Path) -> None:
    assert ShardSamples(folder, "val").keys() == ("drawn-090",)


def test_pickled_and_forked_readers_read_the_same(folder: Path) -> None:
    samples = ShardSamples(folder)
    expected = samples[0].image
    assert pickle.loads(pickle.dumps(samples))[0].image == expected
    child = os.fork()
    if child == 0:
        os._exit(0 if samples[4].key == "drawn-004" and samples[0].image == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert samples[0].image == expected


def test_a_closed_reader_opens_again(folder: Path) -> None:
    samples = ShardSamples(folder)
    first = samples[0].image
    samples.close()
    assert samples[0].image == first


def test_no_shards_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no train-\*\.tar \(run: remoteclip data build"):
        ShardSamples(tmp_path)


def test_a_shard_that_is_no_tar_is_named(folder: Path) -> None:
    (folder / "shards" / "train-000001.tar").write_bytes(b"not a tar" * 100)
    with pytest.raises(DataError, match=r"train-000001\.tar: not a readable shard"):
        ShardSamples(folder)


def test_a_sample_without_annotation_is_named(folder: Path) -> None:
    with webdataset.TarWriter(str(folder / "shards" / "train-000002.tar"), encoder=False) as tar:
        tar.write({"__key__": "lonely", "png": b"x"})
    with pytest.raises(DataError, match="lonely: expected one image and one"):
        ShardSamples(folder)


def test_a_truncated_shard_is_refused(folder: Path) -> None:
    path = folder / "shards" / "train-000000.tar"
    samples = ShardSamples(folder)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"train-000000\.tar"):
        samples[2]
    with pytest.raises(DataError, match=r"train-000000\.tar"):
        ShardSamples(folder)


def test_an_image_that_does_not_decode_is_named(folder: Path) -> None:
    with webdataset.TarWriter(str(folder / "shards" / "val-000001.tar"), encoder=False) as tar:
        tar.write({"__key__": "bad", "jpg": b"no", "json": json.dumps(_annotation(1)).encode()})
    with pytest.raises(DataError, match="bad: its image cannot be decoded"):
        ShardSamples(folder, "val")[1].pixels()
