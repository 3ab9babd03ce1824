"""Pixels and rays: OpenCV's lens model, field of view, and what no ray reaches."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.geo.camera import CameraModel
from firmware_cfg.device import Camera, CameraMatrix, Distortion

SIZE = (1280, 720)
BARREL = (-0.28, 0.08, 0.001, -0.0005)
LENS = Distortion(**dict(zip(("k1", "k2", "p1", "p2"), BARREL, strict=True)))
PIXELS = np.random.default_rng(3).uniform((0, 0), SIZE, (200, 2))


def test_the_field_of_view_is_as_wide_as_it_says() -> None:
    camera = CameraModel.from_section(Camera(hfov_deg=90))
    rays = camera.rays(np.array([[0.0, 360.0], [1280.0, 360.0], [640.0, 0.0]]), SIZE)
    np.testing.assert_allclose(rays, [[1, -1, 0], [1, 1, 0], [1, 0, -360 / 640]])


def test_a_focal_length_says_the_same() -> None:
    of_focal = CameraModel.from_section(Camera(focal_mm=24, sensor_width_mm=36))
    hfov_deg = 2 * math.degrees(math.atan(18 / 24))
    assert of_focal.focal_x == pytest.approx(CameraModel.from_hfov(hfov_deg).focal_x)


def test_a_calibration_serves_a_scaled_video() -> None:
    matrix = CameraMatrix(fx=1000, fy=1010, cx=950, cy=560, size=(1920, 1080))
    camera = CameraModel.from_section(Camera(matrix=matrix, distortion=LENS))
    np.testing.assert_allclose(camera.matrix((1920, 1080)), [[1000, 0, 950], [0, 1010, 560], [0, 0, 1]])
    np.testing.assert_allclose(camera.rays(PIXELS, SIZE), camera.rays(PIXELS * 1.5, (1920, 1080)))


@pytest.mark.parametrize(
    ("size", "scale", "left", "top"),
    [
        ((1440, 1080), 1.0, 240, 0),  # cut at its sides
        ((1920, 800), 1.0, 0, 140),  # cut above and below
        ((720, 540), 0.5, 240, 0),  # and scaled
        ((500, 1000), 1000 / 1080, 690, 0),
    ],
)
def test_a_video_of_another_shape_is_cut_out_of_the_calibrated_picture(
    size: tuple[int, int], scale: float, left: float, top: float
) -> None:
    matrix = CameraMatrix(fx=1500, fy=1510, cx=950, cy=560, size=(1920, 1080))
    camera = CameraModel.from_section(Camera(matrix=matrix, distortion=LENS))
    pixels = np.array([[0.0, 0.0], [100.0, 300.0], size])
    whole = pixels / scale + (left, top)
    np.testing.assert_allclose(camera.rays(pixels, size), camera.rays(whole, (1920, 1080)), atol=2e-4)


def test_a_distorted_ray_goes_where_opencv_sends_it() -> None:
    camera = CameraModel(0.7, 0.72, 0.01, -0.02, BARREL)
    rays = camera.rays(PIXELS, SIZE)
    theirs, _ = cv2.projectPoints(
        rays[:, [1, 2, 0]], np.zeros(3), np.zeros(3), camera.matrix(SIZE), np.array(BARREL)
    )
    np.testing.assert_allclose(theirs[:, 0], PIXELS, atol=1e-6)
    np.testing.assert_allclose(camera.pixels(rays, SIZE), PIXELS, atol=1e-6)


@settings(max_examples=40)
@given(
    st.tuples(st.floats(-0.4, 0.4), st.floats(-0.2, 0.2), st.floats(-0.01, 0.01), st.floats(-0.01, 0.01)),
    st.floats(0.4, 3.0),
)
def test_every_pixel_has_its_own_ray_or_none(
    distortion: tuple[float, float, float, float], focal: float
) -> None:
    camera = CameraModel(focal, focal, distortion=distortion)
    rays = camera.rays(PIXELS, SIZE)
    found = ~np.isnan(rays[:, 1])
    np.testing.assert_allclose(camera.pixels(rays, SIZE)[found], PIXELS[found], atol=1e-4)
    centre = camera.rays(np.array([[640.0, 360.0]]), SIZE)
    np.testing.assert_allclose(centre, [[1, 0, 0]], atol=1e-12)


def test_no_pixel_for_what_is_behind_or_beyond_the_lens() -> None:
    rays = np.array([[-1.0, 0.1, 0.1], [0.0, 1.0, 0.0], [1.0, 30.0, 0.0]])
    folding = CameraModel(0.7, 0.7, distortion=(-0.3, 0.0, 0.0, 0.0))
    assert np.isnan(folding.pixels(rays, SIZE)).all()
    assert np.isnan(CameraModel(0.7, 0.7).pixels(rays, SIZE)[:2]).all()


@pytest.mark.parametrize("hfov_deg", [0.0, 180.0, -5.0, math.nan])
def test_a_field_of_view_that_no_lens_has(hfov_deg: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 180"):
        CameraModel.from_hfov(hfov_deg)
