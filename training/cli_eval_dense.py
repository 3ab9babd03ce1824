"""`remoteclip eval dense`: prompts as maps, on sets of masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.evaluation.options import Data, Form, Json, Split, finish, require_train

if TYPE_CHECKING:
    from edge.prompts.rectification import Rectification
    from firmware_cfg.prompt_list import LoadedPromptList
    from training.checkpoint import AnyCheckpoint

app = typer.Typer()


@app.command("dense")
def dense(
    model: Annotated[Path, typer.Argument(help="Checkpoint folder, or a file of CLIP weights.")],
    data: Data,
    prompts: Annotated[
        Path | None, typer.Option(help="Prompt list; default: the one that ships for a set of this name.")
    ] = None,
    split: Split = "test",
    form: Form = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="PROMPT=NAME[,NAME]",
            help="The set's classes that a prompt stands for; default: the one of its name. May be repeated.",
        ),
    ] = None,
    rectification: Annotated[
        str | None,
        typer.Option(metavar="FILE|none", help="A rectification.npz; default: the checkpoint's own."),
    ] = None,
    others: Annotated[
        str | None,
        typer.Option(
            metavar="background|ignore",
            help="What pixels of classes without a prompt are; default: background where it can be answered.",
        ),
    ] = None,
    least: Annotated[
        float | None,
        typer.Option("--threshold", min=0.0, max=1.0, help="Score below which a pixel is background."),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Model input; default: the list's, else what suits the image."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="DIR", help="Also draw maps and classes here.")] = None,
    maps: Annotated[int, typer.Option(min=0, help="Images to draw the maps of.")] = 12,
    as_json: Json = False,
) -> None:
    """Dense labels: mIoU of the prompts' maps, before and after rectification, background told openly."""
    require_train()
    from edge.commands.options import parse_size
    from firmware_cfg.errors import UsageError
    from training.errors import require_extra
    from training.evaluation.dense import OTHERS, DenseOptions, evaluate_dense
    from training.evaluation.dense_tables import dense_table

    way = next((name for name in OTHERS if name == others), None)
    if others is not None and way is None:
        raise UsageError(f"--others is {' or '.join(OTHERS)}, not {others}")
    if plot is not None:
        require_extra("train", "matplotlib")
        plot.mkdir(parents=True, exist_ok=True)
    options = DenseOptions(
        classes=_classes(classes or []),
        form=form,
        image_size=parse_size(image_size),
        least=least,
        others=way,
        plot=plot,
        maps=maps,
    )
    listed = _prompts(prompts, data)
    checkpoint = _checkpoint(model)
    report = evaluate_dense(
        checkpoint, data, split, listed.model, options, _rectification(rectification, checkpoint)
    )
    finish(report, None if as_json else dense_table(report), None)


def _classes(stated: list[str]) -> dict[str, list[str]]:
    from firmware_cfg.errors import UsageError

    found: dict[str, list[str]] = {}
    for text in stated:
        prompt, _, names = text.partition("=")
        listed = [name.strip() for name in names.split(",") if name.strip()]
        if not prompt or not listed:
            raise UsageError(f"--class {text}: expected PROMPT=NAME[,NAME], such as tree=tree,bald-tree")
        found.setdefault(prompt, []).extend(listed)
    return found


def _prompts(file: Path | None, data: Path) -> LoadedPromptList:
    from firmware_cfg.errors import UsageError
    from firmware_cfg.prompt_list import load_prompt_list

    if file is None:
        shipped = Path(__file__).parent / "evaluation" / "dense_prompts"
        file = shipped / f"{data.absolute().name}.yaml"
        if not file.is_file():
            known = ", ".join(sorted(path.stem for path in shipped.glob("*.yaml")))
            raise UsageError(f"{data}: no prompt list ships for a set of this name: give --prompts ({known})")
    return load_prompt_list(file)


def _checkpoint(model: Path) -> AnyCheckpoint:
    from edge.bundle.load import DEFAULT
    from edge.bundle.manifest import MANIFEST_NAME
    from firmware_cfg.errors import UsageError
    from training.checkpoint import MODEL_FILE, open_checkpoint

    if str(model) == DEFAULT or (model / MANIFEST_NAME).is_file():
        raise UsageError(
            f"{model}: a bundle, whose graph tells of its strongest places only, not of every pixel"
            " (name the checkpoint that it was compiled from)"
        )
    if not model.is_file() and not (model / MODEL_FILE).is_file():
        raise UsageError(f"{model}: no checkpoint (name a folder with {MODEL_FILE})")
    return open_checkpoint(model)


def _rectification(stated: str | None, checkpoint: AnyCheckpoint) -> Rectification | None:
    from edge.prompts.rectification import load_rectification
    from training.models.lite import POSITION_WIDTH
    from training.torch_engine import model_facts

    if stated is None:
        return checkpoint.rectification
    if stated == "none":
        return None
    return load_rectification(Path(stated), model_facts(checkpoint).embedding_width, POSITION_WIDTH)
