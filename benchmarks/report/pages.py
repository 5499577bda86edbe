"""Writes the tables, pictures and badges of the records into README and the docs: ``python -m benchmarks pages``.

A page marks the place of a table by ``<!-- table: NAME -->`` and ``<!-- end -->``. The text between them is replaced.
A test compares the pages with the records.
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
from . import badges, cross_corpus_tables, gpu_tables, kernel_tables, plots, real_speech_tables, recipe_tables, tables

PAGES = ("README.md", "docs")
FIGURES, BADGES = Path("docs/figures/benchmarks"), Path("docs/figures/badges")
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
    """A table for a page: without the quartiles, and without the columns that the page describes."""
    return tables.measurements(lines, wanted, ("quartiles", *known))


_CROSS = tuple(f"real-speech/cross-{model}-ravdess" for model in ("shiftformer", "transformer"))
TABLES: dict[str, tuple[str | tuple[str, ...], Callable[[list[Line]], Table]]] = {  # of records
    "op": ("op-cpu", lambda lines: _rows(lines, _main_shape, "shape")),
    "op shapes": ("op-cpu", lambda lines: _rows(lines, _other_shapes)),
    "op memory": ("op-cpu", lambda lines: _rows(lines, _memory, "shape")),
    "op growth": ("op-cpu", tables.growth),
    "op goals": ("op-cpu", tables.goals),
    "host": ("host-stubbed", lambda lines: tables.measurements(lines, hidden=("setting", "quartiles"))),
    "host goals": ("host-stubbed", tables.goals),
    "gpu steps": ("gpu", gpu_tables.steps),
    "gpu op": ("gpu", gpu_tables.op),
    "gpu host": ("gpu", gpu_tables.host),
    "gpu layers": ("gpu", gpu_tables.layers),
    "gpu training": ("gpu", gpu_tables.training),
    "gpu goals": ("gpu", gpu_tables.goals),
    "layers": ("layers-cpu", lambda lines: _rows(lines, lambda line: not _memory(line), "setting", "shape")),
    "layers memory": ("layers-cpu", lambda lines: _rows(lines, _memory, "setting", "shape")),
    "layers goals": ("layers-cpu", tables.goals),
    "kernels": ("kernels", kernel_tables.by_form),
    "kernels goals": ("kernels", tables.goals),
    "recipe": ("recipe-cpu", recipe_tables.epochs_table),
    "recipe loop": ("recipe-cpu", recipe_tables.loop_table),
    "recipe memory": ("recipe-cpu", recipe_tables.memory_table),
    "recipe experiment": ("recipe-cpu", recipe_tables.experiment_table),
    "recipe goals": ("recipe-cpu", tables.goals),
    "package": ("package", tables.measurements),
    "package sizes": ("package", tables.counts),
    "package goals": ("package", tables.goals),
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
    """README and every page of the docs."""
    found = [Path(place) for place in PAGES]
    return [path for place in found for path in (sorted(place.rglob("*.md")) if place.is_dir() else [place])]


def filled(text: str) -> str:
    """A page with every table written again.

    Raises:
        ValueError: If the page names a table that does not exist.
    """

    def replace(found: re.Match[str]) -> str:
        if found[2] not in TABLES:
            raise ValueError(f"a page's table must be one of {', '.join(TABLES)}, got {found[2]!r}")
        return f"{found[1]}\n{table_of(found[2]).markdown()}\n\n{found[3]}"

    return _TABLE.sub(replace, text)


def table_of(name: str) -> Table:
    """A table of the committed records."""
    records, table = TABLES[name]
    names = (records,) if isinstance(records, str) else records
    return table([line for each in names for line in record_file.read(record_file.FOLDER / f"{each}.jsonl")])
