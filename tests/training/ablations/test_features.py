from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training.ablations.features import PooledTrunk, views_of
from training.models.lite import LiteImageTower

SIDE = 64


@pytest.fixture(scope="module")
def tower() -> LiteImageTower:
    torch.manual_seed(0)
    return LiteImageTower().eval()


@pytest.fixture(scope="module")
def trunk(tower: LiteImageTower) -> PooledTrunk:
    return PooledTrunk(tower, SIDE)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    found = []
    for i in range(20):
        coarse = rng.integers(0, 255, (6, 6, 3), np.uint8)
        found.append(folder / f"{i}.png")
        assert cv2.imwrite(str(found[-1]), cv2.resize(coarse, (90, 70)))
    return found


def test_the_compiled_trunk_gives_what_the_scene_head_sees(tower: LiteImageTower, trunk: PooledTrunk) -> None:
    images = np.random.default_rng(1).integers(0, 255, (3, SIDE, SIDE, 3), np.uint8)
    pixels = torch.from_numpy(images)
    with torch.inference_mode():
        embedding = tower(pixels).embedding
        by_features = torch.nn.functional.normalize(tower.scene(torch.from_numpy(trunk(images))), dim=1)
    torch.testing.assert_close(by_features, embedding, rtol=1e-3, atol=1e-4)


class Interrupted(Exception):
    pass


def test_a_stopped_run_goes_on_and_ends_in_the_same_features(
    trunk: PooledTrunk, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = views_of(trunk, paths, 2, 7, tmp_path / "whole.npy")
    assert whole.shape == (2, 20, 1280)
    assert not np.array_equal(whole[0], whole[1])

    calls: list[int] = []

    def counted(self: PooledTrunk, images: np.ndarray) -> np.ndarray:
        if len(calls) == 1 and calls[0] > 0:
            calls.append(-1)
            raise Interrupted
        calls.append(len(images))
        return compute(self, images)

    compute = PooledTrunk.__call__
    monkeypatch.setattr(PooledTrunk, "__call__", counted)
    with pytest.raises(Interrupted):
        views_of(trunk, paths, 2, 7, tmp_path / "stopped.npy")
    continued = views_of(trunk, paths, 2, 7, tmp_path / "stopped.npy")
    assert calls == [32, -1, 8]  # of 40 rows the first batch was not computed again
    assert np.array_equal(continued, whole)

    views_of(trunk, paths, 2, 7, tmp_path / "stopped.npy")
    assert calls == [32, -1, 8]
    views_of(trunk, paths, 1, 8, tmp_path / "stopped.npy")  # another seed: begun anew
    assert calls == [32, -1, 8, 20]
    assert json.loads((tmp_path / "stopped.json").read_text())["done"] == 20
