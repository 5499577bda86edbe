"""Records contain medians, quantiles and ratios, and are written atomically."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measure import measurements, record_file
from benchmarks.measure.measurements import Count, Goal, Measurement
from benchmarks.report import tables

LISTS = st.lists(st.floats(0.1, 10), min_size=1, max_size=200)


def test_a_line_has_median_quantiles_and_ratios_to_the_floor_and_each_peer():
    samples = {"ours": [2.0, 4.0, 3.0], "clone": [1.0, 2.0, 1.5], "gather": [6.0, 9.0, 12.0]}
    line = Measurement("forward", samples, "one way", (8, 374), floor="clone").line()
    assert (line["median"], line["ratio_to_floor"], line["ratio_to_peers"]) == (3.0, 2.0, {"gather": 3.0})
    assert line["quantiles"] == {"5": 2.1, "25": 2.5, "75": 3.5, "95": 3.9}
    assert line["samples"] == samples


def test_a_row_of_a_gpu_names_its_timer_and_the_forms_that_were_not_measured():
    samples = {"ours": [2e-6], "clone": [1e-6]}
    found = Measurement("forward", samples, floor="clone", timer="CUDA graph", missing=["gather"])
    line = {"kind": "measurement", **found.line()}
    assert (line["timer"], line["missing"]) == ("CUDA graph", ["gather"])
    table = tables.measurements([line])
    assert dict(zip(table.header, table.rows[0], strict=True))["timer"] == "CUDA graph"
    assert "gather not measured" in table.markdown()


def test_each_timer_of_a_gpu_has_a_column():
    def line(timer, ours):
        samples = {"ours": [ours], "clone": [1e-6], "pad and cat": [6e-6]}
        return {"kind": "measurement", **Measurement("forward", samples, floor="clone", timer=timer).line()}

    table = tables.by_timer([line("wall clock", 4e-6), line("device", 2e-6)])
    assert table.header[3:] == ("wall clock", "device")
    assert [row[3:] for row in table.rows] == [("4 µs (4.00, 1.50)", "2 µs (2.00, 3.00)")]


def test_a_measurement_of_zero_has_no_ratio():
    line = Measurement("kept", {"ours": [0.0], "clone": [0.0], "gather": [5.0]}, unit="B", floor="clone").line()
    assert (line["ratio_to_floor"], line["ratio_to_peers"]) == (None, {})


@given(LISTS)
def test_joined_samples_keep_their_order_and_their_range(values):
    few = measurements.joined(values)
    assert len(few) == min(len(values), measurements.MAX_SAMPLES)
    assert min(values) <= min(few) <= max(few) <= max(values)
    assert measurements.joined(sorted(values)) == sorted(measurements.joined(sorted(values)))
    assert len(values) > measurements.MAX_SAMPLES or few == values


@given(LISTS)
def test_joined_samples_of_two_forms_stay_pairs(values):
    double = [2 * value for value in values]
    pairs = zip(measurements.joined(values), measurements.joined(double), strict=True)
    assert all(b == pytest.approx(2 * a) for a, b in pairs)


def test_a_record_is_unchanged_after_writing_and_reading(tmp_path):
    head = {"suite": "op", **record_file.environment("cpu")}
    found = [Measurement("forward", {"ours": [1.0]}), Count("wheel", {"bytes": 5}), Goal("a / b", 1.5, 2)]
    lines = [{"kind": each.kind, **head, **each.line()} for each in found]
    record_file.write(tmp_path / "new" / "r.jsonl", lines)
    assert record_file.read(tmp_path / "new" / "r.jsonl") == lines
    assert [line["what"] for line in measurements.of_kind(lines, "goal")] == ["a / b"]
    assert lines[0]["versions"].keys() == {"python", *record_file.PACKAGES}
    assert lines[0]["threads"] > 0


def test_a_failed_write_keeps_the_previous_record(tmp_path):
    path = tmp_path / "r.jsonl"
    record_file.write(path, [{"suite": "op", "kind": "goal", "what": "a"}])
    before = path.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        record_file.write(path, [{"fine": 1}, {"suite": object()}])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"suite": "op"', r"line 2: must be a JSON object, got '\{\"suite\": \"op\"'"),
        ("[1]", r"line 2: must be a JSON object, got '\[1\]'"),
        ('{"suite": "op"}', "line 2: must have suite, kind and what, got no kind, what"),
    ],
)
def test_an_invalid_line_is_an_error_with_its_number(tmp_path, text, message):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"suite": "op", "kind": "goal", "what": "a"}) + "\n" + text)
    with pytest.raises(ValueError, match=message):
        record_file.read(path)


@pytest.mark.parametrize(("least", "held"), [(False, [True, True, False]), (True, [False, True, True])])
def test_a_goal_is_met_up_to_and_at_its_bound(least, held):
    assert [Goal("", measured, 2.0, least=least).held for measured in (1.0, 2.0, 3.0)] == held


def test_every_committed_record_has_its_device_versions_and_commit():
    paths = sorted(record_file.FOLDER.glob("*.jsonl"))
    assert [path.stem for path in paths] == [
        "gpu",
        "host-stubbed",
        "kernels",
        "layers-cpu",
        "op-cpu",
        "package",
        "recipe-cpu",
    ]
    for path in paths:
        lines = record_file.read(path)
        threads = None if path.stem == "gpu" else 2
        assert all(line["device"] and line["threads"] == threads and line["versions"]["torch"] for line in lines)
        (commit,) = {line["commit"] for line in lines}
        assert not commit.endswith("+"), f"{path}: measured with uncommitted changes"
        assert measurements.of_kind(lines, "goal")
