"""Fixtures that every test folder may use."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

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


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the aerial data sets (`REMOTECLIP_DATA`, default `../shared/data`); skips where absent."""
    root = Path(os.environ.get("REMOTECLIP_DATA", REPOSITORY.parent / "shared" / "data")).expanduser()
    if not root.is_dir():
        pytest.skip(f"no aerial data at {root}: set REMOTECLIP_DATA to the folder that holds the data sets")
    return root.resolve()


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
