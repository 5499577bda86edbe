"""The committed figures of docs/ have the texts and colours of their scripts, and show what the shift computes."""

from __future__ import annotations

import importlib
import inspect
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from temporal_shift import ShiftTransformerLayer

from .. import reference

FIGURES = Path(__file__).parents[2] / "docs" / "figures"
PICTURES = sorted(path.stem.removeprefix("draw_") for path in FIGURES.glob("draw_*.py"))


@pytest.fixture
def script(monkeypatch):
    """A function that imports a drawing script by name. The scripts import modules from their own folder."""
    monkeypatch.syspath_prepend(FIGURES)
    return lambda name: importlib.import_module(f"draw_{name}")


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>(.*?)</text>", svg)


def colours(svg: str) -> set[str]:
    return set(re.findall(r"(?:fill|stroke): (#\w+)", svg))


@pytest.mark.parametrize("name", PICTURES)
def test_a_figure_matches_the_output_of_its_script(name, tmp_path, monkeypatch):
    path = FIGURES / f"draw_{name}.py"
    monkeypatch.syspath_prepend(FIGURES)
    monkeypatch.setattr(sys, "argv", [str(path), str(tmp_path)])
    runpy.run_path(str(path), run_name="__main__")
    for theme in ("light", "dark"):
        drawn = (tmp_path / f"{name}-{theme}.svg").read_text(encoding="utf-8")
        kept = (FIGURES / f"{name}-{theme}.svg").read_text(encoding="utf-8")
        assert texts(kept) == texts(drawn)
        assert colours(kept) == colours(drawn)


def test_a_figure_is_small_has_no_background_and_is_readable_on_a_phone():
    for path in (FIGURES / f"{name}-{theme}.svg" for name in PICTURES for theme in ("light", "dark")):
        svg = path.read_text(encoding="utf-8")
        assert path.stat().st_size < 60_000
        first_shape = svg.split("<path", 1)[1].split("/>", 1)[0]
        assert 'style="fill: none"' in first_shape
        width = float(re.search(r'viewBox="0 0 ([\d.]+) ', svg)[1])
        sizes = [float(size) for size in re.findall(r"<text style=\"font-size: ([\d.]+)px", svg)]
        assert len(sizes) == len(texts(svg)) > 20
        assert min(sizes) * 360 / width >= 9, path.name


def test_the_cells_of_the_shift_equal_plain_loops(script):
    drawn = script("shift")
    assert [arguments.get("stride", 1) for arguments in drawn.PANELS.values()] == [0, 1, 1]
    numbers = np.tile(np.arange(1.0, drawn.FRAMES + 1)[:, None], drawn.CHANNELS)
    for arguments in drawn.PANELS.values():
        assert np.array_equal(drawn.origins(arguments).numpy(), reference.temporal_shift(numbers, **arguments))


@pytest.mark.parametrize(("n_div", "bidirectional"), [(16, False), (4, False), (8, True), (2, True)])
def test_the_shares_of_a_frame_equal_plain_loops(script, n_div, bidirectional):
    drawn = script("mingling")
    assert n_div in drawn.N_DIVS[bidirectional]
    steps = reference.frames_of_channels(drawn.CHANNELS, n_div, 1, bidirectional, None)
    expected = {"past": steps.count(1), "own": steps.count(0), "future": steps.count(-1)}
    found = drawn.shares(n_div, bidirectional)
    assert {name: round(share * drawn.CHANNELS) for name, share in found.items()} == expected


def test_the_figure_names_each_layer_at_its_default(script):
    drawn = script("mingling")
    found = [(n, b, *drawn.layers_with(n, b)) for b, n_divs in drawn.N_DIVS.items() for n in n_divs]
    assert [row for row in found if len(row) > 2] == [
        (16, False, "ShiftConv"),
        (8, False, "TemporalShift"),
        (4, False, "ShiftLSTM", "ShiftGRU"),
        (4, True, "ShiftTransformerLayer"),
    ]


def test_the_cells_of_a_placement_equal_plain_loops(script):
    drawn = script("placements")
    plain = np.tile(np.arange(1.0, drawn.FRAMES + 1)[:, None], drawn.CHANNELS)
    n_div = inspect.signature(ShiftTransformerLayer).parameters["n_div"].default
    shifted = reference.temporal_shift(plain, n_div=n_div, bidirectional=True)
    expected = {
        "residual": {"skip": shifted, "attention": plain},
        "inplace": {"skip": shifted, "attention": shifted},
        "replace": {"instead": shifted},
    }
    for placement, parts in expected.items():
        found = drawn.seen(placement)
        assert found.keys() == parts.keys()
        assert all(np.array_equal(found[name].numpy(), parts[name]) for name in parts)


def test_the_drawn_reach_has_the_expected_frames(script):
    drawn = script("reach")
    middle = drawn.FRAMES // 2

    def reached(panel: str, row: str) -> tuple[int, int]:
        """The first and last frame with a share above zero, relative to the output frame."""
        frames = [t - middle for t, share in enumerate(drawn.reach(drawn.PANELS[panel][row])) if share > 0]
        assert frames == list(range(frames[0], frames[-1] + 1))
        return frames[0], frames[-1]

    assert {(panel, row): reached(panel, row) for panel, rows in drawn.PANELS.items() for row in rows} == {
        ("ShiftConv", "stride=0"): (-3, 3),
        ("ShiftConv", '"residual"'): (-3, 3),
        ("ShiftConv", '"inplace"'): (-4, 3),
        ("ShiftTransformerLayer", "stride=0"): (-10, 10),
        ("ShiftTransformerLayer", '"residual"'): (-10, 10),
        ("ShiftTransformerLayer", '"inplace"'): (-10, 10),
        ("ShiftTransformerLayer", '"replace"'): (-1, 1),
        ('a stack of them, "replace"', "2 layers"): (-2, 2),
        ('a stack of them, "replace"', "3 layers"): (-3, 3),
        ('a stack of them, "replace"', "4 layers"): (-4, 4),
    }


def test_the_drawn_reach_equals_finite_differences(script):
    drawn = script("reach")
    make = drawn.PANELS["ShiftTransformerLayer"]['"replace"']
    torch.manual_seed(0)  # as in the script
    net, x = make().double(), torch.randn(1, drawn.FRAMES, drawn.CHANNELS).double()
    step, elements = 1e-6, x.numel()
    moved = x + step * torch.eye(elements).double().view(elements, *x.shape[1:])  # each copy changes one element
    changes = ((net(moved) - net(x))[:, drawn.FRAMES // 2] / step).square().view(drawn.FRAMES, -1).sum(dim=1)
    expected = 100 * changes / changes.sum()
    torch.testing.assert_close(torch.tensor(drawn.reach(make)).double(), expected, rtol=1e-3, atol=1e-3)
