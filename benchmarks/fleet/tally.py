"""What the drones of one generator did, for its parent."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class Tally:
    """What all drones of one generator did since the last report; moments by the monotonic clock."""

    events: int = 0
    messages: int = 0
    acknowledged: int = 0
    tries: list[float] = field(default_factory=list)
    online: list[float] = field(default_factory=list)
    lost: int = 0
    refused: int = 0

    def plus(self, other: Tally) -> Tally:
        """What two generators did; lists one after the other."""
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def taken(self) -> Tally:
        """A copy, and everything begins anew."""
        copy = Tally(*(getattr(self, each.name) for each in fields(self)))
        fresh = Tally()
        for each in fields(self):
            setattr(self, each.name, getattr(fresh, each.name))
        return copy
