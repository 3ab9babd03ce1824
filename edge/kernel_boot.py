"""Which life of the machine this is."""

from __future__ import annotations

from pathlib import Path

KERNEL_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def kernel_boot_id(path: Path = KERNEL_BOOT_ID) -> str | None:
    """What tells one life of the machine from the next; None where the system does not say."""
    try:
        return path.read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None
