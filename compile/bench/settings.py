"""What the command line asks for, checked before anything is measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from compile.bench.plan import PARTS, Plan
from edge.bundle.load import load_bundle
from firmware_cfg.device import DEFAULT_BUNDLE
from firmware_cfg.errors import UsageError
from firmware_cfg.prompt_list import load_prompt_list
from training.data_root import data_root

TRAFFIC = Path(__file__).resolve().parents[2] / "firmware_cfg" / "prompts" / "traffic.yaml"
PRECISIONS = ("int8", "fp32")


def chosen_plan(
    bundle: str,
    prompts: Path | None,
    only: Sequence[str] | None,
    precision: Sequence[str] | None,
    weights: Path | None,
) -> Plan:
    """A plan with absolute paths, every file of it read once.

    Raises UsageError for a part, variant or file that is not there, BundleError, ConfigErrors.
    """
    if unknown := [part for part in only or () if part not in PARTS]:
        raise UsageError(f"--only {unknown[0]}: no such part (parts: {', '.join(PARTS)})")
    loaded = load_bundle(bundle)
    here = loaded.manifest.variants
    if missing := [name for name in precision or () if name not in here]:
        raise UsageError(f"--precision {missing[0]}: not in {loaded.path} (variants: {', '.join(here)})")
    if weights is not None and not weights.is_file():
        raise UsageError(
            f"{weights}: no such file (RemoteCLIP's weights; leave --weights out for random ones)"
        )
    wanted = (prompts or TRAFFIC).absolute()
    load_prompt_list(wanted)
    return Plan(
        # In the order of PARTS, whatever the order of the options.
        parts=tuple(part for part in PARTS if not only or part in only),
        bundle=bundle if bundle == DEFAULT_BUNDLE else str(Path(bundle).absolute()),
        prompts=wanted,
        precisions=tuple(precision or ()) or tuple(name for name in PRECISIONS if name in here),
        weights=None if weights is None else weights.absolute(),
    )


def video_root(data: Path | None) -> Path | None:
    """The data root that was named, or that is found; None where there is none. Raises UsageError."""
    try:
        return data_root(data)
    except UsageError:
        if data is not None or os.environ.get("REMOTECLIP_DATA"):
            raise
        return None
