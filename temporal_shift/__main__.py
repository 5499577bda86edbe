"""The command line: ``temporal-shift``, or ``python -m temporal_shift``."""

from __future__ import annotations

import sys


def main() -> None:
    try:
        from .ser.cli import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "temporal_shift":
            raise
        print(f'error: {error.name} is not installed: pip install "temporal-shift[ser]"', file=sys.stderr)
        sys.exit(2)
    app()


if __name__ == "__main__":
    main()
