"""Experiments as YAML files: valid values and errors."""

import re
from pathlib import Path

import pytest

from temporal_shift.ser.config import Experiment, read_experiment
from temporal_shift.ser.utils.errors import RecipeError

GOOD = "name: x\ncorpus: {path: .}\nmodels: [{name: m, blocks: conv}]\n"
LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
MERGES = "a0: &a0 {x: y}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))


def read(folder: Path, content: str | bytes) -> Experiment:
    path = folder / "experiment.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_experiment(path)


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(RecipeError) as raised:
        read(folder, content)
    sentence = str(raised.value)
    assert "\n" not in sentence
    assert len(sentence) < 500
    return sentence


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (GOOD + "note: " + "[\n" * 20_000, "nested too deeply"),
        ("- " * 20_000, "nested too deeply"),
        (LAUGHS, r"line 6, .*at most 100000 values.*aliases"),
        (MERGES, r"at most 100000 values.*aliases"),
        ("a: &a [*a]", "line 1, column 4: an alias must not contain itself"),
        (GOOD + "seeds: 2\nseeds: 3\n", "line 5, column 1: the key 'seeds' occurs twice"),
        (GOOD + "training: {seed: 1, seed: 2}\n", "line 4, column 21: the key 'seed' occurs twice"),
        (GOOD + "training:\n\tepochs: 3\n", "line 5, column 1: indent with spaces, not with tabs"),
        ("name: x\nmodels:\n  - name: m\n    blocks: conv\n   shift: null\n", "line 5, column 4: .*check the indent"),
        ("name: x\n corpus: {path: .}\n", "line 2, column 8: .*check the indentation, in 'corpus: {path: .}'"),
        (GOOD + "note: !!python/object/apply:os.system [exit]\n", "line 4, column 7: the tag !!python/object/apply:os"),
        (GOOD + "note: !run x\n", "line 4, column 7: the tag !run is not allowed"),
        (GOOD + "note: \x07\n", r"line 4, column 7: the character '\\x07' is not allowed"),
        ("a: &x 1\nb: &x 2\n", "line 2, column 4: found duplicate anchor 'x', second occurrence"),
        (GOOD + "---\n" + GOOD, "line 4, column 1: expected a single document in the stream, but found another"),
        (GOOD + "? [a, b]\n: c\n", "line 4, column 3: a key must be text"),
        (GOOD.encode("utf-16"), "must be UTF-8 text, got UTF-16"),
        (GOOD.encode() + b"note: Ren\xe9\n", "must be UTF-8 text, got the byte 0xe9 in line 4"),
        (b"\x7fELF\0\0\0", "must be text, got a null byte in line 1"),
        (GOOD + "#" * (1 << 18), "at most 256 KiB"),
        ("", "must contain a mapping .* got an empty file"),
        ("[a, b]", "must contain a mapping .* got list"),
        ("name", "must contain a mapping .* got str"),
    ],
)
def test_an_invalid_experiment_file_is_an_error_with_its_line(tmp_path, content, problem):
    sentence = refusal(tmp_path, content)
    assert re.search(problem, sentence)
    assert str(tmp_path / "experiment.yaml") in sentence


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("training: {seed: -1}", r"training\.seed must be .* 0, got '-1'"),
        ("training: {seed: 4294967296}", r"training\.seed must be .* 4294967295, got '4294967296'"),
        ("{training: {seed: 4294967295}, seeds: 2}", r"training\.seed \+ seeds - 1 must be at most 4294967295"),
        ("training: {learning_rate: .inf}", r"training\.learning_rate must be .*number, got '\.inf'"),
        ("training: {learning_rate: .nan}", r"training\.learning_rate must be .*number, got '\.nan'"),
        ("training: {learning_rate: infinity}", r"training\.learning_rate must be a finite number"),
        ("training: {epochs: 1.5}", r"training\.epochs must be a valid integer, got '1\.5'"),
        ("training: {epochs: true}", r"training\.epochs must be a valid integer, got 'true'"),
        ("training: {epochs: [3]}", r"training\.epochs must be a valid integer, got list"),
        ("features: {clip_seconds: 1e9}", r"features\.clip_seconds must be .* 3600, got '1e9'"),
        (f"seeds: {'9' * 5000}", r"seeds: .*integer.*got '9+'\.\.\. \(5000 characters\)"),
        ("processes: 1000000", "processes must be .* 1024"),
        ("training: 5", "training must be a mapping, got '5'"),
        ('corpus: {path: "a\\0b"}', r"corpus\.path must be a path on this machine.* got 'a\\x00b'"),
        ("corpus: {path: s3://bucket/x}", r"corpus\.path must be a path on this machine.* got 's3://bucket/x'"),
        ("corpus: {path: ''}", r"corpus\.path must be a path on this machine.* got ''"),
        ("corpus: {path: null}", r"corpus\.path must be a path, got None"),
        ("corpus: {path: x, labels: []}", r"corpus\.labels must have at least 1 item"),
        ("corpus: {path: x, labels: [a, a]}", r"labels must be unique, got 'a' twice"),
        ("corpus: {path: x, labels: [a, A]}", r"labels must not look alike, got 'a' and 'A'"),
        ("models: [{name: m, blocks: conv, baseline: m}]", "baseline of 'm' must be one of the other models, got 'm'"),
        (
            "models: [{name: m, blocks: conv}, {name: n, blocks: conv, baseline: [m, m]}]",
            "baseline of 'n' must name each model once, got 'm' twice",
        ),
        (
            "models: [{name: m, blocks: lstm, shift: {placement: inplace, n_div: 1, bidirectional: true}}]",
            r"models\[0\]\.shift: n_div must be at least 2 if bidirectional is true, got 1",
        ),
        ("models: [m]", r"models\[0\] must be a mapping, got 'm'"),
        ("models: {name: m, blocks: conv}", "models must be a valid list, got dict"),
    ],
)
def test_an_invalid_value_is_an_error_with_its_key_and_value(tmp_path, line, problem):
    text = line[1:-1].replace("}, ", "}\n") if line.startswith("{") else line
    key = text.partition(":")[0]
    base = "\n".join(each for each in GOOD.splitlines() if not each.startswith(key))
    assert re.search(problem, refusal(tmp_path, f"{base}\n{text}\n"))


def test_numbers_words_and_anchors_are_read_literally(tmp_path):
    experiment = read(
        tmp_path,
        "name: 2024-01-01\nseeds: 010\ncorpus: {path: ., note: no, labels: [1, 02, yes]}\n"
        "training: {shuffle: no, learning_rate: 1e-3, epochs: 3}\n"
        "models:\n  - &base {name: 1e3, blocks: conv}\n  - {<<: *base, name: off, baseline: 1e3}\n",
    )
    assert (experiment.name, experiment.seeds, experiment.corpus.note) == ("2024-01-01", 10, "no")
    assert experiment.corpus.labels == ("1", "02", "yes")
    assert (experiment.training.shuffle, experiment.training.learning_rate) == (False, 1e-3)
    assert [(model.name, model.blocks, model.baseline) for model in experiment.models] == [
        ("1e3", "conv", ()),
        ("off", "conv", ("1e3",)),
    ]


def test_a_model_has_one_baseline_or_a_list_of_them(tmp_path):
    experiment = read(
        tmp_path,
        "name: x\ncorpus: {path: .}\nmodels:\n  - {name: a, blocks: conv}\n  - {name: b, blocks: conv, baseline: a}\n"
        "  - {name: c, blocks: conv, baseline: [b, a]}\n",
    )
    assert [model.baseline for model in experiment.models] == [(), ("a",), ("b", "a")]


@pytest.mark.parametrize("name", [".", "missing.yaml", "a\0b", "x" * 300, "experiment.yaml/x"])
def test_a_path_that_is_not_a_file_is_an_error_without_an_errno(tmp_path, name):
    (tmp_path / "experiment.yaml").write_text(GOOD)
    with pytest.raises(RecipeError, match=r"^(the|there is no) experiment file [^\n]*$") as raised:
        read_experiment(tmp_path / name)
    assert "Errno" not in str(raised.value)
