from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.frames import I420Image, NV12Image, RgbImage


def planes_of(y, u, v, height=4, width=6):
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return np.full((height, width), y, np.uint8), np.full(chroma, u, np.uint8), np.full(chroma, v, np.uint8)


@pytest.mark.parametrize(
    ("standard", "full_range", "yuv", "rgb"),
    [
        ("bt601", False, (16, 128, 128), (0, 0, 0)),
        ("bt709", False, (235, 128, 128), (255, 255, 255)),
        ("bt709", True, (128, 128, 128), (128, 128, 128)),
        ("bt601", False, (81, 90, 240), (255, 0, 0)),
        ("bt709", False, (63, 102, 240), (255, 0, 0)),
        ("bt601", True, (76, 85, 255), (254, 0, 0)),
        ("bt601", False, (41, 240, 110), (0, 0, 255)),
        ("bt709", False, (173, 42, 26), (0, 255, 0)),
    ],
)
def test_colours_come_out_as_the_standards_say(standard, full_range, yuv, rgb):
    pixels = I420Image(*planes_of(*yuv), standard, full_range).rgb()
    assert pixels.shape == (4, 6, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - rgb).max() <= 1


def test_opencv_agrees_on_limited_range_bt601():
    chance = np.random.default_rng(3)
    hue = [colorsys.hsv_to_rgb(h, 0.6, 0.8) for h in chance.uniform(0, 1, 12 * 16)]
    rgb = np.repeat(np.repeat((np.array(hue).reshape(12, 16, 3) * 255).astype(np.uint8), 2, 0), 2, 1)
    packed = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    y, rest = packed[:24], packed[24:].reshape(-1)
    image = I420Image(y, rest[: 12 * 16].reshape(12, 16), rest[12 * 16 :].reshape(12, 16), "bt601", False)
    theirs = cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420)
    assert np.abs(image.rgb().astype(int) - theirs).max() <= 2
    assert np.abs(image.rgb().astype(int) - rgb).max() <= 4


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 5))
def test_odd_sizes_and_padded_rows(height, width, padding):
    chance = np.random.default_rng(height * 100 + width)
    chroma = ((height + 1) // 2, (width + 1) // 2)

    def padded(rows, columns):
        return chance.integers(0, 256, (rows, columns + padding), np.uint8)[:, :columns]

    image = I420Image(padded(height, width), padded(*chroma), padded(*chroma), "bt709", True)
    assert (image.width, image.height) == (width, height)
    pixels = image.rgb()
    assert pixels.shape == (height, width, 3)
    last = I420Image(image.y[-1:, -1:], image.u[-1:, -1:], image.v[-1:, -1:], "bt709", True).rgb()
    assert np.array_equal(pixels[-1, -1], last[0, 0])


@pytest.mark.parametrize(
    "bad",
    [
        lambda y, u, v: (y.astype(np.int16), u, v),
        lambda y, u, v: (y[:, :, None], u, v),
        lambda y, u, v: (y[:0], u[:0], v[:0]),
        lambda y, u, v: (y, u[:-1], v),
        lambda y, u, v: (y, u, v[:, :-1]),
        lambda y, u, v: (y, u, v, "bt2020"),
    ],
)
def test_planes_that_do_not_fit_are_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        I420Image(*bad(*planes_of(1, 2, 3)))


def noisy_images(height, width):
    """The same picture as I420 and NV12, and another as RGB."""
    chance = np.random.default_rng(height * 100 + width)
    y = chance.integers(0, 256, (height, width), np.uint8)
    uv = chance.integers(0, 256, ((height + 1) // 2, (width + 1) // 2, 2), np.uint8)
    pixels = chance.integers(0, 256, (height, width, 3), np.uint8)
    planar = I420Image(y, uv[..., 0].copy(), uv[..., 1].copy(), "bt601", True)
    return planar, NV12Image(y, uv, "bt601", True), RgbImage(pixels)


@given(st.integers(1, 9), st.integers(1, 9))
def test_interleaved_chroma_shows_the_same_colours(height, width):
    planar, interleaved, _ = noisy_images(height, width)
    assert (interleaved.width, interleaved.height) == (width, height)
    assert np.array_equal(interleaved.u, planar.u)
    assert np.array_equal(interleaved.v, planar.v)
    assert np.array_equal(interleaved.rgb(), planar.rgb())


def test_interleaved_chroma_that_does_not_fit_is_refused():
    y, u, _ = planes_of(1, 2, 3)
    for chroma in (u, np.stack([u, u], -1)[:-1], np.stack([u, u, u], -1), np.stack([u, u], -1).astype(int)):
        with pytest.raises(ValueError, match="uv must be"):
            NV12Image(y, chroma)


@given(st.data(), st.integers(1, 12), st.integers(1, 12))
def test_a_part_shows_the_pixels_of_the_whole_and_copies_none(data, height, width):
    x, y = (2 * data.draw(st.integers(0, (side - 1) // 2)) for side in (width, height))
    wide, high = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    for image in noisy_images(height, width):
        part = image.crop(x, y, wide, high)
        assert type(part) is type(image)
        assert np.array_equal(part.rgb(), image.rgb()[y : y + high, x : x + wide])
        ours, whole = (part.pixels, image.pixels) if isinstance(image, RgbImage) else (part.v, image.v)
        assert np.shares_memory(ours, whole)


@pytest.mark.parametrize(
    "part", [(1, 0, 2, 2), (0, 1, 2, 2), (-2, 0, 2, 2), (0, 0, 0, 2), (4, 0, 3, 1), (0, 4, 1, 1)]
)
def test_a_part_that_is_odd_or_outside_is_refused(part):
    for image in noisy_images(4, 6):
        with pytest.raises(ValueError, match="a part"):
            image.crop(*part)


def test_rgb_images_are_handed_out_as_they_are():
    pixels = np.zeros((3, 5, 3), np.uint8)
    image = RgbImage(pixels)
    assert (image.width, image.height) == (5, 3)
    assert image.rgb() is pixels


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 4), (0, 5, 3)])
def test_pixels_that_are_no_rgb_image_are_refused(shape):
    with pytest.raises(ValueError, match="pixels must be"):
        RgbImage(np.zeros(shape, np.uint8))


def test_pixels_must_be_bytes():
    with pytest.raises(ValueError, match="pixels must be uint8"):
        RgbImage(np.zeros((3, 5, 3), np.float32))
