"""Fixtures that every test folder may use."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, or making it, says something about the machine, not about the code.
# In CI the same examples every time: a change fails there for what it did, not for what was drawn; the
# machines of developers go on looking for new ones.
settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("untimed")

# Tests that a script starts in the background ignore Ctrl-C, and so do their child processes: what a
# test interrupts would run on to its limit. A handler is not inherited, so those begin without one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


_FIRST = {"system": 0, "compile": 1, "training": 2}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest first, so that no process is left alone with a long one at the end."""
    items.sort(key=lambda item: _FIRST.get(item.path.relative_to(REPOSITORY / "tests").parts[0], len(_FIRST)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """What runs in one process of `pytest -n 2 --dist loadscope`.

    Tests of a folder share what its conftest makes (a model, an export); those of the packages' own folders
    share little, and go by file. Whole programs wait for one another and for clocks: one after the other,
    beside tests that compute. Not by xdist's own groups: 3.8 cannot hand them on under pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            folders = file.split("/")[1:-1]
            return "/".join(folders) if len(folders) > 1 or folders == ["system"] else file

    return ByFolder(config, log)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the aerial data sets (`REMOTECLIP_DATA`, default `../shared/data`); skips where absent."""
    root = Path(os.environ.get("REMOTECLIP_DATA", REPOSITORY.parent / "shared" / "data")).expanduser()
    if not root.is_dir():
        pytest.skip(f"no aerial data at {root}: set REMOTECLIP_DATA to the folder that holds the data sets")
    return root.resolve()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium, driven by playwright; skips where one of them is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium on the path (apt-get install chromium)")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=options)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout that the tests run from."""
    return REPOSITORY


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """`with full_disk(limit):` no file can grow beyond `limit` bytes: the kernel refuses to write."""

    @contextmanager
    def limited(limit: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
