"""What `remoteclip check` finds out about a device file beyond its text: would its bundle be refused?"""

from __future__ import annotations

from pathlib import Path

from edge.bundle.load import DEFAULT, load_device_bundle
from firmware_cfg.device import load_device
from firmware_cfg.errors import RemoteclipError


def bundle_problem(path: Path) -> str:
    """Why the bundle of a good device file would be refused, in one line; empty where it would fly.

    Also empty where the bundle or a trusted key is not on this machine: absolute paths may be those of the
    device that flies. Raises ConfigErrors.
    """
    device = load_device(path)
    elsewhere = device.bundle != DEFAULT and not Path(device.bundle).exists()
    if elsewhere or not all(key.exists() for key in device.trusted_keys):
        return ""
    try:
        load_device_bundle(device)
    except RemoteclipError as error:
        return str(error)
    return ""
