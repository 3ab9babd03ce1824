"""`remoteclip train rectify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command("rectify")
def rectify_command(
    model: Annotated[Path, typer.Argument(help="Checkpoint folder, or a file of CLIP weights.")],
    images: Annotated[Path, typer.Argument(help="Folder of images; no labels are read.")],
    prompts: Annotated[Path, typer.Option(help="Prompt list whose maps are to be repaired.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Run folder; the checkpoint ends in OUT/checkpoint.")
    ],
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    steps: Annotated[int, typer.Option(min=0, help="Of learning; 0: the prior alone.")] = 40,
    most: Annotated[int, typer.Option("--images", min=2, help="Images to take, drawn by seed.")] = 60,
    prior: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of general favour taken away.")] = 0.2,
    image_size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Model input; default: the list's, else what suits the image."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue the run in OUT.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: torch's choice.")] = None,
) -> None:
    """Repair what a model's maps favour, from images without labels (ReCLIP)."""
    from training.errors import require_extra

    require_extra("train", "torch", "transformers", "cv2")
    import torch
    from rich.console import Console

    from edge.commands.options import parse_size
    from firmware_cfg.prompt_list import load_prompt_list
    from training.rectify.run import RectifyOptions, rectify

    if threads:
        torch.set_num_threads(threads)
    options = RectifyOptions(seed, steps, most, parse_size(image_size), prior)
    found = rectify(
        model, images, load_prompt_list(prompts).model, out, options, resume, Console(stderr=True)
    )
    print(
        f"{out / 'checkpoint'}: rectified on {found['images']} images; the affine form keeps R2"
        f" {found['r2_listed']:.3f} of the bias map"
    )
