"""``python -m benchmarks real-speech``: write the records of experiments on real speech.

Each RESULTS is the results folder of an experiment in ``examples/real-speech``, written by ``temporal-shift ser run``
or ``temporal-shift ser ablate``. Its record ``OUT/NAME.jsonl`` has the name of the folder. With the default ``--out``,
``python -m benchmarks pages`` then updates the tables in the docs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from temporal_shift.ser.utils.errors import RecipeError

from .measure import real_speech, record_file


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks real-speech",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", metavar="RESULTS", type=Path, nargs="+", help="results folder of an experiment")
    parser.add_argument(
        "--out", type=Path, default=real_speech.FOLDER, help="folder for the records (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    record_file.make_folder(options.out, parser)
    for root in options.results:
        try:
            lines = [*real_speech.lines_of(root)]
        except RecipeError as error:
            parser.error(str(error))
        path = options.out / f"{root.resolve().name}.jsonl"
        record_file.write(path, lines)
        print(f"{path}: runs: {sum(line['kind'] == 'run' for line in lines)}")
