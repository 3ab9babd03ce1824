"""`remoteclip bundle`: what a model bundle is worth on this device, and which one it flies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.commands.options import EngineName, JsonOption, ThreadsOption
from firmware_cfg.errors import ConfigError, ConfigErrors, UsageError

if TYPE_CHECKING:
    from edge.bundle.slot_state import Slot, SlotState
    from edge.bundle.slots import BundleSlots, Terms
    from firmware_cfg.device import DeviceFile
    from firmware_cfg.prompt_list import LoadedPromptList

app = typer.Typer(name="bundle", no_args_is_help=True, help="Verify, install and change model bundles.")

DeviceOption = Annotated[
    Path | None,
    typer.Option("--device", metavar="FILE", help="Device file whose `bundle` names the folder of slots."),
]
SlotsOption = Annotated[
    Path | None, typer.Option("--slots", metavar="FOLDER", help="The folder of slots, without a device file.")
]
KeysOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--key",
        metavar="FILE.pub",
        help="With --slots; may be repeated; one of these keys must have signed the bundle.",
    ),
]


@app.callback()
def bundle() -> None:
    """Verify, install and change model bundles."""


@app.command("verify")
def verify(
    path: Annotated[
        str, typer.Argument(metavar="[BUNDLE]", help="Its folder or archive; default: the shipped one.")
    ] = "default",
    engine: Annotated[
        list[EngineName] | None,
        typer.Option("--engine", help="May be repeated; default: openvino."),
    ] = None,
    keys: Annotated[
        list[Path] | None,
        typer.Option(
            "--key",
            metavar="FILE.pub",
            help="May be repeated; one of these keys must have signed the bundle.",
        ),
    ] = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check hashes and signature, then run the golden vectors on this machine. Exit code 1 if any is off."""
    import json

    from edge.bundle.verify import verify_bundle

    report = verify_bundle(
        path, [name.value for name in engine] if engine else None, threads, trusted_keys=keys or ()
    )
    if as_json:
        typer.echo(json.dumps(report.as_dict()))
    else:
        manifest = report.bundle.manifest
        typer.echo(f"{report.name}: {manifest.model}, {len(manifest.files)} files as the manifest says")
        typer.echo(f"manifest {report.bundle.manifest_sha256}")
        typer.echo(report.signature)
        if manifest.rectified:
            typer.echo("rectified: every prompt gets a bias and position columns by its embedding")
        for check in report.golden:
            largest = ", ".join(f"{name} {value:.2g}" for name, value in check.differences.items())
            places = f"; {check.places - check.missing} of {check.places} places" if check.places else ""
            measured = f" ({largest}{places})" if largest else ""
            typer.echo(f"{check.engine} {check.precision}: {'off' if check.problems else 'ok'}{measured}")
        for sentence in report.regressions:
            typer.echo(f"lost when this bundle was made, and let pass: {sentence}")
        for problem in report.problems:
            typer.echo(problem, err=True)
    if not report.ok:
        raise typer.Exit(1)


@app.command("install")
def install(
    source: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="Its archive or folder, or `default` for the shipped one.")
    ],
    device: DeviceOption = None,
    slots: SlotsOption = None,
    engine: Annotated[
        EngineName | None,
        typer.Option("--engine", help="With --slots: runs the self-test; default: openvino."),
    ] = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a bundle into the slot that does not fly, if it is whole, signed as demanded and passes a test."""
    import json

    from edge.bundle.verify import self_test
    from firmware_cfg.device import Engine

    place, terms, file = _place(device, slots, keys)
    if file is not None and engine is not None:
        raise UsageError("remoteclip bundle install: --engine goes with --slots; a device file names its own")
    wanted = file.engine if file is not None else Engine(name=(engine or EngineName.openvino).value)
    prompts = _lists_that_fly(file) if file is not None else []
    done = place.install(source, terms, lambda new: self_test(new, wanted, prompts))
    folder = place.path(done.slot)
    if as_json:
        facts = {
            "folder": str(folder),
            "slot": done.slot,
            "model": done.installed.model,
            "manifest_sha256": done.installed.manifest_sha256,
            "signature": done.voucher,
            "was_active": done.was_active,
        }
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"{done.installed.model}, manifest {done.installed.manifest_sha256}")
    typer.echo(done.voucher)
    if done.was_active:
        typer.echo(f"{folder}: is this bundle and active already; nothing was installed")
        return
    typer.echo(f"{folder}: installed, its self-test passed on {wanted.name}")
    if wanted.name == "tensorrt":
        typer.echo(f"its engines are built by: remoteclip engine build {folder} --device {device}")
    typer.echo(f"it flies after: remoteclip bundle activate {_again(device, slots)}, and a restart")


@app.command("activate")
def activate(
    device: DeviceOption = None,
    slots: SlotsOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the bundle that was installed last fly from the next start on, on trial until it proves itself."""
    place, terms, _ = _place(device, slots, keys)
    _print(place, place.activate(terms), as_json)


@app.command("rollback")
def rollback(
    device: DeviceOption = None,
    slots: SlotsOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the previous bundle fly again from the next start on."""
    place, terms, _ = _place(device, slots, keys)
    _print(place, place.rollback(terms), as_json)


@app.command("show")
def show(device: DeviceOption = None, slots: SlotsOption = None, as_json: JsonOption = False) -> None:
    """Show what is in the slots, which one flies, and why one was rolled back."""
    place, _, _ = _place(device, slots, None)
    _print(place, place.state(), as_json)


def _place(
    device: Path | None, slots: Path | None, keys: list[Path] | None
) -> tuple[BundleSlots, Terms, DeviceFile | None]:
    """The slots, what signatures they demand, and the device file if one was named."""
    from edge.bundle.slots import BundleSlots, Terms
    from firmware_cfg.device import DEFAULT_BUNDLE, load_device

    if (device is None) == (slots is None):
        raise UsageError("remoteclip bundle: name the device file with --device, or its slots with --slots")
    if slots is not None:
        return BundleSlots(slots), Terms(tuple(keys or ()), bool(keys)), None
    if device is None or keys:
        raise UsageError("remoteclip bundle: --key goes with --slots; a device file names its trusted_keys")
    file = load_device(device, bundle_must_exist=False)
    if file.bundle == DEFAULT_BUNDLE:
        problem = "bundle is the shipped one, not a folder of slots"
        raise ConfigError(str(device), 0, 0, problem, "bundle: /var/lib/remoteclip/bundles, for example")
    return BundleSlots(Path(file.bundle)), Terms.of(file), file


def _lists_that_fly(file: DeviceFile) -> list[LoadedPromptList]:
    """The list that the device file names and, where it is another, the one in force, sent or called back."""
    from edge.prompts.owner import ShelfError
    from edge.prompts.shelf import FOLDER_NAME, list_path, read_list, read_record
    from firmware_cfg.prompt_list import load_prompt_bytes, load_prompt_list

    lists, shelf = [load_prompt_list(file.prompts)], Path(file.state_dir) / FOLDER_NAME
    try:
        record = read_record(shelf)
        if record is not None and record.in_force.sha256 != lists[0].sha256:
            sha256 = record.in_force.sha256
            lists.append(load_prompt_bytes(read_list(shelf, sha256), str(list_path(shelf, sha256))))
    except (ShelfError, ConfigErrors) as error:
        typer.echo(f"{error}; the bundle is not tried with the list in force", err=True)
    return lists


def _again(device: Path | None, slots: Path | None) -> str:
    return f"--slots {slots}" if device is None else f"--device {device}"


def _print(place: BundleSlots, state: SlotState, as_json: bool) -> None:
    from edge.bundle.slot_state import SLOTS

    if as_json:
        typer.echo(state.model_dump_json())
        return
    typer.echo(str(place.folder))
    for slot in SLOTS:
        item = state.installed.get(slot)
        what = f"{item.model} {item.manifest_sha256[:12]}, {item.installed_at:%F %T}Z" if item else "empty"
        typer.echo(f"{slot}: {what}{_role(state, slot)}")
    if (left := state.rolled_back) is not None:
        how = "rolled back by itself" if left.automatic else "rolled back"
        typer.echo(f"{left.manifest_sha256[:12]} was {how} at {left.at:%F %T}Z: {left.reason}")


def _role(state: SlotState, slot: Slot) -> str:
    if slot == state.previous:
        return "; flew before"
    if slot != state.active:
        return ""
    return f"; flies, on trial with {state.starts_left} starts left" if state.on_trial else "; flies"
