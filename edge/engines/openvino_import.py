"""The one way to import OpenVINO: without its telemetry.

`import openvino` would otherwise report to Google Analytics at every start, from a fork of this process, made
in a thread. A drone does not phone home, and that copy holds our sockets, locks and files for as long as it
tries: behind a closed network it hangs, and our exit waits for it.
"""

from __future__ import annotations

import sys

from firmware_cfg.errors import EngineError

_TELEMETRY = "openvino_telemetry"

if _TELEMETRY not in sys.modules:
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment] # "not installed": OpenVINO has a stub for that
try:
    import openvino
except ImportError as error:
    raise EngineError(f"openvino cannot be imported: {error} (run: pip install openvino)") from error
finally:
    if sys.modules.get(_TELEMETRY) is None:
        sys.modules.pop(_TELEMETRY, None)

__all__ = ["openvino"]
