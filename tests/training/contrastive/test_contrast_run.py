"""Whole runs of tiny towers, killed, resumed, and shared among processes that torchrun starts."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from firmware_cfg.errors import RemoteclipError, UsageError
from training.checkpoint import load_state
from training.contrastive.state import freeze_unused
from training.errors import CheckpointError
from training.processes import Processes

Command = Callable[..., list[str]]
STEPS, AN_EPOCH = 6, 4


@pytest.fixture(scope="module")
def whole_run(tiny: ModuleType, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    tiny.train(shards, out)
    return out


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def start(
    command: list[str], environment: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=dict(environment), cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_run_leaves_its_log_metrics_card_and_best_checkpoint(whole_run: Path) -> None:
    entries = log(whole_run)
    assert [entry["step"] for entry in entries] == list(range(1, STEPS + 1))
    assert entries[0]["learning_rate"] == pytest.approx(0.005)  # half-way through a warm-up of two
    assert entries[1]["learning_rate"] == entries[2]["learning_rate"] == pytest.approx(0.01)
    assert 0 < entries[-1]["learning_rate"] < entries[-2]["learning_rate"]

    metrics = json.loads((whole_run / "metrics.json").read_text())
    history = metrics["history"]
    assert [entry["step"] for entry in history] == [3, 6]
    assert history[0]["loss"] == pytest.approx(sum(entry["loss"] for entry in entries[:3]) / 3)
    best = max(history, key=lambda entry: entry["mean_recall"])
    assert metrics["validation"] == best
    assert best["images"] == 5
    assert best["captions"] == 10
    recalls = [value for name, value in best.items() if "2" in name]
    assert best["mean_recall"] == pytest.approx(sum(recalls) / 6)

    kept = json.loads((whole_run / "checkpoint" / "metrics.json").read_text())
    assert kept["validation"] == best
    assert kept["training"]["pairs_seen"] == best["step"] * 8
    card = (whole_run / "checkpoint" / "card.md").read_text()
    assert "| drawn | captions | 34 | 76 | CC0-1.0 | these tests |" in card
    assert f"Kept: step {best['step']} of 6" in card
    assert "n = 5 images and 10" in card
    assert "Initial weights: drawn at random." in card


def test_training_moves_what_is_used_and_keeps_batch_norm_statistics(
    whole_run: Path, tiny: ModuleType
) -> None:
    trained, fresh = load_state(whole_run / "state.pt")["towers"], tiny.TinyTowers().state_dict()
    moved = {name for name, value in fresh.items() if not torch.equal(trained[name], value)}
    assert {"conv.weight", "norm.weight", "head.bias", "letters.weight", "scale"} <= moved
    assert not {name for name in moved if name.startswith(("unused", "norm.running"))}


def test_a_run_killed_in_mid_epoch_resumes_to_the_weights_of_an_uninterrupted_one(
    whole_run: Path,
    tiny: ModuleType,
    tiny_command: Command,
    child_environment: dict[str, str],
    shards: Path,
    tmp_path: Path,
) -> None:
    """kill -9 after step 5; step 4 was the last that was saved. An epoch is four steps."""
    out = tmp_path / "run"
    killed = start(tiny_command(shards, out, "--kill-at", 5), child_environment, tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [entry["step"] for entry in log(out)] == [1, 2, 3, 4, 5]
    assert load_state(out / "state.pt")["step"] == 4
    with (out / "log.jsonl").open("a") as torn:
        torn.write('{"step": 6, "ti')

    with pytest.raises(UsageError, match=r"holds a run already .*--resume"):
        tiny.train(shards, out)
    with pytest.raises(UsageError, match="follows another recipe"):
        tiny.train(shards, out, resume=True, learning_rate=0.5)

    best, _ = tiny.train(shards, out, resume=True)
    assert [entry["step"] for entry in log(out)] == list(range(1, STEPS + 1))
    found, expected = load_state(out / "state.pt"), load_state(whole_run / "state.pt")
    # The same arithmetic in the same order: equal but for what other threads do to the order of sums.
    torch.testing.assert_close(found["towers"], expected["towers"], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found["optimizer"], expected["optimizer"], rtol=1e-6, atol=1e-7)
    for entry, wanted in zip(found["history"], expected["history"], strict=True):
        assert entry == pytest.approx(wanted)
    assert best == pytest.approx(max(expected["history"], key=lambda entry: entry["mean_recall"]))

    events = scalars(out)
    assert events["train/loss"] == pytest.approx({e["step"]: e["loss"] for e in log(whole_run)})
    assert set(events["validation/mean_recall"]) == {3, 6}


def scalars(out: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows: by curve, the value of every step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    curves: dict[str, dict[int, float]] = {}
    for name in board.Tags()["scalars"]:
        events = board.Scalars(name)
        curves[name] = {event.step: event.value for event in events}
        assert len(curves[name]) == len(events)  # no step twice, though the killed run took one more
    return curves


def test_two_processes_train_as_one_does_on_the_same_global_batch(
    tiny: ModuleType,
    tiny_command: Command,
    child_environment: dict[str, str],
    shards: Path,
    tmp_path: Path,
) -> None:
    """Two gloo processes with accumulated, chunked batches against one process that does without chunks."""
    schedule = {"accumulate": 2, "steps": 4, "save_every": 4}
    chunked = json.dumps({**schedule, "chunk": 3})
    done = start(tiny_command(shards, tmp_path / "two", chunked, processes=2), child_environment, tmp_path)
    assert done.returncode == 0, done.stderr
    tiny.train(shards, tmp_path / "one", **schedule)
    two, one = (load_state(tmp_path / name / "state.pt") for name in ("two", "one"))
    for found, expected in zip(log(tmp_path / "two"), log(tmp_path / "one"), strict=True):
        for name in ("loss", "gradient_norm", "scale"):
            assert found[name] == pytest.approx(expected[name], rel=1e-4)
    # Sums over the batch are split differently, and Adam divides by small numbers.
    torch.testing.assert_close(two["towers"], one["towers"], rtol=1e-4, atol=1e-5)
    assert [e["mean_recall"] for e in two["history"]] == [e["mean_recall"] for e in one["history"]]
    metrics = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert metrics["training"]["processes"] == 2


def test_accumulating_batches_is_averaging_their_gradients(
    tiny: ModuleType, shards: Path, tmp_path: Path
) -> None:
    """One step of two batches, without Adam in between: the log's norm is that of the mean gradient."""
    how = {"steps": 1, "warmup": 0, "gradient_clip": None, "learning_rate": 1e-12}
    norms = {}
    for count in (1, 2):
        tiny.train(shards, tmp_path / str(count), accumulate=count, **how)
        norms[count] = log(tmp_path / str(count))[0]
    tiny.train(shards, tmp_path / "both", **{**how, "steps": 2})
    each = log(tmp_path / "both")
    assert norms[2]["loss"] == pytest.approx((each[0]["loss"] + each[1]["loss"]) / 2, rel=1e-5)
    assert norms[1]["gradient_norm"] == pytest.approx(each[0]["gradient_norm"])
    assert norms[2]["gradient_norm"] < (each[0]["gradient_norm"] + each[1]["gradient_norm"]) / 2


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains_and_resumes(
    tiny: ModuleType, shards: Path, tmp_path: Path, precision: str
) -> None:
    how = {"precision": precision, "steps": 16, "evaluate_every": 16, "save_every": 16}
    tiny.train(shards, tmp_path / "run", **how)
    losses = [entry["loss"] for entry in log(tmp_path / "run")]
    assert sum(losses[-AN_EPOCH:]) < sum(losses[:AN_EPOCH])
    scale = load_state(tmp_path / "run" / "state.pt")["scaler"]
    assert bool(scale) is (precision == "float16")
    tiny.train(shards, tmp_path / "run", resume=True, **how)
    assert [entry["loss"] for entry in log(tmp_path / "run")] == losses


def test_a_loss_that_is_no_number_ends_the_run_with_a_mend(
    tiny: ModuleType, shards: Path, tmp_path: Path
) -> None:
    towers = tiny.TinyTowers()
    with torch.no_grad():
        towers.scale.fill_(float("nan"))
    with pytest.raises(RemoteclipError, match=r"step 1: the loss or its gradient is not a number .*lower"):
        tiny.train(shards, tmp_path / "run", towers=towers)


def test_what_cannot_work_is_refused(
    tiny: ModuleType, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"towers": {}, "optimizer": {}, "scaler": {}}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"state\.pt: not the state of this model"):
        tiny.train(shards, tmp_path, resume=True)
    peers = Processes(0, 3, torch.device("cpu"))
    monkeypatch.setattr(tiny, "joined", lambda: _Given(peers))
    with pytest.raises(UsageError, match="3 processes cannot share a batch of 8"):
        tiny.train(shards, tmp_path / "run")
    assert not (tmp_path / "run").exists()


class _Given:
    def __init__(self, processes: Processes) -> None:
        self.processes = processes

    def __enter__(self) -> Processes:
        return self.processes

    def __exit__(self, *_: object) -> None:
        """Nothing was joined."""


def test_parameters_of_no_embedding_are_left_alone(tiny: ModuleType) -> None:
    towers = tiny.TinyTowers()
    towers.letters.requires_grad_(False)
    freeze_unused(towers)
    frozen = {name for name, parameter in towers.named_parameters() if not parameter.requires_grad}
    assert frozen == {"unused.weight", "unused.bias", "letters.weight"}
