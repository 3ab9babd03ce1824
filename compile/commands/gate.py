"""`remoteclip compile gate`: what each variant of a bundle lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.evaluation.options import Engine, Json


def gate(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Bundle folder or archive, or `default`.")],
    checkpoint: Annotated[
        Path, typer.Argument(help="The checkpoint that it was compiled from: a folder, or CLIP weights.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Your own images with boxes or sentences; default: the set that ships."),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of --data; val: what training holds back.")] = "val",
    precision: Annotated[
        list[str] | None, typer.Option(help="This variant only; may be repeated. Default: every one.")
    ] = None,
    engine: Engine = "openvino",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; default: the runtime's choice.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write report.html with figures there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure every variant against the float32 checkpoint. Exit code 1 when one lost too much.

    The limits: mean cosine of embeddings at least 0.99 (int8; float16: 0.999), counting error up by at most
    5%, mean recall down by at most half a point; a set too small to show that is given what chance explains,
    at most three times the limit. Pair accuracy may fall by two standard errors: of an image with sentences
    and its nearest one with others, each sentence must find its own.
    """
    from training.errors import require_extra

    require_extra("compile", "torch", "onnx")
    import json

    import torch
    from rich.console import Console

    from compile.gate.measure import gate_bundle
    from compile.gate.probe import load_probe, shipped_probe
    from compile.gate.table import gate_table
    from edge.bundle.archive import bundle_folder
    from edge.bundle.load import load_bundle
    from training.checkpoint import open_checkpoint

    if threads is not None:
        torch.set_num_threads(threads)
    probe = shipped_probe() if data is None else load_probe(data, split)
    with bundle_folder(bundle) as folder:
        loaded = load_bundle(folder)
        results = gate_bundle(
            loaded,
            open_checkpoint(checkpoint),
            probe,
            engine=engine,
            threads=threads,
            precisions=precision or (),
        )
        records = {name: result.record() for name, result in results.items()}
        if report is not None:
            from compile.report.page import REPORT_NAME, write_report
            from compile.report.rows import bundle_rows

            title = f"{loaded.manifest.model}: what each variant lost"
            page = report / REPORT_NAME
            facts = {"bundle": bundle, "manifest": loaded.manifest_sha256, "checkpoint": str(checkpoint)}
            write_report(page, bundle_rows(loaded, results, {}), results, (), {}, title=title, facts=facts)
    ok = all(record.passed for record in records.values())
    if as_json:
        gates = {name: record.model_dump() for name, record in records.items()}
        print(json.dumps({"ok": ok, "n": len(probe.paths), "bundle": bundle, "gates": gates}))
    else:
        # Into a file or pipe a table is printed whole instead of folded to 80 columns.
        console = Console()
        (console if console.is_terminal else Console(width=160)).print(gate_table(records))
        if not any(record.places for record in records.values()):
            print(
                f"{probe.name}: the checkpoint finds nothing on these images: only embeddings were compared"
            )
    for name, record in records.items():
        for sentence in (*record.problems, *record.remarks):
            typer.echo(f"{name}: {sentence}", err=True)
    if not ok:
        raise typer.Exit(1)
