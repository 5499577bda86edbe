"""The command line: ``temporal-shift``, or ``python -m temporal_shift``."""

from __future__ import annotations

import os
import sys

from ._extras import not_installed


def main() -> None:
    _open_closed_streams()
    try:
        from .ser.cli import app
        from .ser.cli.exit_codes import discard_output
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "temporal_shift":
            raise
        if sys.argv[1:] == ["env"]:  # the only command that works without the extra "ser"
            from ._environment import report

            print(report())
            return
        print(f"error: {not_installed(error.name, 'ser')}", file=sys.stderr)
        sys.exit(2)
    try:
        app()
    except OSError as error:  # --help or --version cannot be printed; commands handle their own errors
        discard_output()
        print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(2)


def _open_closed_streams() -> None:
    """Open the null device as standard error and input if they are closed; exit if standard output is closed.

    Python sets a stream to ``None`` if it is closed at startup (``2>&-``, ``<&-``, ``>&-``).
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # stays open until the process ends
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115
    if sys.stdout is None:
        print("error: standard output is closed", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
