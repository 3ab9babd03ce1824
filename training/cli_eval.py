"""`remoteclip eval`: the command group. Every evaluation prints one JSON object as its last line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli_eval_blindpairs import app as blindpairs
from training.cli_eval_dense import app as dense
from training.cli_eval_hyperspectral import app as hyperspectral
from training.cli_eval_objects import app as objects
from training.evaluation.options import (
    Candidates,
    Data,
    Engine,
    Epochs,
    Json,
    Model,
    Plot,
    Protocol,
    Seed,
    Split,
    Threads,
    finish,
    require_train,
    subject_of,
)

app = typer.Typer(
    name="eval",
    no_args_is_help=True,
    help="Evaluations of bundles by the drone's own engine, and of checkpoints in torch (extra: train).",
)
app.add_typer(objects)
app.add_typer(blindpairs)
app.add_typer(dense)
app.add_typer(hyperspectral)


@app.callback()
def eval_group() -> None:
    """Evaluations of bundles by the drone's own engine, and of checkpoints in torch (extra: train)."""


@app.command("zeroshot")
def zeroshot(
    model: Model,
    data: Data,
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "all",
    protocol: Protocol = "default",
    engine: Engine = "openvino",
    threads: Threads = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Zero-shot top-1 of whole images, classes from folder names or labels."""
    subject = subject_of(model, engine, threads, plot)
    from training.evaluation.scenes import evaluate_zeroshot
    from training.evaluation.tables import zeroshot_table

    report = evaluate_zeroshot(subject, data, split, protocol)
    finish(report, None if as_json else zeroshot_table([report]), plot)


@app.command("retrieval")
def retrieval(
    model: Model,
    data: Data,
    split: Split = "test",
    engine: Engine = "openvino",
    threads: Threads = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Caption retrieval: recall at 1, 5 and 10 both ways, and their mean."""
    subject = subject_of(model, engine, threads, plot)
    from training.evaluation.scenes import evaluate_retrieval
    from training.evaluation.tables import retrieval_table

    report = evaluate_retrieval(subject, data, split)
    finish(report, None if as_json else retrieval_table([report]), plot)


@app.command("probe")
def probe(
    model: Model,
    data: Data,
    candidates: Candidates = 12,
    epochs: Epochs = 1000,
    seed: Seed = 0,
    engine: Engine = "openvino",
    threads: Threads = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Linear probe: a linear classifier on frozen image embeddings, its settings chosen on validation."""
    subject = subject_of(model, engine, threads, plot)
    from training.evaluation.probe import evaluate_probe
    from training.evaluation.scene_tables import probe_table

    report = evaluate_probe(subject, data, candidates=candidates, epochs=epochs, seed=seed)
    finish(report, None if as_json else probe_table(report), plot)


@app.command("knn")
def knn(
    model: Model,
    data: Data,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Neighbours that vote.")] = 20,
    temperature: Annotated[float, typer.Option(min=1e-3, help="Of the votes exp(cosine / T).")] = 0.07,
    engine: Engine = "openvino",
    threads: Threads = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """k-NN on frozen image embeddings; also with the k that validation chooses."""
    subject = subject_of(model, engine, threads, plot)
    from training.evaluation.knn import evaluate_knn
    from training.evaluation.scene_tables import knn_table

    report = evaluate_knn(subject, data, k=k, temperature=temperature)
    finish(report, None if as_json else knn_table(report), plot)


@app.command("fewshot")
def fewshot(
    model: Model,
    data: Data,
    shots: Annotated[list[int] | None, typer.Option(min=1, help="Images a class; may be repeated.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="How often the images are drawn anew.")] = 5,
    candidates: Candidates = 12,
    epochs: Epochs = 1000,
    protocol: Protocol = "default",
    seed: Seed = 0,
    engine: Engine = "openvino",
    threads: Threads = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Few-shot: a linear classifier from 1, 4, 8, 16 and 32 images a class, with zero-shot beside it."""
    subject = subject_of(model, engine, threads, plot)
    from training.evaluation.fewshot import SHOTS, evaluate_fewshot
    from training.evaluation.scene_tables import fewshot_table

    report = evaluate_fewshot(
        subject,
        data,
        shots=shots or SHOTS,
        draws=draws,
        candidates=candidates,
        epochs=epochs,
        protocol=protocol,
        seed=seed,
    )
    finish(report, None if as_json else fewshot_table(report), plot)


@app.command("accuracy")
def accuracy(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL... [DATA]", help="Models, then the data root; default: $REMOTECLIP_DATA."
        ),
    ],
    only: Annotated[list[str] | None, typer.Option(help="Measure this set alone; may be repeated.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Keep finished sets in this folder, to go on where a run stopped.")
    ] = None,
    engine: Engine = "openvino",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Every figure of the model's table on held-back data; of several models side by side."""
    require_train()
    from training.evaluation.accuracy import evaluate_accuracy, models_and_root
    from training.evaluation.subject import open_subject
    from training.evaluation.tables import accuracy_table

    models, root = models_and_root(paths)
    subjects = [open_subject(model, engine=engine, threads=threads) for model in models]
    report = evaluate_accuracy(subjects, root, only=only or (), out=out)
    finish(report, None if as_json else accuracy_table(report), None)
