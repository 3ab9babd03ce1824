"""`remoteclip compile`: the command group. Heavy packages are imported only inside the commands."""

from __future__ import annotations

import typer

from compile.commands import bundle, distill, export, gate, keygen, quantize, sign

app = typer.Typer(name="compile", no_args_is_help=True, help="Checkpoint to bundle (extra: compile).")


@app.callback()
def compile_group() -> None:
    """Checkpoint to bundle (extra: compile)."""


app.command("bundle")(bundle.bundle)
app.command("distill")(distill.distill)
app.command("export")(export.export)
app.command("gate")(gate.gate)
app.command("keygen")(keygen.keygen)
app.command("quantize")(quantize.quantize)
app.command("sign")(sign.sign)
