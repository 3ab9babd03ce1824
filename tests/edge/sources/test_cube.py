from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cubes import read_cube, rgb_image
from edge.sources import CubeOptions, CubeSource, open_source
from edge.sources.cube import offsets
from firmware_cfg.device import load_device
from firmware_cfg.errors import ConfigErrors, SourceError

scipy_io = pytest.importorskip("scipy.io", reason="the extra hyperspectral is not installed")

SPREAD = CubeOptions(wavelengths="400:700", window=16, overlap=0.25, fps=4.0)


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    row, column, band = np.meshgrid(np.arange(28), np.arange(40), np.arange(7), indexing="ij")
    scipy_io.savemat(
        tmp_path / "scene.mat", {"scene": (row * 50 + column + band * (column % 7)).astype("f4")}
    )
    return tmp_path / "scene.mat"


def test_windows_of_the_scene_row_by_row(cube: Path) -> None:
    scene = rgb_image(read_cube(cube, "400:700"))
    with open_source(cube, cube=SPREAD) as source:
        assert isinstance(source, CubeSource)
        frames = list(source)
        assert (source.name, source.fps, source.length, source.independent) == ("scene.mat", 4.0, 6, True)
    names = [f"scene.mat@{x},{y}" for y in (0, 12) for x in (0, 12, 24)]
    assert [frame.name for frame in frames] == names
    assert [frame.number for frame in frames] == list(range(6))
    assert [frame.time_s for frame in frames] == [number / 4 for number in range(6)]
    for frame in frames:
        x, y = (int(part) for part in frame.name.partition("@")[2].split(","))
        np.testing.assert_array_equal(frame.image.rgb(), scene[y : y + 16, x : x + 16])


def test_a_scene_smaller_than_a_window_is_one_frame(cube: Path) -> None:
    with open_source(cube, sequence=True, cube=CubeOptions("400:700")) as source:
        (frame,) = source
        assert not source.independent
    assert (frame.width, frame.height) == (40, 28)


def test_windows_without_data_are_passed_over(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((16, 48, 7)).astype("f4")
    values[:, 16:32] = np.nan
    scipy_io.savemat(tmp_path / "scene.mat", {"scene": values})
    with open_source(tmp_path / "scene.mat", cube=CubeOptions("400:700", window=16, overlap=0.0)) as source:
        frames = list(source)
    assert [(frame.number, frame.name) for frame in frames] == [(0, "scene.mat@0,0"), (2, "scene.mat@32,0")]
    assert [frame.time_s for frame in frames] == [0.0, 2.0]


def test_a_cube_without_wavelengths_names_the_option(cube: Path) -> None:
    with pytest.raises(SourceError, match="does not say the wavelengths of its 7 bands"):
        open_source(cube)


@given(st.integers(1, 3000), st.integers(1, 300), st.data())
def test_windows_cover_the_scene(length: int, window: int, data: st.DataObject) -> None:
    window = min(window, length)
    step = data.draw(st.integers(1, window))
    begins = offsets(length, window, step)
    assert begins[0] == 0
    assert begins[-1] == length - window
    assert all(0 < after - before <= step for before, after in pairwise(begins))


def device(folder: Path, source: str) -> Path:
    path = folder / "device.yaml"
    (folder / "prompts.yaml").write_text("prompts: [{id: water, kind: scene, text: water}]")
    path.write_text(
        f"device: bird\nsource: {source}\nprompts: prompts.yaml\nstate_dir: state\n"
        "mqtt: {url: 'mqtt://127.0.0.1'}\n"
    )
    return path


def test_a_device_file_says_how_a_cube_is_read(cube: Path) -> None:
    path = device(cube.parent, "{uri: scene.mat, cube: {wavelengths: bands.txt without 2-3, window: 64}}")
    section = load_device(path).source.cube
    assert section is not None
    assert CubeOptions.from_config(section) == CubeOptions(f"{cube.parent}/bands.txt without 2-3", window=64)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{uri: scene.mat, cube: {wavelengths: '700:400'}}", r":2:.*must begin above 0 nm and end above"),
        ("{uri: scene.mat, cube: {window: 4}}", r":2:.*window"),
        ("{uri: demo, cube: {window: 64}}", r":2:.*cube needs a uri that ends in \.hdr"),
    ],
)
def test_a_wrong_cube_section_says_where(cube: Path, source: str, problem: str) -> None:
    with pytest.raises(ConfigErrors, match=problem):
        load_device(device(cube.parent, source))
