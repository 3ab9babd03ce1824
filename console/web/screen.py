"""What one browser shows already, so that only what changed is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Region = Mapping[str, Any]
"""Keys in the order in which they are shown -> HTML, or data that the page draws itself."""


class Screen:
    """Regions of one open page. A region is an element of it, a key one of its children."""

    def __init__(self) -> None:
        self._shown: dict[str, dict[str, Any]] = {}

    def changes(self, regions: Mapping[str, Region]) -> dict[str, Any]:
        """`{region: {"set": {key: new}, "order": [keys]}}`; what did not change is left out.

        `order` is there when keys came, went or moved; it then names all of them.
        """
        found: dict[str, Any] = {}
        for name, region in regions.items():
            known = self._shown.get(name)
            fresh = {key: value for key, value in region.items() if known is None or known.get(key) != value}
            change: dict[str, Any] = {"set": fresh} if fresh else {}
            if known is None or list(known) != list(region):
                change["order"] = list(region)
            if change:
                found[name] = change
            self._shown[name] = dict(region)
        return found
