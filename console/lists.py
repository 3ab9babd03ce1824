"""The texts of the fleet's prompt lists, as far as they are known, by the hash of their bytes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from edge.fleet import MAX_DEVICES

MOST_BYTES = 32 * 1024 * 1024
"""Of all texts together; the one that was not heard of for longest goes first."""


class PromptLists:
    """Which list every drone flies, and which one it should."""

    def __init__(self) -> None:
        self.in_force: dict[str, str] = {}
        """The text of the list in force, by device, where it is known."""
        self.desired: dict[str, str] = {}
        """The hash of the list that a device should have, where somebody said so."""
        self._flown: dict[str, str] = {}
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._bytes = 0

    def note(self, data: bytes) -> str:
        """Keep the text of a list; returns its hash. Raises ValueError where it is no text."""
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in self._texts:
            self._texts[sha256] = data.decode("utf-8")
            self._bytes += len(data)
            for device, flown in self._flown.items():
                if flown == sha256:
                    self.in_force[device] = self._texts[sha256]
        self._texts.move_to_end(sha256)
        while self._bytes > MOST_BYTES and len(self._texts) > 1:
            _, text = self._texts.popitem(last=False)
            self._bytes -= len(text.encode())
        return sha256

    def text(self, sha256: str) -> str | None:
        """A list that was seen."""
        return self._texts.get(sha256)

    def desire(self, device: str, data: bytes) -> None:
        """What a device should fly; without data nothing is desired any more. Raises ValueError."""
        if not data:
            self.desired.pop(device, None)
        elif device in self.desired or len(self.desired) < MAX_DEVICES:
            self.desired[device] = self.note(data)
        else:
            raise ValueError(f"more than {MAX_DEVICES} devices")

    def flies(self, device: str, sha256: str) -> None:
        """What a device says that it flies."""
        self._flown[device] = sha256
        text = self._texts.get(sha256)
        if text is None:
            self.in_force.pop(device, None)
        else:
            self.in_force[device] = text
