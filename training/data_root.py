"""Where the data sets lie."""

from __future__ import annotations

import os
from pathlib import Path

from firmware_cfg.errors import UsageError

VARIABLE = "REMOTECLIP_DATA"
_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def data_root(given: Path | None = None) -> Path:
    """The folder named, else $REMOTECLIP_DATA, else `../shared/data` beside the checkout.

    Raises UsageError where there is no such folder.
    """
    root = given or Path(os.environ.get(VARIABLE) or _BESIDE_THE_CHECKOUT)
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder (name the data root with --data or ${VARIABLE})")
    return root
