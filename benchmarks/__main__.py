"""``python -m benchmarks {op,layers,kernels,recipe}``: figures that anyone can make again."""

from __future__ import annotations

import sys
from importlib import import_module

SUITES = ("op", "layers", "kernels", "recipe")


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in SUITES:
        sys.exit(f"usage: python -m benchmarks {{{','.join(SUITES)}}} [--help]")
    import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])


if __name__ == "__main__":
    main()
