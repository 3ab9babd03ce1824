"""Golden vectors at any tile size: an engine built for flight is judged at the size that it flies."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge.bundle.golden import Golden, check_image_engine, load_golden
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    from edge.bundle.load import Bundle

_REFERENCE = "openvino"  # every install has it


def golden_at(bundle: Bundle, image_size: tuple[int, int], threads: int | None = None) -> Golden:
    """The bundle's golden vectors for tiles of this (width, height).

    At another size than the bundle's own, its tiles are repeated over the new one, and what must come out is
    what the float32 graph says on this device's processor, after that has reproduced the bundle's own.

    Raises:
        BundleError: golden.npz is damaged. EngineError: the processor does not reproduce it.
    """
    from edge.engines.factory import create_image_engine

    golden = load_golden(bundle)
    if golden.image_size == image_size:
        return golden
    with closing(create_image_engine(bundle, _REFERENCE, "fp32", golden.image_size, threads)) as reference:
        if problems := check_image_engine(reference, golden).problems:
            what = f"{_REFERENCE} fp32 does not reproduce the golden vectors"
            raise EngineError(f"{bundle.path}: {what}: {'; '.join(problems)}")
    width, height = image_size
    count, tall, wide, _ = golden.image.shape
    repeated = np.tile(golden.image, (1, -(-height // tall), -(-width // wide), 1))
    image = np.ascontiguousarray(repeated[:count, :height, :width])
    with closing(create_image_engine(bundle, _REFERENCE, "fp32", image_size, threads)) as reference:
        expected = reference.infer(image, golden.prompts, golden.bias)
    return replace(golden, image=image, expected=expected)
