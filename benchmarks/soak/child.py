"""The daemon under soak: `remoteclip` as installed, which also knows the source `loop://`."""

from __future__ import annotations

import benchmarks.soak.source  # noqa: F401 - registers the source
from edge.cli import main

if __name__ == "__main__":
    main()
