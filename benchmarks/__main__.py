"""Benchmarks of the package: ``python -m benchmarks SUITE [--help]``; without a suite, it lists them."""

from __future__ import annotations

import sys
from importlib import import_module

from . import runner

COMMANDS = {  # imported on use: each needs other packages
    "all": "runner:run_all",
    "gpu": "gpu:main",
    "fusion": "fusion:main",
    "compare": "compare:main",
    "real-speech": "real_speech:main",
    "cross-corpus": "cross_corpus:main",
    "pages": "report.pages:main",
}
USAGE = f"usage: python -m benchmarks {{{','.join((*runner.SUITES, *runner.ON_REQUEST, *COMMANDS))}}} [--help]"


def main() -> None:
    name, argv = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name in COMMANDS:
        module, function = COMMANDS[name].split(":")
        getattr(import_module(f"benchmarks.{module}"), function)(argv)
    elif name in (*runner.SUITES, *runner.ON_REQUEST):
        runner.run(name, argv)
    elif name in ("-h", "--help"):
        print(USAGE)
    else:
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
