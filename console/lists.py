"""The texts of the fleet's prompt lists, as far as they are known, by the hash of their bytes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from edge.fleet import MAX_DEVICES
from firmware_cfg.messages import PromptsAck, PromptsState

MOST_BYTES = 32 * 1024 * 1024
"""Of all texts together; the one that was not heard of for longest goes first."""


@dataclass(slots=True)
class _Open:
    """A desire that its drone has not answered. `kept`: the broker had it before this console came."""

    sha256: str
    kept: bool
    known: datetime | None  # since when the drone flew what it flew when the desire was heard


class PromptLists:
    """Which list every drone flies, and which one it should.

    A desire is open until its drone answers it, flies it, or tells that it changed its list since. One that
    the broker kept from before is open for a drone that is away only: one that is there has had it.

    Attributes:
        in_force: the text of the list in force, by device, where it is known.
        on_flown: told of each list that a drone is seen to fly, once its text is known: device, hash, text.
    """

    def __init__(self) -> None:
        self.in_force: dict[str, str] = {}
        self.on_flown: Callable[[str, str, str], None] = lambda device, sha256, text: None
        self._desired: dict[str, str] = {}
        self._open: dict[str, _Open] = {}
        self._sending: dict[str, tuple[str, str | None, _Open | None]] = {}  # hash, what was before it
        self._answered: dict[str, str] = {}  # before the desire itself was heard: they come by two sessions
        self._flown: dict[str, tuple[str, datetime]] = {}  # hash, since when
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._bytes = 0

    def note(self, data: bytes) -> str:
        """Keep the text of a list; returns its hash. Raises ValueError where it is no text."""
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in self._texts:
            self._texts[sha256] = data.decode("utf-8")
            self._bytes += len(data)
            for device, (flown, _) in self._flown.items():
                if flown == sha256:
                    self.in_force[device] = self._texts[sha256]
                    self.on_flown(device, sha256, self._texts[sha256])
        self._texts.move_to_end(sha256)
        while self._bytes > MOST_BYTES and len(self._texts) > 1:
            _, text = self._texts.popitem(last=False)
            self._bytes -= len(text.encode())
        return sha256

    def text(self, sha256: str) -> str | None:
        """A list that was seen."""
        return self._texts.get(sha256)

    def pending(self, device: str) -> str | None:
        """The hash of the list that a device was sent and has not answered."""
        found = self._open.get(device)
        return None if found is None else found.sha256

    def offered(self, device: str) -> tuple[str, str] | None:
        """Hash and text of the list that a device should have, where the text is known."""
        sha256 = self.pending(device) or self._flown.get(device, (None,))[0]
        text = None if sha256 is None else self._texts.get(sha256)
        return None if sha256 is None or text is None else (sha256, text)

    def sends(self, device: str, data: bytes) -> None:
        """This console is about to send it: it counts before the broker says it back. Raises ValueError."""
        sha256 = self.note(data)
        self._sending[device] = sha256, self._desired.get(device), self._open.get(device)
        self._want(device, sha256, kept=False)

    def unsent(self, device: str, sha256: str) -> None:
        """It did not go out; what was desired before is so again, unless the broker has said it back."""
        if self._sending.get(device, ("",))[0] != sha256:
            return
        _, desired, before = self._sending.pop(device)
        del self._desired[device]
        self._open.pop(device, None)
        if desired is not None:
            self._desired[device] = desired
        if before is not None:
            self._open[device] = before

    def desire(self, device: str, data: bytes, *, retained: bool, online: bool) -> None:
        """What a device should fly; without data nothing is desired any more. Raises ValueError.

        Args:
            retained: the broker kept it. online: the device is known to be there.
        """
        if not data:
            self._desired.pop(device, None)
            self._open.pop(device, None)
            self._sending.pop(device, None)
            return
        if device not in self._desired and len(self._desired) >= MAX_DEVICES:
            raise ValueError(f"more than {MAX_DEVICES} devices")
        sha256 = self.note(data)
        if self._sending.get(device, ("",))[0] == sha256:
            del self._sending[device]  # our own, said back: it may have been answered already
        elif not retained or self._desired.get(device) != sha256:
            answered = self._answered.pop(device, None) == sha256
            self._want(device, sha256, kept=retained)
            if answered or (retained and online):
                self._open.pop(device, None)

    def answered(self, device: str, sha256: str) -> None:
        """The device has taken or refused it."""
        if self.pending(device) == sha256:
            del self._open[device]
        elif device in self._answered or len(self._answered) < MAX_DEVICES:
            self._answered[device] = sha256

    def acknowledged(self, ack: PromptsAck) -> None:
        """As `answered`; what was taken has flown, however soon another list followed."""
        self.answered(ack.device, ack.received_sha256)
        text = self._texts.get(ack.sha256)
        if ack.applied and text is not None:
            self.on_flown(ack.device, ack.sha256, text)

    def came(self, device: str) -> None:
        """The device is there, and has what the broker kept for it."""
        found = self._open.get(device)
        if found is not None and found.kept:
            del self._open[device]

    def flies(self, device: str, state: PromptsState) -> None:
        """What a device says that it flies."""
        sha256, found = state.sha256, self._open.get(device)
        if found is not None:
            found.known = found.known or state.applied_at
            if sha256 == found.sha256 or found.known != state.applied_at:
                del self._open[device]
        self._flown[device] = sha256, state.applied_at
        text = self._texts.get(sha256)
        if text is None:
            self.in_force.pop(device, None)
        else:
            self.in_force[device] = text
            self.on_flown(device, sha256, text)

    def _want(self, device: str, sha256: str, *, kept: bool) -> None:
        self._desired[device] = sha256
        flown, since = self._flown.get(device, (None, None))
        self._open.pop(device, None)
        if flown != sha256:
            self._open[device] = _Open(sha256, kept, since)
