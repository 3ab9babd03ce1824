"""The daemon under test: `remoteclip` as installed, which also knows the source `script://`."""

from __future__ import annotations

import benchmarks.faults.script  # noqa: F401 - registers the source
from edge.cli import main

if __name__ == "__main__":
    main()
