"""`python -m firmware_cfg.schemas [--check]`."""

from __future__ import annotations

import argparse
import os
import sys

from firmware_cfg.schemas import SCHEMA_DIR, schema_texts, stale_schemas


def main(arguments: list[str] | None = None) -> int:
    """Write the schemas; with --check write nothing and return 1 when one is not current."""
    parser = argparse.ArgumentParser(prog="python -m firmware_cfg.schemas", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="only tell whether the files are current")
    check = parser.parse_args(arguments).check
    stale = stale_schemas(SCHEMA_DIR)
    wanted = schema_texts()
    for name in stale:
        path = SCHEMA_DIR / name
        if check:
            print(f"{path}: not current (run python -m firmware_cfg.schemas)", file=sys.stderr)
        elif name not in wanted:
            path.unlink()
        else:
            draft = path.with_suffix(".tmp")
            draft.write_text(wanted[name], encoding="utf-8")
            os.replace(draft, path)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
