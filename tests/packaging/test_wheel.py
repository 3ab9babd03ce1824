"""The wheel as a user gets it: built, installed into an empty environment, used from outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

COMMANDS = (
    "run",
    "demo",
    "check",
    "count",
    "search",
    "changes",
    "watch",
    "health",
    "prompts",
    "bundle",
    "engine",
    "bridge",
    "train",
    "eval",
    "compile",
)


def outside_environment(**changes: str) -> dict[str, str]:
    """The environment without what would lead back into the checkout."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    return {**kept, **changes}


def completed(command: list[str | Path], folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """A finished command, its output as text."""
    environment = outside_environment(**changes)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


def output_of(command: list[str | Path], folder: Path, **changes: str) -> str:
    """What a command that must succeed prints."""
    done = completed(command, folder, **changes)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build_wheel(repository: Path, folder: Path, **changes: str) -> Path:
    """The wheel of this checkout."""
    output_of(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, repository], folder, **changes
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built where there is a compiler."""
    return build_wheel(repository, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(repository: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin folder of an environment that holds the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    constraints = repository / "constraints-edge.txt"
    output_of([programs / "python", "-m", "pip", "install", "-q", "-c", constraints, wheel], folder)
    return programs


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"firmware_cfg", "edge", "console", "training", "compile"}
    assert not [name for name in names if name.endswith((".cpp", ".hpp", ".cu", ".cmake", ".pyc"))]
    for wanted in (
        "firmware_cfg/prompts/traffic.yaml",
        "firmware_cfg/devices/cpu.yaml",
        "firmware_cfg/systemd/remoteclip@.service",
        "firmware_cfg/broker/mosquitto.conf",
        "firmware_cfg/broker/acl",
        "firmware_cfg/samples/forest_edge.mp4",
        "firmware_cfg/bundles/default.sha256",
        "firmware_cfg/bundles/default/manifest.json",
        "firmware_cfg/bundles/default/tokenizer.json",
        "edge/tune/page.html",
    ):
        assert wanted in names
    assert [name for name in names if name.startswith("firmware_cfg/schemas/") and name.endswith(".json")]
    assert len([name for name in names if name.startswith("edge/native/_letterbox")]) == 1


def test_the_wheel_holds_every_file_of_the_packages(repository: Path, wheel: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "firmware_cfg", "edge", "console", "training", "compile"],
        cwd=repository, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    held = set(zipfile.ZipFile(wheel).namelist())
    missing = [name for name in listed if name not in held]
    assert [name for name in missing if not name.startswith("edge/native/")] == []


def test_the_metadata_names_no_heavy_dependency_without_an_extra(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    plain = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert plain
    assert not [
        line for line in plain if any(name in line for name in ("torch", "onnx", "timm", "transformers"))
    ]


def test_help_shows_every_group(installed: Path, tmp_path: Path) -> None:
    shown = output_of([installed / "remoteclip", "--help"], tmp_path, COLUMNS="100", TERM="dumb")
    for command in COMMANDS:
        assert f" {command} " in shown
    assert "Not available" not in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_needs_no_extra(installed: Path, tmp_path: Path, command: str) -> None:
    shown = output_of([installed / "remoteclip", command, "--help"], tmp_path, TERM="dumb")
    assert "Usage" in shown
    assert "Not available" not in shown


def test_torch_and_onnx_are_absent_and_not_missed(installed: Path, tmp_path: Path) -> None:
    script = (
        "import importlib.util as u\n"
        "assert not [n for n in ('torch', 'onnx', 'onnxruntime', 'timm', 'transformers') if u.find_spec(n)]\n"
        "import edge.pipeline, edge.mqtt.connection, edge.native\n"
        "assert 'site-packages' in edge.pipeline.__file__, edge.pipeline.__file__\n"
        "print(edge.native.LETTERBOX.kernel_name())\n"
    )
    assert output_of([installed / "python", "-c", script], tmp_path).startswith("rows_")


def test_check_works_on_the_shipped_files(installed: Path, tmp_path: Path) -> None:
    script = "import firmware_cfg, pathlib; print(pathlib.Path(firmware_cfg.__file__).parent)"
    folder = Path(output_of([installed / "python", "-c", script], tmp_path).strip())
    shipped = sorted([*folder.glob("prompts/*.yaml"), *folder.glob("devices/*.yaml")])
    assert shipped
    output_of([installed / "remoteclip", "check", *shipped], tmp_path)
    assert "native kernel" in output_of(
        [installed / "remoteclip", "check", "--system"], tmp_path, COLUMNS="200"
    )


def test_a_bad_file_gives_its_line_and_exit_code_1(installed: Path, repository: Path, tmp_path: Path) -> None:
    done = completed(
        [installed / "remoteclip", "check", repository / "tests/data/bad_threshold.yaml"], tmp_path
    )
    assert done.returncode == 1
    assert "bad_threshold.yaml:" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_daemon_runs_from_the_wheel(installed: Path, repository: Path, tmp_path: Path) -> None:
    """The committed device file, without extras and without a broker: it flies to the end."""
    device = repository / "firmware_cfg" / "devices" / "cpu.yaml"
    environment = outside_environment(
        XDG_STATE_HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path)
    )
    daemon = subprocess.run(
        [installed / "remoteclip", "run", device],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = daemon.stdout + daemon.stderr
    assert daemon.returncode == 0, said
    assert "stopped: end of source" in said
    assert "Traceback" not in said


def test_without_a_compiler_it_installs_and_uses_opencv(
    installed: Path, repository: Path, tmp_path: Path
) -> None:
    wheel = build_wheel(repository, tmp_path, CC="/bin/false", CXX="/bin/false")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
        archive.extractall(tmp_path / "pure")
    script = (
        "import edge.native, numpy\n"
        "from edge.frames import RgbImage\n"
        "from edge.letterbox import letterbox\n"
        "assert edge.native.LETTERBOX is None\n"
        "print(edge.native.UNAVAILABLE, letterbox(RgbImage(numpy.zeros((9, 9, 3), 'u1')), 32, 32)[0].shape)\n"
    )
    environment = outside_environment(PYTHONPATH=str(tmp_path / "pure"))
    done = subprocess.run(
        [installed / "python", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "compiler" in done.stdout
    assert "(32, 32, 3)" in done.stdout


# JetPack 6 is Ubuntu 22.04 with glibc 2.35, JetPack 7 is Ubuntu 24.04 with glibc 2.39.
@pytest.mark.parametrize(("python", "platform"), [("3.10", "manylinux_2_35"), ("3.12", "manylinux_2_39")])
def test_the_drones_dependencies_have_wheels_for_jetson(
    repository: Path, tmp_path: Path, python: str, platform: str
) -> None:
    command: list[str | Path] = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
    command += [
        "--python-version",
        python,
        "--python-platform",
        f"aarch64-{platform}",
        "--only-binary",
        ":all:",
    ]
    for extra in ("demo", "onnxruntime", "mavlink", "cot", "hyperspectral"):
        command += ["--extra", extra]
    command += ["--no-binary", "spectral"]  # pure Python that comes as source alone
    command += ["-c", repository / "constraints-edge.txt"]
    resolved = output_of([*command, repository / "pyproject.toml"], tmp_path)
    assert "openvino==" in resolved
    assert "torch==" not in resolved
