"""Images without any annotation: the teacher's answers are all that a student needs of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from firmware_cfg.errors import UsageError
from training.augment import crop_objects, crop_scene
from training.pools import read_rgb
from training.readers.files import IMAGE_SUFFIXES
from training.recipe import Schedule
from training.samples import object_sample

_ZOOM = (0.6, 2.0)  # of crops for the maps: nobody says how large things are there


class Unlabelled:
    """Crops of the images in folders of one's own, seeded by step and place."""

    def __init__(self, folders: Sequence[Path], batch: int, schedule: Schedule) -> None:
        """batch: images a step. Raises UsageError for a folder that is missing or holds no image."""
        self.batch = batch
        self.schedule = schedule
        self.files: list[Path] = []
        digest = hashlib.sha256()
        for folder in folders:
            if not folder.is_dir():
                raise UsageError(f"{folder}: no such folder of images")
            found = sorted(f for f in folder.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file())
            if not found:
                raise UsageError(f"{folder}: no images (known: {', '.join(sorted(IMAGE_SUFFIXES))})")
            self.files += found
            for file in found:
                digest.update(f"{file.relative_to(folder)} {file.stat().st_size}\n".encode())
        self.sha256 = digest.hexdigest()

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Crops for the maps (U, S, S, 3) and for whole images (U, s, s, 3), uint8.

        Raises DataError for a file that is no image.
        """
        schedule = self.schedule
        rng = np.random.default_rng((schedule.seed, step, 4))
        chosen = rng.choice(len(self.files), self.batch, replace=self.batch > len(self.files))
        crops, scenes = [], []
        for place, number in enumerate(chosen.tolist()):
            path = self.files[number]
            image = read_rgb(path)
            one = np.random.default_rng((schedule.seed, step, 5, place))
            nothing = object_sample(path, [], [])
            crops.append(crop_objects(image, nothing, None, schedule.dense_crop, _ZOOM, one).image)
            scenes.append(crop_scene(image, schedule.caption_crop, one))
        return torch.from_numpy(np.stack(crops)), torch.from_numpy(np.stack(scenes))
