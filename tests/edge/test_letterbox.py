"""The tile that the model sees: geometry, and three ways to the same pixels."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import native
from edge.frames import I420Image, RgbImage
from edge.letterbox import (
    PADDING,
    Letterbox,
    best_image_size,
    letterbox,
    letterbox_native,
    letterbox_opencv,
    letterbox_reference,
)

needs_native = pytest.mark.skipif(native.LETTERBOX is None, reason=f"native kernel {native.UNAVAILABLE}")

LETTERBOXES = {
    "native": letterbox_native,
    "opencv": letterbox_opencv,
    "reference": letterbox_reference,
}

# Frame width, height, tile width, height: shrinking by whole and broken ratios, growing, same size, odd and
# one-pixel sides, padding left and right, above and below, none.
VECTORS = [
    (1920, 1080, 640, 384),
    (1280, 720, 640, 384),
    (1001, 563, 320, 320),
    (320, 180, 640, 384),
    (63, 47, 96, 96),
    (64, 64, 64, 64),
    (640, 384, 640, 384),
    (65, 64, 64, 64),
    (1, 1, 32, 32),
    (1, 300, 32, 64),
    (300, 1, 64, 32),
    (2, 2, 3, 3),
    (3, 500, 32, 32),
    (700, 3, 64, 32),
]


def noise(*shape: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def noisy_i420(
    width: int, height: int, standard: str = "bt601", full_range: bool = False, seed: int = 0
) -> I420Image:
    half = ((height + 1) // 2, (width + 1) // 2)
    return I420Image(
        noise(height, width, seed=seed),
        noise(*half, seed=seed + 1),
        noise(*half, seed=seed + 2),
        standard=standard,  # type: ignore[arg-type]
        full_range=full_range,
    )


def padded_rows(plane: npt.NDArray[np.uint8], extra: int) -> npt.NDArray[np.uint8]:
    """The same samples in rows that are `extra` bytes further apart, as decoders leave them."""
    wide = np.full((plane.shape[0], plane.shape[1] + extra, *plane.shape[2:]), 255, np.uint8)
    wide[:, : plane.shape[1]] = plane
    return wide[:, : plane.shape[1]]


def largest_difference(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@needs_native
@pytest.mark.parametrize(("width", "height", "tile_width", "tile_height"), VECTORS)
@pytest.mark.parametrize("standard", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
def test_native_i420_equals_the_reference(
    width: int, height: int, tile_width: int, tile_height: int, standard: str, full_range: bool
) -> None:
    image = noisy_i420(width, height, standard, full_range)
    expected, place = letterbox_reference(image, tile_width, tile_height)
    got, got_place = letterbox_native(image, tile_width, tile_height)
    assert got_place == place
    assert largest_difference(got, expected) <= 1


@needs_native
@pytest.mark.parametrize(("width", "height", "tile_width", "tile_height"), VECTORS)
def test_native_rgb_equals_the_reference(width: int, height: int, tile_width: int, tile_height: int) -> None:
    image = RgbImage(noise(height, width, 3))
    expected, _ = letterbox_reference(image, tile_width, tile_height)
    assert largest_difference(letterbox_native(image, tile_width, tile_height)[0], expected) <= 1


@needs_native
@settings(max_examples=80)
@given(
    frame=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    tile=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    stride=st.integers(0, 40),
    kind=st.sampled_from(["rgb", "bt601", "bt709"]),
    full_range=st.booleans(),
    upside_down=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_native_equals_the_reference_for_any_shape_and_stride(
    frame: tuple[int, int],
    tile: tuple[int, int],
    stride: int,
    kind: str,
    full_range: bool,
    upside_down: bool,
    seed: int,
) -> None:
    width, height = frame
    step = slice(None, None, -1 if upside_down else 1)
    image: I420Image | RgbImage
    if kind == "rgb":
        image = RgbImage(padded_rows(noise(height, width, 3, seed=seed), stride)[step])
    else:
        planes = noisy_i420(width, height, seed=seed)
        image = I420Image(
            *(padded_rows(plane, stride)[step] for plane in (planes.y, planes.u, planes.v)),
            standard=kind,  # type: ignore[arg-type]
            full_range=full_range,
        )
    expected, _ = letterbox_reference(image, *tile)
    assert largest_difference(letterbox_native(image, *tile)[0], expected) <= 1


@pytest.mark.parametrize(("width", "height", "tile_width", "tile_height"), VECTORS)
def test_opencv_stays_near_the_reference(width: int, height: int, tile_width: int, tile_height: int) -> None:
    # A smooth picture: OpenCV rounds its bilinear weights to 1/2048 and places the chroma of an odd frame a
    # quarter of a sample off, which noise would magnify.
    across, down = np.meshgrid(np.linspace(20, 230, width), np.linspace(0, 20, height))
    y = (across + down).astype(np.uint8)
    half = ((height + 1) // 2, (width + 1) // 2)
    u = np.tile(np.linspace(90, 160, half[1]), (half[0], 1)).astype(np.uint8)
    image = I420Image(y, u, 255 - u, standard="bt709")
    expected, place = letterbox_reference(image, tile_width, tile_height)
    got, got_place = letterbox_opencv(image, tile_width, tile_height)
    assert got_place == place
    difference = np.abs(got.astype(int) - expected.astype(int))
    assert np.quantile(difference, 0.99) <= 4

    rgb = RgbImage(noise(height, width, 3))
    expected, _ = letterbox_reference(rgb, tile_width, tile_height)
    assert largest_difference(letterbox_opencv(rgb, tile_width, tile_height)[0], expected) <= 2


@pytest.mark.parametrize("name", sorted(LETTERBOXES))
def test_the_frame_is_centred_in_grey_padding(name: str) -> None:
    if name == "native" and native.LETTERBOX is None:
        pytest.skip(f"native kernel {native.UNAVAILABLE}")
    tile, place = LETTERBOXES[name](RgbImage(np.full((50, 200, 3), 9, np.uint8)), 96, 64)
    assert (place.pad_x, place.pad_y, place.content_width, place.content_height) == (0, 20, 96, 24)
    assert tile.shape == (64, 96, 3)
    assert np.all(tile[20:44] == 9)
    assert np.all(tile[:20] == PADDING)
    assert np.all(tile[44:] == PADDING)


@pytest.mark.parametrize("name", ["native", "opencv"])
def test_a_given_tile_is_written_whole_and_returned(name: str) -> None:
    if name == "native" and native.LETTERBOX is None:
        pytest.skip(f"native kernel {native.UNAVAILABLE}")
    way = letterbox_native if name == "native" else letterbox_opencv
    image = noisy_i420(75, 31)
    tiles = np.full((2, 64, 96, 3), 7, np.uint8)
    tile, _ = way(image, 96, 64, tiles[1])
    assert np.shares_memory(tile, tiles)
    np.testing.assert_array_equal(tiles[1], way(image, 96, 64)[0])
    assert np.all(tiles[0] == 7)
    for wrong in (tiles, tiles[0, :, :-1], tiles[0].astype(np.int8), tiles[0].transpose(1, 0, 2)):
        with pytest.raises(ValueError, match=r"out must be .* of shape \(64, 96, 3\)"):
            way(image, 96, 64, wrong)
    tiles.setflags(write=False)
    with pytest.raises(ValueError, match="writeable"):
        way(image, 96, 64, tiles[1])


@pytest.mark.parametrize("name", sorted(LETTERBOXES))
@pytest.mark.parametrize(
    ("yuv", "standard", "full_range", "expected"),
    [
        ((16, 128, 128), "bt709", False, (0, 0, 0)),
        ((235, 128, 128), "bt601", False, (255, 255, 255)),
        ((0, 128, 128), "bt601", True, (0, 0, 0)),
        ((255, 128, 128), "bt709", True, (255, 255, 255)),
        ((81, 90, 240), "bt601", False, (255, 0, 0)),  # the red of the standards' colour bars
        ((63, 102, 240), "bt709", False, (255, 0, 0)),
        ((41, 240, 110), "bt601", False, (0, 0, 255)),
        ((173, 42, 26), "bt709", False, (0, 255, 0)),
    ],
)
def test_colours_follow_the_standard_and_the_range(
    name: str, yuv: tuple[int, int, int], standard: str, full_range: bool, expected: tuple[int, int, int]
) -> None:
    if name == "native" and native.LETTERBOX is None:
        pytest.skip(f"native kernel {native.UNAVAILABLE}")
    y, u, v = yuv
    image = I420Image(
        np.full((16, 16), y, np.uint8),
        np.full((8, 8), u, np.uint8),
        np.full((8, 8), v, np.uint8),
        standard=standard,  # type: ignore[arg-type]
        full_range=full_range,
    )
    tile, _ = LETTERBOXES[name](image, 32, 32)
    assert largest_difference(tile, np.full((32, 32, 3), expected, np.uint8)) <= 2


def test_letterbox_works_through_opencv_without_the_native_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.letterbox.LETTERBOX", None)
    image = noisy_i420(120, 70)
    assert np.array_equal(letterbox(image, 64, 64)[0], letterbox_opencv(image, 64, 64)[0])
    with pytest.raises(RuntimeError, match="not built"):
        letterbox_native(image, 64, 64)


def test_why_the_native_module_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "edge.native._letterbox", None)
    module, reason = native._load()
    assert module is None
    assert reason is not None
    assert "compiler" in reason


@needs_native
def test_native_refuses_what_does_not_fit() -> None:
    kernel = native.LETTERBOX
    assert kernel is not None
    y, u = noise(9, 11), noise(5, 6)
    tile = np.zeros((32, 32, 3), np.uint8)
    whole = (0, 0, 32, 32)
    with pytest.raises(ValueError, match="expected 6 x 5, got 5 x 5"):
        kernel.i420(y, noise(5, 5), u, False, False, tile, *whole)
    with pytest.raises(ValueError, match="uv must be half"):
        kernel.nv12(y, noise(4, 6, 2), False, False, tile, *whole)
    with pytest.raises(ValueError, match="uv: pixels of a row"):
        kernel.nv12(y, noise(5, 12, 2)[:, ::2], False, False, tile, *whole)
    for threads in (0, 65, -1):
        with pytest.raises(ValueError, match="threads must be 1 to 64"):
            kernel.rgb(noise(32, 32, 3), tile, *whole, threads)
    for outside in ((-1, 0, 32, 32), (0, 1, 32, 32), (0, 0, 33, 32), (0, 0, 0, 32), (2**31 - 1, 0, 1, 1)):
        with pytest.raises(ValueError, match="inside the tile"):
            kernel.i420(y, u, u, False, False, tile, *outside)
    with pytest.raises(ValueError, match="larger on one axis"):
        kernel.rgb(noise(8, 64, 3), tile, *whole)
    with pytest.raises(ValueError, match="adjacent"):
        kernel.i420(noise(9, 22)[:, ::2], u, u, False, False, tile, *whole)
    with pytest.raises(ValueError, match="adjacent"):
        kernel.rgb(noise(9, 9, 3)[:, :, ::-1], tile, *whole)
    with pytest.raises(ValueError, match="each side"):
        kernel.rgb(np.zeros((0, 4, 3), np.uint8), tile, *whole)
    with pytest.raises(TypeError):
        kernel.rgb(noise(9, 9, 3).astype(np.float32), tile, *whole)
    with pytest.raises(TypeError):
        kernel.rgb(noise(9, 9, 3), tile[:, ::2], 0, 0, 16, 32)


def test_columns_that_are_apart_are_copied_not_refused() -> None:
    pixels = noise(40, 60, 3)
    mirrored = RgbImage(pixels[:, ::-1])
    expected, _ = letterbox_reference(mirrored, 32, 32)
    assert largest_difference(letterbox(mirrored, 32, 32)[0], expected) <= 2


def test_letterbox_reads_a_frame_that_may_not_be_written() -> None:
    pixels = noise(40, 60, 3)
    pixels.setflags(write=False)
    assert letterbox(RgbImage(pixels), 64, 64)[0].shape == (64, 64, 3)


@needs_native
def test_native_gives_the_same_tiles_from_many_threads() -> None:
    images = [noisy_i420(333, 222, seed=seed) for seed in range(8)]
    alone = [letterbox_native(image, 160, 96)[0] for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: letterbox_native(image, 160, 96)[0], images * 4))
    assert all(np.array_equal(tile, alone[i % 8]) for i, tile in enumerate(together))


@given(
    frame=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    tile=st.tuples(st.integers(1, 1300), st.integers(1, 1300)),
)
def test_the_content_lies_inside_the_tile_and_touches_two_sides(
    frame: tuple[int, int], tile: tuple[int, int]
) -> None:
    place = Letterbox.fit(*frame, *tile)
    assert place.pad_x >= 0
    assert place.pad_y >= 0
    assert place.pad_x + place.content_width <= place.width
    assert place.pad_y + place.content_height <= place.height
    assert place.content_width == place.width or place.content_height == place.height
    left, right = place.pad_x, place.width - place.pad_x - place.content_width
    above, below = place.pad_y, place.height - place.pad_y - place.content_height
    assert abs(left - right) <= 1
    assert abs(above - below) <= 1


@given(
    frame=st.tuples(st.integers(32, 5000), st.integers(32, 5000)),
    tile=st.tuples(st.integers(32, 1300), st.integers(32, 1300)),
    corners=st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=5),
)
def test_boxes_return_to_where_they_came_from(
    frame: tuple[int, int], tile: tuple[int, int], corners: list[tuple[float, float, float, float]]
) -> None:
    place = Letterbox.fit(*frame, *tile)
    boxes = np.array(corners, np.float32).reshape(-1, 4) * np.array([*frame, *frame], np.float32)
    in_tile = place.to_tile(boxes)
    assert in_tile.shape == boxes.shape
    assert np.all(in_tile[:, ::2] <= place.pad_x + place.content_width + 0.01)
    assert np.all(in_tile[:, 1::2] <= place.pad_y + place.content_height + 0.01)
    np.testing.assert_allclose(place.to_frame(in_tile), boxes, atol=max(frame) * 1e-4)


def test_the_corners_of_the_frame_are_the_corners_of_the_content() -> None:
    place = Letterbox.fit(1000, 333, 96, 64)
    corners = [
        [place.pad_x, place.pad_y, place.pad_x + place.content_width, place.pad_y + place.content_height]
    ]
    np.testing.assert_allclose(place.to_frame(corners), [[0, 0, 1000, 333]], atol=1e-3)


def test_boxes_are_clipped_to_the_frame() -> None:
    place = Letterbox.fit(200, 100, 100, 100)
    np.testing.assert_allclose(place.to_frame([[-10, 0, 120, 99]]), [[0, 0, 200, 100]])
    assert place.to_frame([]).shape == (0, 4)
    with pytest.raises(ValueError, match=r"\(N, 4\)"):
        place.to_frame([1, 2, 3, 4])


@pytest.mark.parametrize("sides", [(0, 5, 5, 5), (5, 0, 5, 5), (5, 5, 0, 5), (5, 5, 5, -1)])
def test_an_empty_frame_or_tile_is_refused(sides: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="every side must be at least 1"):
        Letterbox.fit(*sides)


def test_an_object_is_found_where_it_was_drawn() -> None:
    pixels = np.zeros((300, 500, 3), np.uint8)
    pixels[100:140, 200:260] = 255
    tile, place = letterbox(RgbImage(pixels), 128, 128)
    content = tile.copy()
    content[: place.pad_y] = content[place.pad_y + place.content_height :] = 0
    rows, columns = np.nonzero(content[..., 0] > 127)
    box = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    np.testing.assert_allclose(place.to_frame(box), [[200, 100, 260, 140]], atol=1 / place.scale)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ((1920, 1080), (1280, 768)),  # none shows it whole: the largest of its shape
        ((640, 360), (640, 384)),
        ((400, 230), (640, 384)),
        ((1280, 768), (1280, 768)),
        ((300, 300), (384, 384)),
        ((500, 500), (384, 384)),
        ((600, 800), (384, 384)),
    ],
)
def test_best_image_size(frame: tuple[int, int], expected: tuple[int, int]) -> None:
    assert best_image_size(*frame, [(640, 384), (384, 384), (1280, 768)]) == expected


def test_best_image_size_needs_a_size() -> None:
    with pytest.raises(ValueError, match="no image size"):
        best_image_size(100, 100, [])
