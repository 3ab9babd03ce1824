"""The compiled parts of edge, where the install could build them.

`LETTERBOX` is the module `_letterbox`, or None; then `UNAVAILABLE` is one line that says why. Nothing fails
without it: edge/letterbox.py works through OpenCV, and `remoteclip check --system` shows which one runs.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def _load() -> tuple[ModuleType | None, str | None]:
    try:
        return importlib.import_module("edge.native._letterbox"), None
    except ModuleNotFoundError:
        return None, "not built: install again where a C++20 compiler and CMake are present"
    except (
        ImportError
    ) as error:  # built against another C or C++ library; another Python does not even find it
        return None, f"built, but cannot be loaded: {error}"


LETTERBOX, UNAVAILABLE = _load()
