"""The fault kinds by what they break. Importing this package enters all of them into `FAULTS`."""

from benchmarks.faults.kinds import access, broker, clock, disk, identity, inputs, link, outbox, process

__all__ = ["access", "broker", "clock", "disk", "identity", "inputs", "link", "outbox", "process"]
