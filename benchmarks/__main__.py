"""Benchmarks of the package: ``python -m benchmarks COMMAND``. ``python -m benchmarks --help`` lists the commands."""

from __future__ import annotations

import sys
from importlib import import_module

from . import runner

COMMANDS = {  # name: (module and function, summary); a module is imported on use, because it may need further packages
    "all": ("runner:run_all", "run the suites op, layers, kernels, host, recipe and package"),
    "gpu": ("gpu:main", "run tests and the suites host, op, layers and training on a GPU"),
    "fusion": ("fusion:main", "list the kernels that torch.compile generates for shifts and other operations"),
    "compare": ("compare:main", "compare two records of one suite"),
    "real-speech": ("real_speech:main", "write the records of experiments on real speech"),
    "cross-corpus": ("cross_corpus:main", "test a model on another corpus"),
    "pages": ("report.pages:main", "write the tables, figures and badges of the records into README and the docs"),
}
SUITES = {
    "op": "time and memory of the shift, compared with a copy and with other implementations",
    "layers": "time and memory of layers, compared with PyTorch's layers and published ones",
    "kernels": "registers, instructions and memory traffic of the GPU kernel; needs no GPU",
    "host": "time that the host spends on an eager call; needs no GPU",
    "recipe": "speed and peak memory of the feature cache, overhead of the trainer, FLOP of the paper's experiment",
    "package": "import time, size of the wheel, time until the quickstart's first run",
    "training": "a few training steps of ShiftConv, ShiftLSTM and ShiftTransformerLayer (`all` does not run it)",
}


def usage() -> str:
    lines = {**SUITES, **{name: summary for name, (_, summary) in COMMANDS.items()}}
    width = max(map(len, lines))
    listed = "\n".join(f"  {name:{width}}  {summary}" for name, summary in lines.items())
    return f"usage: python -m benchmarks COMMAND [--help]\n\ncommands:\n{listed}"


def main() -> None:
    name, argv = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name in COMMANDS:
        module, function = COMMANDS[name][0].split(":")
        getattr(import_module(f"benchmarks.{module}"), function)(argv)
    elif name in SUITES:
        runner.run(name, argv)
    elif name in ("-h", "--help"):
        print(usage())
    else:
        print(usage(), file=sys.stderr)
        if name:
            known = ", ".join((*SUITES, *COMMANDS))
            print(f"\nerror: COMMAND must be one of {known}, got {name!r}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
