"""What `remoteclip engine build` does: which engines a device needs, and having them built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.bundle.load import DEFAULT, Bundle, load_bundle, load_device_bundle
from edge.files import write_atomically
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    from edge.engines.tensorrt.choose import Choice


@dataclass(frozen=True, slots=True, eq=False)
class BuildRequest:
    """Engines of one bundle.

    Attributes:
        bundle: the verified bundle.
        precision: "auto" for all that compete, or one of them.
        sizes: (width, height) of the tiles; an engine each.
        workspace_mib: see BuildOptions.
    """

    bundle: Bundle
    precision: str
    sizes: tuple[tuple[int, int], ...]
    workspace_mib: int | None


def request_of(
    bundle: str | None, device: Path | None, precision: str, image_size: tuple[int, int] | None
) -> BuildRequest:
    """What to build for a bundle, a device file or both; what is stated here goes before the device file.

    A device file that demands signatures demands them here too: an engine is made of the bundle's graphs.

    Raises ConfigError, ConfigErrors, BundleError.
    """
    if device is None:
        loaded = load_bundle(bundle or DEFAULT)
        sizes = (image_size,) if image_size is not None else loaded.manifest.image_sizes
        return BuildRequest(loaded, precision, sizes, None)
    from firmware_cfg.device import load_device
    from firmware_cfg.prompt_list import load_prompt_list

    file = load_device(device)
    loaded = load_device_bundle(file.model_copy(update={"bundle": bundle}) if bundle else file)
    wanted = image_size or file.engine.image_size or load_prompt_list(file.prompts).model.image_size
    return BuildRequest(
        loaded,
        file.engine.precision if precision == "auto" else precision,
        (wanted,) if wanted is not None else loaded.manifest.image_sizes,
        file.engine.workspace_mib,
    )


def build_here(request: BuildRequest, *, rebuild: bool = False) -> list[Choice]:
    """Build, gate, time and keep the engines on this device's GPU, with a progress bar for each.

    Raises EngineError, MissingExtra: see EngineBuilder.
    """
    from edge.engines.tensorrt.choose import EngineBuilder
    from edge.engines.tensorrt.progress import shown_progress

    builder = EngineBuilder(request.bundle, request.workspace_mib, show=shown_progress, rebuild=rebuild)
    precisions = () if request.precision == "auto" else (request.precision,)
    return [builder.choose(size, precisions) for size in request.sizes]


def build_ahead(request: BuildRequest, targets: list[str], output: Path) -> dict[str, object]:
    """Compile one plan with tensorrt_rtx for GPUs that need not be here; returns what was written.

    Nothing can be timed or gated so: "auto" is fp16, or fp32 in a bundle without it.

    Raises EngineError, MissingExtra; OSError where `output` cannot be written.
    """
    from edge.engines.tensorrt.build import BuildOptions, build_plan
    from edge.engines.tensorrt.library import RTX, load_library
    from edge.engines.tensorrt.progress import shown_progress

    library = load_library(RTX)
    variants = {str(name): file for name, file in request.bundle.manifest.variants.items()}
    precision = request.precision
    if precision == "auto":
        precision = "fp16" if "fp16" in variants else "fp32"
    if precision not in variants:
        raise EngineError(
            f"{request.bundle.path}: no {precision} image graph in this bundle (choose {', '.join(variants)})"
        )
    width, height = size = request.sizes[0]
    options = BuildOptions(size, workspace_mib=request.workspace_mib, targets=tuple(targets))
    with shown_progress(f"{precision} {width}x{height} for {', '.join(targets)}") as on_progress:
        built = build_plan(
            library, request.bundle.file(variants[precision]), precision, options, on_progress=on_progress
        )
    try:
        write_atomically(output, built.data)
    except OSError as error:
        raise EngineError(f"{output}: cannot be written: {error.strerror}") from error
    return {
        "plan": str(output),
        "bytes": len(built.data),
        "precision": precision,
        "size": f"{width}x{height}",
        "library": str(library),
        "targets": list(targets),
        "seconds": round(built.seconds, 1),
    }
