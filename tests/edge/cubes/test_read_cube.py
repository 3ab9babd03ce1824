from __future__ import annotations

import numpy as np
import pytest

from edge.cubes import Cube, read_cube, rgb_image
from edge.cubes.interleave import INTERLEAVES
from firmware_cfg.errors import SourceError, UsageError

envi = pytest.importorskip("spectral.io.envi", reason="the extra hyperspectral is not installed")
scipy_io = pytest.importorskip("scipy.io", reason="the extra hyperspectral is not installed")

NM = np.linspace(400.0, 1000.0, 13)


def scene(rows: int = 12, columns: int = 9) -> np.ndarray:
    """(rows, columns, 13) float32 whole numbers: smooth, and different along every axis."""
    row, column, band = np.meshgrid(np.arange(rows), np.arange(columns), np.arange(13), indexing="ij")
    return (1000 + 40 * row + 7 * column + 3 * band * (row > 5)).astype(np.float32)


@pytest.fixture
def save(tmp_path):
    def write(values, name="scene.hdr", *, interleave="bil", byteorder=0, dtype="int16", **fields):
        metadata = {"wavelength": [str(nm) for nm in NM], "wavelength units": "Nanometers"}
        metadata |= {key.replace("_", " "): value for key, value in fields.items() if value is not None}
        for key in [key for key, value in fields.items() if value is None]:
            metadata.pop(key.replace("_", " "))
        path = tmp_path / name
        envi.save_image(
            str(path),
            values,
            dtype=dtype,
            interleave=interleave,
            byteorder=byteorder,
            ext=".img",
            metadata=metadata,
        )
        return path

    return write


@pytest.mark.parametrize("interleave", INTERLEAVES)
@pytest.mark.parametrize(
    ("byteorder", "dtype"), [(0, "int16"), (1, "uint16"), (1, "float32"), (0, "float64")]
)
def test_envi_in_every_order_is_the_same_cube(save, interleave, byteorder, dtype):
    header = save(scene(), interleave=interleave, byteorder=byteorder, dtype=dtype)
    for path in (header, header.with_suffix(".img")):
        cube = read_cube(path)
        np.testing.assert_array_equal(cube.values, scene())
        np.testing.assert_allclose(cube.wavelengths, NM)
        assert cube.valid is None


@pytest.mark.parametrize("unit", ["Micrometers", "Unknown"])
def test_micrometres_become_nanometres(save, unit):
    header = save(scene(), wavelength=[str(nm / 1000) for nm in NM], wavelength_units=unit)
    np.testing.assert_allclose(read_cube(header).wavelengths, NM)


def test_map_info_is_read_as_gdal_reads_it(save):
    rasterio = pytest.importorskip("rasterio")
    info = [
        "UTM",
        "1",
        "1",
        "562000",
        "4140000",
        "17",
        "17",
        "10",
        "North",
        "WGS-84",
        "units=Meters",
        "rotation=12",
    ]
    header = save(scene(), map_info="{" + ", ".join(info) + "}")
    place = read_cube(header).georeference
    with rasterio.open(header.with_suffix(".img")) as theirs:
        np.testing.assert_allclose(place.transform, tuple(theirs.transform)[:6])
        assert rasterio.CRS.from_string(place.crs) == theirs.crs
    assert place.pixel_area_m2 == pytest.approx(17 * 17)


def test_pixels_without_data_are_told_and_black(save):
    values = scene()
    values[:3] = -9999
    cube = read_cube(save(values, data_ignore_value="-9999"))
    assert not cube.valid[:3].any()
    assert cube.valid[3:].all()
    assert not rgb_image(cube)[:3].any()


def test_a_band_without_data_is_an_error_and_can_be_left_out(save):
    values = scene()
    values[:, :, [4, 5]] = np.nan
    header = save(values, dtype="float32")
    with pytest.raises(SourceError, match=r"no data \(NaN\) in bands 5-6 .*without 5-6"):
        read_cube(header)
    assert read_cube(header, "without 5-6").values.shape == (12, 9, 11)


def test_bands_that_the_header_calls_bad_are_left_out(save):
    flags = ["1"] * 13
    flags[2] = "0"
    assert read_cube(save(scene(), bbl=flags)).wavelengths.tolist() == [*NM[:2], *NM[3:]]


def rewrite(header, old: str, new: str) -> None:
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("interleave = bip", "interleave = bim", "interleave is 'bim'"),
        ("interleave = bip", "interleave = bsq", "only as bip is the data a picture"),
        ("byte order = 0", "byte order = 1", r"write byte order = 0"),
        ("lines = 40", "lines = 80", "truncated"),
        ("lines = 40", "lines = -1", "lines is '-1'"),
        ("data type = 2", "data type = 6", "data type 6"),
        ("ENVI\n", "GIF\n", "not an ENVI header"),
        ("wavelength = {", "wavelength = { 399,", "14 entries for 13 bands"),
    ],
)
def test_a_wrong_header_is_one_clear_line(save, old, new, problem):
    rng = np.random.default_rng(1)
    values = scene(40, 30) + rng.permutation(13) * 300
    header = save(values, interleave="bip")
    rewrite(header, old, new)
    with pytest.raises(SourceError, match=problem) as caught:
        read_cube(header)
    assert "\n" not in str(caught.value)


def test_no_wavelengths_names_the_option(save):
    header = save(scene(), wavelength=None)
    with pytest.raises(
        SourceError, match=r"does not say the wavelengths of its 13 bands \(give --wavelengths"
    ):
        read_cube(header)
    np.testing.assert_allclose(read_cube(header, "400:1000").wavelengths, NM)
    taken_out = read_cube(header, "400:1050/15 without 4,9-9").wavelengths
    assert taken_out.tolist() == np.delete(np.linspace(400, 1050, 15), [3, 8]).tolist()
    with pytest.raises(UsageError, match="14 wavelengths do not fit"):
        read_cube(header, "400:1000/14")


def test_wavelengths_from_a_file(save, tmp_path):
    header = save(scene(), wavelength=None)
    numbers = tmp_path / "bands.txt"
    numbers.write_text("# of the sensor\n" + "\n".join(f"{nm / 1000}" for nm in NM))
    np.testing.assert_allclose(read_cube(header, str(numbers)).wavelengths, NM)
    numbers.write_text("400\nfour")
    with pytest.raises(UsageError, match=r"bands\.txt:2: 'four' is no number"):
        read_cube(header, str(numbers))


def test_an_unmixing_file_goes_down_the_columns(tmp_path):
    matrix = scene().transpose(2, 1, 0).reshape(13, -1)
    scipy_io.savemat(tmp_path / "a.mat", {"Y": matrix, "lines": 12, "cols": 9, "S_GT": np.zeros((12, 9, 4))})
    np.testing.assert_array_equal(read_cube(tmp_path / "a.mat", "400:1000").values, scene())


def test_abundances_in_both_forms_tell_the_order_of_the_pixels(tmp_path):
    share = np.random.default_rng(0).random((12, 9, 2))
    along_rows = {
        "Y": scene().transpose(2, 0, 1).reshape(13, -1),
        "A": share.transpose(2, 0, 1).reshape(2, -1),
    }
    scipy_io.savemat(tmp_path / "a.mat", {**along_rows, "S_GT": share})
    np.testing.assert_array_equal(read_cube(tmp_path / "a.mat", "400:1000").values, scene())


@pytest.mark.parametrize(
    ("variables", "variable", "error", "problem"),
    [
        ({"a": scene(), "b": scene()}, None, SourceError, "more than one cube in it: a, b"),
        ({"a": scene()}, "c", UsageError, r"no variable 'c' \(it has a \(12 x 9 x 13 float32\)\)"),
        ({"a": np.zeros((3, 3))}, None, SourceError, "no cube of three dimensions"),
        ({"a": np.array([1, "x"], dtype=object)}, "a", SourceError, "a holds cells, not numbers"),
        ({"Y": np.zeros((13, 7)), "lines": 2, "cols": 3}, None, SourceError, r"not bands x 2 \* 3 pixels"),
        ({"a": scene()[:, :, :2]}, None, SourceError, "at least 3 bands, this one has 2"),
    ],
)
def test_a_matlab_file_without_a_cube(tmp_path, variables, variable, error, problem):
    scipy_io.savemat(tmp_path / "a.mat", variables)
    with pytest.raises(error, match=problem):
        read_cube(tmp_path / "a.mat", "400:1000", variable)


def test_a_file_that_is_no_matlab_file(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"not at all" * 50)
    with pytest.raises(SourceError, match="not a MATLAB file that can be read"):
        read_cube(tmp_path / "a.mat")


def test_colours_are_interpolated_and_stretched(tmp_path):
    values = np.zeros((1, 3, 4), dtype=np.float32)
    values[0, :, 0] = (0, 1, 2)  # 440 nm
    values[0, :, 1] = (0, 3, 4)  # 460 nm: blue, at 450, is the mean of both, 0 2 3
    values[0, :, 2] = (0, 1, 4)  # green
    values[0, :, 3] = (2, 1, 0)  # red
    image = rgb_image(Cube(tmp_path, values, np.array([440.0, 460.0, 550.0, 650.0])), quantile=0.0)
    assert image[0].tolist() == [[255, 0, 0], [128, 64, 170], [0, 255, 255]]


def test_the_visible_bands_alone_give_the_same_picture(save):
    header = save(scene())
    few = read_cube(header, visible_only=True)
    assert few.values.shape[2] < 13
    np.testing.assert_array_equal(rgb_image(few), rgb_image(read_cube(header)))


def test_a_cube_of_infrared_has_no_picture(save):
    header = save(scene(), wavelength=[str(nm + 800) for nm in NM])
    with pytest.raises(SourceError, match="no picture in visible light: its 13 bands, 1200 to 1800 nm"):
        rgb_image(read_cube(header))


def test_a_constant_cube_has_no_picture(save):
    with pytest.raises(SourceError, match="every pixel has the same colour"):
        rgb_image(read_cube(save(np.ones((8, 8, 13)))))


@pytest.mark.parametrize(
    "text", ["", "900:400", "400:900/1", "400:900/10 without 11", "400:900 without x", "400:"]
)
def test_wavelengths_that_cannot_be_read(save, text):
    with pytest.raises(UsageError, match="wavelengths: "):
        read_cube(save(scene()), text)
