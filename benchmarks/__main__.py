"""Benchmarks of the package: ``python -m benchmarks SUITE [--help]``; without a suite, it lists them."""

from __future__ import annotations

import sys

from . import compare, cross_corpus, real_speech, runner
from .report import pages

COMMANDS = {
    "all": runner.run_all,
    "compare": compare.main,
    "real-speech": real_speech.main,
    "cross-corpus": cross_corpus.main,
    "pages": pages.main,
}
USAGE = f"usage: python -m benchmarks {{{','.join((*runner.SUITES, *COMMANDS))}}} [--help]"


def main() -> None:
    name, argv = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name in COMMANDS:
        COMMANDS[name](argv)
    elif name in runner.SUITES:
        runner.run(name, argv)
    elif name in ("-h", "--help"):
        print(USAGE)
    else:
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
