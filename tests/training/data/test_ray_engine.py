"""On a real Ray cluster of two nodes, each with a scheduler and workers of its own, on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from training.data.build import build
from training.data.engine import LocalEngine, create_engine
from training.data.recipe import DataRecipe
from training.errors import DataError

ray = pytest.importorskip("ray", reason="ray (extra: ray) is not installed")
cluster_utils = pytest.importorskip("ray.cluster_utils")


def _start_node(cluster: Any, **options: Any) -> None:
    """Ray gives a node thirty seconds to come up, however busy the machine is: a second try, then no test."""
    for last in (False, True):
        try:
            cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, include_log_monitor=False, **options)
            return
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            if last:
                pytest.skip("this machine is too busy: Ray's node did not come up within its thirty seconds")


@pytest.fixture(scope="module")
def two_nodes(repository: Path) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        # Workers are processes of their own and must find the package; nothing is to be sent anywhere.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        cluster = cluster_utils.Cluster()
        try:
            _start_node(cluster, include_dashboard=False)
            _start_node(cluster)
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def test_two_nodes_write_the_same_shards(
    two_nodes: Any, faulty_root: Path, recipe_of: Callable[..., DataRecipe], tmp_path: Path
) -> None:
    build(recipe_of(), faulty_root, tmp_path / "ray", create_engine("ray"))
    build(recipe_of(), faulty_root, tmp_path / "local", LocalEngine(1))
    for name in ("shards", "manifest.json", "report.json", "report.md"):
        theirs, ours = tmp_path / "ray" / name, tmp_path / "local" / name
        if ours.is_dir():
            assert {p.name: p.read_bytes() for p in theirs.iterdir()} == {
                p.name: p.read_bytes() for p in ours.iterdir()
            }
        else:
            assert theirs.read_bytes() == ours.read_bytes()


def test_both_nodes_take_part_and_every_task_is_answered(two_nodes: Any) -> None:
    def where(task: int) -> tuple[int, str]:
        import time

        time.sleep(0.2)
        return task, ray.get_runtime_context().get_node_id()

    results = dict(create_engine("ray").run(where, range(100, 112)))
    assert {index: task for index, (task, _) in results.items()} == {i: 100 + i for i in range(12)}
    assert len({node for _, node in results.values()}) == 2


def test_an_error_of_a_task_arrives_as_it_was_raised(two_nodes: Any) -> None:
    def fail(task: int) -> int:
        raise DataError(f"task {task}: no such image")

    with pytest.raises(DataError, match=r"^task 7: no such image$"):
        list(create_engine("ray").run(fail, [7]))
