"""``python -m benchmarks pages``: write the tables, figures and badges of the records into README and the docs.

A page marks a table with ``<!-- table: NAME -->`` and ``<!-- end -->``; the text between the two is replaced. A test
compares the pages with the records.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from temporal_shift.ser.utils.atomic_files import atomic_write
from temporal_shift.ser.utils.table import Table

from ..measure import record_file
from ..measure.measurements import Line
from . import (
    badges,
    cross_corpus_tables,
    gpu_tables,
    kernel_tables,
    plots,
    readme_tables,
    real_speech_tables,
    recipe_tables,
    tables,
)

PAGES = ("README.md", "docs")
FIGURES, BADGES = Path("docs/figures/benchmarks"), Path("docs/figures/badges")
ON_CPU = ("op-cpu", "layers-cpu", "kernels", "host-stubbed", "recipe-cpu", "package")
EMODB = ("real-speech/emodb-tiny", "real-speech/emodb-tiny-weighted", "real-speech/emodb-base")
RAVDESS = ("real-speech/ravdess-tiny",)
RAVDESS_FOUR = ("real-speech/ravdess-four-tiny",)
FRAME_RATE = ("real-speech/emodb-frame-rate", "real-speech/emodb-frame-rate-100")
ABLATION = ("real-speech/emodb-ablation",)
OVERVIEW = ("real-speech/emodb-tiny", "real-speech/emodb-base", *RAVDESS, *RAVDESS_FOUR)
_TABLE = re.compile(r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _main_shape(line: Line) -> bool:
    return line["shape"] == [8, 374, 768] and line["unit"] == "s"


def _memory(line: Line) -> bool:
    return line["unit"] == "B"


def _other_shapes(line: Line) -> bool:
    return not _main_shape(line) and not _memory(line)


def _rows(lines: list[Line], wanted: Callable[[Line], bool], *known: str) -> Table:
    """A table without the quartiles and the ``known`` columns, which the page describes."""
    return tables.measurements(lines, wanted, ("quartiles", *known))


_CROSS = tuple(f"real-speech/cross-{model}-ravdess" for model in ("shiftformer", "transformer"))
TABLES: dict[str, tuple[str | tuple[str, ...], Callable[[list[Line]], Table]]] = {  # records and table
    "op": ("op-cpu", lambda lines: _rows(lines, _main_shape, "shape")),
    "op shapes": ("op-cpu", lambda lines: tables.by_shape(lines, _other_shapes)),
    "op memory": ("op-cpu", tables.memory),
    "op growth": ("op-cpu", tables.growth),
    "host": ("host-stubbed", lambda lines: tables.measurements(lines, hidden=("setting", "quartiles"))),
    "gpu steps": ("gpu", gpu_tables.steps),
    "gpu op": ("gpu", gpu_tables.op),
    "gpu host": ("gpu", gpu_tables.host),
    "gpu layers": ("gpu", gpu_tables.layers),
    "gpu training": ("gpu", gpu_tables.training),
    "gpu goals": ("gpu", gpu_tables.goals),
    "layers": ("layers-cpu", lambda lines: _rows(lines, lambda line: not _memory(line), "setting", "shape")),
    "layers memory": ("layers-cpu", tables.memory),
    "kernels": ("kernels", kernel_tables.by_form),
    "kernels goals": ("kernels", tables.goals),
    "recipe": ("recipe-cpu", recipe_tables.epochs_table),
    "recipe loop": ("recipe-cpu", recipe_tables.loop_table),
    "recipe memory": ("recipe-cpu", recipe_tables.memory_table),
    "recipe experiment": ("recipe-cpu", recipe_tables.experiment_table),
    "package": ("package", tables.measurements),
    "package sizes": ("package", tables.counts),
    "goals": ((*ON_CPU, "gpu"), tables.goal_counts),
    "goals missed": (ON_CPU, tables.missed_goals),
    "records": ((*ON_CPU, "gpu"), tables.environments),
    "readme speed": (("op-cpu", "layers-cpu", "gpu"), readme_tables.speed),
    "readme real speech": (OVERVIEW, readme_tables.real_speech),
    "real speech overview": (OVERVIEW, real_speech_tables.overview),
    "real speech emodb": (EMODB, real_speech_tables.figures),
    "real speech emodb differences": (EMODB, real_speech_tables.differences),
    "real speech ravdess": (RAVDESS, real_speech_tables.figures),
    "real speech ravdess differences": (RAVDESS, real_speech_tables.differences),
    "real speech ravdess four": (RAVDESS_FOUR, real_speech_tables.figures),
    "real speech ravdess four differences": (RAVDESS_FOUR, real_speech_tables.differences),
    "real speech frame rate": (FRAME_RATE, partial(real_speech_tables.figures, by="epochs")),
    "real speech frame rate differences": (FRAME_RATE, partial(real_speech_tables.differences, by="epochs")),
    "real speech ablation": (ABLATION, real_speech_tables.ablation),
    "real speech tried": ("real-speech/tried", real_speech_tables.tried),
    "real speech cross": (_CROSS, cross_corpus_tables.figures),
    "real speech confusion": (_CROSS, cross_corpus_tables.confusion),
    "real speech sounds": (_CROSS, cross_corpus_tables.sounds),
}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks pages", description=__doc__)
    parser.parse_args(argv)
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            with atomic_write(path) as file:
                file.write(new.encode())
            print(path)
    for record in sorted(record_file.FOLDER.rglob("*.jsonl")):
        for path in plots.write(FIGURES, record.stem, record_file.read(record)):
            print(path)
    for path in badges.write(BADGES):
        print(path)


def pages() -> list[Path]:
    """Paths of README and all pages of the docs."""
    found = [Path(place) for place in PAGES]
    return [path for place in found for path in (sorted(place.rglob("*.md")) if place.is_dir() else [place])]


def filled(text: str) -> str:
    """Replace every table of a page.

    Raises:
        ValueError: If the page has an unknown table.
    """

    def replace(found: re.Match[str]) -> str:
        if found[2] not in TABLES:
            raise ValueError(f"the table of a page must be one of {', '.join(TABLES)}, got {found[2]!r}")
        return f"{found[1]}\n{table_of(found[2]).markdown()}\n\n{found[3]}"

    return _TABLE.sub(replace, text)


def table_of(name: str) -> Table:
    """Make a table from the committed records."""
    records, table = TABLES[name]
    names = (records,) if isinstance(records, str) else records
    return table([line for each in names for line in record_file.read(record_file.FOLDER / f"{each}.jsonl")])
