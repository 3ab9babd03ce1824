"""The control room: a client that keeps to the documented procedure, and so loses nothing."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from benchmarks.faults.client import Client, Heard
from firmware_cfg.topics import ALL_DEVICES


class ControlRoom(Client):
    """Subscribes to everything with a kept session, and asks for the events that its gaps show.

    A gap is a `seq` that is missing below the highest one of its `boot_id`, or between two lives of one
    outbox, whose numbers go on. It is asked for when it is still there after `GRACE_S`.
    """

    GRACE_S = 1.0

    def __init__(self, port: int, device: str, **options: Any) -> None:
        super().__init__(port, "control-room", persistent=True, **options)
        self.device = device
        self.replays_asked = 0
        self._seen: dict[str, set[int]] = {}
        self._boots: dict[str, None] = {}
        self._closed = threading.Event()
        self._asker = threading.Thread(target=self._ask_for_gaps, name="replay", daemon=True)

    def start(self, *filters: str) -> None:
        """Connect, subscribe to every device, and watch for gaps."""
        super().start(*(filters or (ALL_DEVICES,)))
        if not self._asker.is_alive():
            self._asker.start()

    def close(self) -> None:
        """Stop for good."""
        self._closed.set()
        if self._asker.is_alive():
            self._asker.join()
        self.stop()

    def events(self) -> list[dict[str, Any]]:
        """Every delivery of an event in its order, repeated ones too."""
        topic = f"remoteclip/1/{self.device}/events"
        return [heard.body() for heard in self.snapshot() if heard.topic == topic]

    def steps(self) -> int:
        """How many different raises and clears have come."""
        return len({event["event_id"] for event in self.events() if event["msg_type"] != "update"})

    def last_event_at(self) -> float:
        """When the latest event came; 0 before the first."""
        topic = f"remoteclip/1/{self.device}/events"
        return max((heard.at for heard in self.snapshot() if heard.topic == topic), default=0.0)

    def first_event_after(self, moment: float) -> float | None:
        """When the first event after `moment` came, or None."""
        topic = f"remoteclip/1/{self.device}/events"
        return next((h.at for h in self.snapshot() if h.topic == topic and h.at >= moment), None)

    def statuses(self) -> list[dict[str, Any]]:
        """Every status in its order."""
        topic = f"remoteclip/1/{self.device}/status"
        return [heard.body() for heard in self.snapshot() if heard.topic == topic and heard.payload]

    def heard_state(self, state: str, times: int = 1) -> bool:
        """Whether a status said `state` that many times."""
        return sum(status["state"] == state for status in self.statuses()) >= times

    def take(self, heard: Heard) -> None:
        """Note the event's number, and boot ids whose events may be missing altogether."""
        if heard.topic == f"remoteclip/1/{self.device}/status" and heard.payload:
            self._boots.setdefault(heard.body()["boot_id"], None)
        elif heard.topic == f"remoteclip/1/{self.device}/events":
            event = heard.body()
            self._seen.setdefault(event["boot_id"], set()).add(event["seq"])

    def gaps(self) -> list[tuple[str, int]]:
        """(boot_id, seq) of events that were sent, as later ones show, and have not come.

        Numbers go on from one life of an outbox to the next, so what is missing between two of them may
        belong to either, or to one of which nothing came: all are named.
        """
        missing: list[tuple[str, int]] = []
        silent = [boot_id for boot_id in list(self._boots) if boot_id not in self._seen]
        before, last = "", None
        for boot_id, seen in list(self._seen.items()):
            numbers = set(seen)
            first = min(numbers)
            missing += [(boot_id, n) for n in range(first, max(numbers)) if n not in numbers]
            if last is not None and last < first:  # else it is another outbox, which counts anew
                missing += [(each, n) for n in range(last + 1, first) for each in (before, *silent, boot_id)]
            before, last = boot_id, max(numbers)
        return missing

    def _ask_for_gaps(self) -> None:
        first_noted: dict[tuple[str, int], float] = {}
        asked: dict[tuple[str, int], float] = {}
        while not self._closed.wait(0.1):
            now = time.monotonic()
            first_noted = {gap: first_noted.get(gap, now) for gap in self.gaps()}
            ripe = now - self.GRACE_S
            due = [gap for gap, noted in first_noted.items() if noted < ripe]
            due = [gap for gap in due if asked.get(gap, 0.0) < ripe - 4 * self.GRACE_S]
            for boot_id in {boot_id for boot_id, _ in due} if self.online.is_set() else ():
                numbers = sorted(number for boot, number in due if boot == boot_id)
                asked |= {(boot_id, number): now for number in numbers}
                self.replays_asked += 1
                request = {"schema": 1, "boot_id": boot_id, "ranges": _ranges(numbers)}
                self.publish(f"remoteclip/1/{self.device}/events/replay", json.dumps(request).encode())


def _ranges(numbers: list[int]) -> list[list[int]]:
    """[1, 2, 5] as [[1, 2], [5, 5]], at most 64 of them."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found[:64]
