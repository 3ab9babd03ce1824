"""The fault kinds by what they break. Importing this package enters all of them into `FAULTS`."""

from benchmarks.faults.kinds import broker, disk, link, process

__all__ = ["broker", "disk", "link", "process"]
