"""`remoteclip eval blindpairs --prompts` from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from firmware_cfg.prompt_list import load_prompt_list
from training.blindpairs.encoders import Encoder
from training.blindpairs.prompts import Confusions, confusions
from training.blindpairs.review import write_review

if TYPE_CHECKING:
    from training.evaluation.subject import Subject


def examine_prompts(
    subject: Subject,
    prompts: Path,
    images: Path,
    *,
    encoder: Encoder,
    out: Path | None,
    write: bool,
    seed: int,
) -> Confusions:
    """Examine a list, keep the run where a folder is given, and show or write the change of the list.

    The change goes to stderr, so that what is on stdout stays a report. Raises as `confusions`,
    `Confusions.write` and `write_review` do.
    """
    loaded = load_prompt_list(prompts)
    report = confusions(subject, loaded, images, encoder, seed=seed)
    if out is not None:
        report.write(out)
    change = write_review(report, loaded, write=write)
    if change:
        typer.echo(f"{change}\n{'written' if write else 'not written (--write)'}", err=True)
    else:
        typer.echo(f"{prompts}: nothing to change", err=True)
    return report
