"""``python -m benchmarks compare`` finds regressions and does not report noise."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import compare
from benchmarks.measure import record_file
from benchmarks.measure.measurements import Count, Measurement

FORMS = {"ours": 1.0, "clone": 0.8, "slices": 1.5, "gather": 8.0}
ROWS = 20


def record(path, seed, *, slower=None, factor=1.0, within=0.03, between=0.02, drift=1.0, **other):
    """Write the record of a run, and return its path.

    Args:
        slower: The row in which ``factor`` multiplies the time of "ours".
        within: The noise of each sample.
        between: The noise of each form in a row.
        drift: A factor of all times.
        other: Changes to the head of each line.
    """
    random = np.random.default_rng(seed)
    head = {"suite": "op", **record_file.environment("cpu"), **other}
    lines = []
    for row in range(ROWS):
        of_round = drift * random.lognormal(0, 0.3, 25)  # other work on the machine slows all forms of a round
        samples = {}
        for form, seconds in FORMS.items():
            changed = factor if form == "ours" and row == slower else 1.0
            noise = random.lognormal(0, within, 25) * random.lognormal(0, between)
            samples[form] = [float(s) for s in 1e-3 * seconds * changed * of_round * noise]
        line = Measurement("forward", samples, f"row {row}", (8, 374, 768), floor="clone").line()
        lines.append({**head, "kind": "measurement", **line})
    record_file.write(path, lines)
    return path


@pytest.fixture
def run(tmp_path, capsys):
    def compare_them(*given: dict) -> tuple[int, str]:
        paths = [record(tmp_path / f"{name}.jsonl", **each) for name, each in zip("ab", given, strict=True)]
        with pytest.raises(SystemExit) as stopped:
            compare.main(list(map(str, paths)))
        captured = capsys.readouterr()
        return stopped.value.code, captured.out + captured.err

    return compare_them


@pytest.mark.parametrize("seed", range(5))
def test_two_runs_of_the_same_code_show_only_noise_even_if_the_machine_is_twice_as_slow(run, seed):
    status, text = run({"seed": 2 * seed}, {"seed": 2 * seed + 1, "drift": 2.0})
    assert (status, f"rows: {ROWS} (regressed: 0, improved: 0, noise: {ROWS})" in text) == (0, True)


@pytest.mark.parametrize("seed", range(5))
def test_only_the_row_that_became_25_percent_slower_is_a_regression(run, seed):
    status, text = run({"seed": 2 * seed}, {"seed": 2 * seed + 1, "slower": 7, "factor": 1.25})
    assert status == 1
    assert f"rows: {ROWS} (regressed: 1, improved: 0, noise: {ROWS - 1})" in text
    (row,) = [line for line in text.splitlines() if "slower" in line]
    assert "row 7," in row


def test_a_faster_row_is_not_a_regression(run):
    status, text = run({"seed": 0}, {"seed": 1, "slower": 3, "factor": 0.7})
    assert (status, f"rows: {ROWS} (regressed: 0, improved: 1, noise: {ROWS - 1})" in text) == (0, True)


def test_a_change_within_the_noise_between_runs_is_not_a_regression(run):
    status, _ = run({"seed": 0, "between": 0.3}, {"seed": 1, "between": 0.3, "slower": 7, "factor": 1.25})
    assert status == 0


@pytest.mark.parametrize("other", [{"device": "another"}, {"threads": 64}])
def test_records_of_different_machines_are_an_error(run, other):
    status, text = run({"seed": 0}, {"seed": 1, **other})
    assert status == 2
    (name, value), *_ = other.items()
    assert f"both records must have the same {name}, got" in text
    assert f"{value} in B" in " ".join(text.split())


def test_different_versions_of_a_library_are_reported(run):
    _, text = run({"seed": 0}, {"seed": 1, "versions": {"torch": "9.9"}})
    assert "9.9 in B; this can affect all rows" in " ".join(text.split())


def test_records_without_a_row_in_common_are_an_error(tmp_path, capsys):
    a, b = (tmp_path / name for name in ("a.jsonl", "b.jsonl"))
    head = {"suite": "op", **record_file.environment("cpu"), "kind": "count"}
    record_file.write(a, [{**head, **Count("wheel", {"bytes": 1}).line()}])
    record_file.write(b, [{**head, **Count("sdist", {"bytes": 1}).line()}])
    with pytest.raises(SystemExit):
        compare.main([str(a), str(b)])
    error = " ".join(capsys.readouterr().err.split())
    assert "A and B must have a row in common" in error
    assert "got rows of op in A and rows of op in B" in error
    record_file.write(b, [])
    with pytest.raises(SystemExit):
        compare.main([str(a), str(b)])
    assert "rows of no suite in B" in " ".join(capsys.readouterr().err.split())


def test_memory_and_counts_are_compared(tmp_path, capsys):
    head = {"suite": "op", **record_file.environment("cpu")}
    paths = []
    for name, peak, registers in (("a", 100e6, 32), ("b", 150e6, 48)):
        weighed = Measurement("peak", {"ours": [peak]}, unit="B").line()
        counted = Count("plain", {"registers": registers}).line()
        paths.append(tmp_path / name)
        record_file.write(paths[-1], [{**head, "kind": "measurement", **weighed}, {**head, "kind": "count", **counted}])
    with pytest.raises(SystemExit) as stopped:
        compare.main(list(map(str, paths)))
    text = capsys.readouterr().out
    assert stopped.value.code == 1
    assert "larger" in text
    assert "plain, float32: registers is 32 in A, 48 in B" in text
