"""`remoteclip bench`. Heavy packages are imported only in the processes that measure them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import BundleOption, SizeOption, parse_size

app = typer.Typer(name="bench", add_completion=False)


@app.command("bench")
def bench(
    bundle: BundleOption = "default",
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", metavar="FILE", help="Prompt list; default: the shipped traffic.yaml."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Data root with video/truck4.mp4 and boat1.mp4; default: $REMOTECLIP_DATA."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Write bench.json, bench.txt and bench.png there."
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="PART", help="This part only; may be repeated.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision", help="This variant of the bundle only; may be repeated. Default: int8, fp32."
        ),
    ] = None,
    image_size: SizeOption = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="RemoteCLIP-ViT-B-32.pt; default: random weights, as fast."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU cores for everybody; default: all that this process has.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each contender has.")] = 10,
    quick: Annotated[
        bool, typer.Option("--quick", help="A smoke run: a small made-up clip, one short round.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Time the daemon, stage by stage, beside what a user would pick instead, on this machine.

    Every contender runs in a process of its own; they take turns on the same clips and the same cores. The
    daemon's time is from one result to the next with everything in it, from decoding to MQTT; the others'
    begins with the decoded picture. Parts: daemon, engine, remoteclip, tower, owlvit, ceiling, preprocessing,
    vocabulary, gpu. What is not installed here is left out by name.
    """
    import json
    import sys
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from rich.console import Console

    from compile.bench.machine import limit_cores, load, machine_facts, versions
    from compile.bench.measured import Measured
    from compile.bench.process import ended_by_sigterm
    from compile.bench.report import print_report, report_console
    from compile.bench.run import run
    from compile.bench.settings import chosen_plan, video_root
    from compile.bench.targets import targets
    from compile.bench.write import write_report

    plan = chosen_plan(bundle, prompts, only, precision, weights)
    plan = replace(plan, image_size=parse_size(image_size), rounds=rounds)
    if quick:
        plan = replace(plan, quick=True, rounds=1, turn_s=0.05, starts=1)
    root = video_root(data)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    if threads is not None:
        limit_cores(threads)
    status = Console(stderr=True)

    def say(text: str) -> None:
        status.print(text, markup=False, highlight=False)

    measured = Measured(machine_facts(), versions(), plan.as_json())
    with ended_by_sigterm(), TemporaryDirectory(prefix="remoteclip-bench-") as work:
        try:
            run(plan, root, Path(work), measured, say)
        finally:
            # Also of a run that was interrupted or failed.
            measured.machine["load after"] = load()
            report = {**measured.as_json(), "targets": [target.as_json() for target in targets(measured)]}
            if out is not None:
                write_report(out, report, measured)
    if as_json:
        json.dump(report, sys.stdout)
        print()
    else:
        print_report(measured, report_console(Console()))
