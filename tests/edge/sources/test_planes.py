"""What decoded frames become: the decoder's own planes where they are 8-bit 4:2:0 already."""

from __future__ import annotations

import av
import numpy as np
import pytest

from edge.frames import I420Image, NV12Image
from edge.sources.planes import to_image


@pytest.mark.parametrize(("width", "height"), [(64, 48), (62, 34)])
def test_nv12_is_handed_out_as_it_is(width: int, height: int) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (height * 3 // 2, width), dtype=np.uint8)
    image = to_image(av.VideoFrame.from_ndarray(samples, format="nv12"))
    assert isinstance(image, NV12Image)
    assert np.array_equal(image.y, samples[:height])
    assert np.array_equal(image.uv.reshape(height // 2, width), samples[height:])
    for plane in (image.y, image.uv):
        assert plane.base is not None  # the decoder's memory, not a copy
        assert not plane.flags.writeable


def test_nv12_and_yuv420p_of_one_picture_look_alike() -> None:
    samples = np.random.default_rng(1).integers(0, 256, (48 * 3 // 2, 64), dtype=np.uint8)
    nv12 = av.VideoFrame.from_ndarray(samples, format="nv12")
    planar = to_image(nv12.reformat(format="yuv420p"))
    assert isinstance(planar, I420Image)
    assert np.array_equal(to_image(nv12).rgb(), planar.rgb())
