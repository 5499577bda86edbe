"""``temporal-shift ser predict``: a prediction for each file, or one line with the reason why there is none."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import numpy as np
import pytest
import soundfile
import soxr
from rich.console import Console
from typer.testing import CliRunner

from temporal_shift.ser import Recognizer
from temporal_shift.ser.audio.reading import read_blocks
from temporal_shift.ser.cli import app
from temporal_shift.ser.cli.predict import predict as command
from temporal_shift.ser.inference import predict_files
from temporal_shift.ser.inference.predict_files import Answer, Outcome, expand
from temporal_shift.ser.inference.recognizer import Window, mean_probabilities
from temporal_shift.ser.inference.remarks import level_of, remark
from temporal_shift.ser.utils.wording import printable

from ..small_model import LABELS, small_model

RATE = 16000
ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "predict.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A model with a window of 0.5 s. Its random predictions differ between sounds."""
    folder = tmp_path_factory.mktemp("model") / "model"
    small_model("wav2vec2").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def recognizer(model) -> Recognizer:
    return Recognizer.load(model)


@pytest.fixture
def typed(tmp_path, monkeypatch, model):
    """Runs the command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, code: int = 0, stdin: bytes = b"") -> SimpleNamespace:
        arguments = ("ser", "predict", "--model", model, *map(str, arguments))
        done = CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)
        assert done.exit_code == code, done.output
        return SimpleNamespace(out=done.stdout, err=done.stderr, bytes=done.stdout_bytes)

    return run


def sound(seed: int, seconds: float) -> np.ndarray:
    """Noise below 4 kHz with slow changes and a level set by the seed; resampling preserves it."""
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * 8000)) * (0.1 + 0.08 * (seed % 12))
    return soxr.resample(noise * np.hanning(len(noise)), 8000, RATE).astype(np.float32)


def write(name: str, wave: np.ndarray, rate: int = RATE, **how: str) -> str:
    soundfile.write(name, wave, rate, **({"subtype": "FLOAT"} if name.endswith(".wav") and not how else how))
    return name


def halved(name: str) -> str:
    Path(name).write_bytes(Path(name).read_bytes()[: Path(name).stat().st_size // 2])
    return name


def numbers(answer: dict) -> np.ndarray:
    return np.array([answer["probabilities"][label] for label in LABELS])


def broken_files() -> dict[str, str]:
    """Twenty paths that have no prediction, with the reasons. Writes the files, except two that are missing."""
    reasons = {}
    for name in ("empty1.wav", "empty2.flac"):
        Path(name).touch()
        reasons[name] = f"the audio file {name} cannot be read: it has 0 bytes"
    reasons[halved(write("truncated1.wav", sound(1, 1.0)))] = (
        "the audio file truncated1.wav is cut off: its header states 1.00 s, but it contains 0.50 s"
    )
    reasons[halved(write("truncated2.flac", sound(1, 1.0)))] = (
        "the audio file truncated2.flac is cut off or damaged: flac decoder lost sync"
    )
    for name in ("text1.wav", "text2.mp3"):
        Path(name).write_text("what was said\n" * 100)
        reasons[name] = f"the audio file {name} cannot be read: Format not recognised"
    for name, place in (("nan1.wav", 0), ("nan2.wav", 7999)):
        wave = sound(2, 0.5)
        wave[place] = np.nan
        reasons[write(name, wave)] = f"the audio file {name} contains samples that are not finite"
    for name in ("0s1.wav", "0s2.ogg"):
        reasons[write(name, np.zeros(0))] = f"the audio file {name} is empty"
    for name in ("sample1.wav", "sample2.flac"):
        reasons[write(name, np.full(1, 0.5))] = (
            f"the audio file {name} must be at least 0.1 s long, got 0.00006 s (1 sample at 16 kHz)"
        )
    for name in ("fast1.wav", "fast2.wav"):
        reasons[halved(write(name, soxr.resample(sound(3, 1.0), RATE, 96000), 96000, subtype="PCM_24"))] = (
            f"the audio file {name} is cut off: its header states 1.00 s, but it contains 0.50 s"
        )
    for name, channel in (("wide1.wav", 0), ("wide2.wav", 7)):
        wave = np.stack([sound(4, 0.5)] * 8, axis=1)
        wave[1000, channel] = np.inf
        reasons[write(name, wave)] = f"the audio file {name} contains samples that are not finite"
    for name in ("missing1.wav", "missing2.flac"):
        reasons[name] = f"there is no audio file {name}"
    Path("folder.wav").mkdir()
    reasons["folder.wav"] = "folder.wav must be a file, got a folder: pass a pattern, such as 'folder.wav/**/*.wav'"
    if os.geteuid():
        Path(write("locked.wav", sound(5, 0.5))).chmod(0)
        reasons["locked.wav"] = "the audio file locked.wav cannot be read: Permission denied"
    else:  # root can read everything
        Path("video.wav").write_bytes(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2mp41" + bytes(100))
        reasons["video.wav"] = "the audio file video.wav cannot be read: Format not recognised"
    return reasons


def whole_files() -> list[str]:
    """180 files of 60 sounds: a WAV, a copy at 96 kHz or with eight channels, and a file of another format."""
    names = []
    for number in range(60):
        wave = sound(number, 0.2 + 0.02 * number)
        names.append(write(f"good{number}.wav", wave))
        names.append(
            write(f"good{number}-fast.wav", soxr.resample(wave, RATE, 96000), 96000)
            if number % 2
            else write(f"good{number}-wide.wav", np.stack([wave] * 8, axis=1))
        )
        names.append(write(f"good{number}.{('flac', 'ogg', 'mp3', 'aiff')[number % 4]}", wave))
    return names


def test_of_200_files_the_20_broken_ones_get_a_reason_and_the_others_a_prediction(typed):
    reasons, good = broken_files(), whole_files()
    assert (len(reasons), len(good)) == (20, 180)
    files = [file for place in range(20) for file in [*good[9 * place : 9 * place + 9], [*reasons][place]]]
    done = typed("--format", "json", *files, code=1)
    said = json.loads(done.out)
    assert [answer["file"] for answer in said["files"]] == good
    assert said["errors"] == [{"file": file, "reason": reason} for file, reason in reasons.items()]
    assert done.err == "".join(reason + "\n" for reason in reasons.values())
    for plain, copy in zip(said["files"][::3], said["files"][1::3], strict=True):
        assert (copy["label"], copy["seconds"]) == (plain["label"], plain["seconds"])
        np.testing.assert_allclose(numbers(copy), numbers(plain), atol=1e-4 if "fast" in copy["file"] else 1e-6)
    assert np.ptp([numbers(answer) for answer in said["files"]], axis=0).max() > 0.2  # the predictions differ


def test_json_has_the_probabilities_of_the_recognizer_to_the_last_digit(typed, model, recognizer):
    files = [write("short.wav", sound(1, 0.3)), write("long.wav", sound(2, 1.9))]
    said = json.loads(typed("--format", "json", *files).out)
    assert {key: said[key] for key in ("model", "labels", "window_seconds", "errors")} == {
        "model": model,
        "labels": [*LABELS],
        "window_seconds": 0.5,
        "errors": [],
    }
    for answer, seconds in zip(said["files"], (0.3, 1.9), strict=True):
        windows = list(recognizer.windows(read_blocks(Path(answer["file"]))))
        assert answer["seconds"] == seconds
        np.testing.assert_allclose(numbers(answer), mean_probabilities(windows), atol=1e-9)
        assert answer["label"] == LABELS[int(np.argmax(mean_probabilities(windows)))]
        if seconds < 0.5:
            assert "windows" not in answer
            continue
        assert [(window["start"], window["end"]) for window in answer["windows"]] == [
            (window.start, window.end) for window in windows
        ]
        for told, window in zip(answer["windows"], windows, strict=True):
            assert np.array_equal(numbers(told).astype(np.float32), np.float32(window.probabilities))
            assert told["label"] == LABELS[int(np.argmax(window.probabilities))]


@pytest.mark.parametrize(("hop", "starts"), [(None, [0, 0.25, 0.5, 0.7]), (0.5, [0, 0.5, 0.7]), (0.4, [0, 0.4, 0.7])])
def test_windows_cover_the_file_from_its_start_to_its_end(typed, hop, starts):
    write("a.wav", sound(3, 1.2))
    (answer,) = json.loads(typed("--format", "json", *(["--hop", hop] if hop else []), "a.wav").out)["files"]
    windows = answer["windows"]
    assert [window["start"] for window in windows] == starts
    assert all(window["end"] - window["start"] == pytest.approx(0.5) for window in windows)
    assert windows[-1]["end"] == answer["seconds"] == 1.2


def test_csv_has_the_same_numbers_as_json(typed):
    files = [write("a, b.wav", sound(1, 0.3)), write("long.wav", sound(2, 1.2))]
    said = json.loads(typed("--format", "json", *files).out)["files"]
    rows = list(csv.DictReader(io.StringIO(typed("--format", "csv", *files).out)))
    assert [*rows[0]] == ["file", "seconds", "start", "end", "label", "remark", *LABELS]
    assert len(rows) == 2
    for row, answer in zip(rows, said, strict=True):
        assert (row["file"], row["label"]) == (answer["file"], answer["label"])
        assert [float(row[key]) for key in ("seconds", "start", "end")] == [answer["seconds"], 0, answer["seconds"]]
        assert [float(row[label]) for label in LABELS] == numbers(answer).tolist()
    rows = list(csv.DictReader(io.StringIO(typed("--format", "csv", "--windows", *files).out)))
    assert [row["file"] for row in rows] == ["a, b.wav"] + ["long.wav"] * 4
    for row, window in zip(rows[1:], said[1]["windows"], strict=True):
        assert [float(row[key]) for key in ("seconds", "start", "end")] == [1.2, window["start"], window["end"]]
        assert [float(row[label]) for label in LABELS] == numbers(window).tolist()


def test_the_table_has_a_row_for_each_file_or_for_each_window(typed):
    files = [write("a" * 150 + ".wav", sound(1, 0.3)), write("long.wav", sound(2, 1.2))]
    said = json.loads(typed("--format", "json", *files).out)["files"]
    header, _, first, second = typed(*files).out.splitlines()
    assert header.split() == ["File", "Seconds", "Label", *(cell for label in LABELS for cell in (f"{label},", "%"))]
    assert first.split() == [files[0], "0.30", said[0]["label"], *(f"{100 * share:.1f}" for share in numbers(said[0]))]
    assert second.split()[:3] == ["long.wav", "1.20", said[1]["label"]]
    lines = typed("--windows", *files).out.splitlines()
    assert lines[0].split()[:4] == ["File", "Start", "End", "Label"]
    assert [line.split()[1:3] for line in lines[3:]] == [
        [f"{window['start']:.2f}", f"{window['end']:.2f}"] for window in said[1]["windows"]
    ]


def test_predictions_have_the_order_of_the_names_and_keep_duplicates(typed):
    names = [write(name, sound(1, 0.2)) for name in ("b.wav", "a.wav", "c.wav")]
    said = json.loads(typed("--format", "json", *names, "a.wav").out)["files"]
    assert [answer["file"] for answer in said] == ["b.wav", "a.wav", "c.wav", "a.wav"]
    assert said[1] == said[3]


def test_a_pattern_expands_to_the_matching_files_in_order(typed):
    Path("calls/monday").mkdir(parents=True)
    Path("calls/folder.wav").mkdir()
    names = [write(f"calls/{name}.wav", sound(1, 0.2)) for name in ("b", "monday/c", "a", "[x]")]
    done = typed("--format", "json", "calls/**/*.wav", "calls/[x].wav", "calls/*.flac", code=1)
    found = [answer["file"] for answer in json.loads(done.out)["files"]]
    assert found == [*sorted(names), "calls/[x].wav"]  # [x].wav exists, so it is not a pattern
    assert done.err == "no file matches calls/*.flac\n"


def test_names_are_read_from_standard_input_one_per_line(typed):
    names = [write(name, sound(1, 0.2)) for name in ("a.wav", "b c.wav", "d.wav", "*.wav")]
    typed_in = b"\xef\xbb\xbfa.wav\r\n\n\r\nb c.wav\n*.wav"  # with a byte order mark, as from PowerShell
    said = json.loads(typed("--format", "json", "d.wav", "-", "a.wav", stdin=typed_in).out)["files"]
    assert [answer["file"] for answer in said] == ["d.wav", *names[:2], "*.wav", "a.wav"]
    assert re.match(r"error: FILE must .*standard input\n$", typed("-", code=2, stdin=b"\n\r\n").err)


def test_names_with_odd_bytes_are_handled_and_printed_in_one_line(typed):
    odd, broken, gone = (os.fsdecode(name) for name in (b"\xff.wav", b"two\nlines\x1b[31m.wav", b"null\0.wav"))
    write("plain.wav", sound(1, 0.2))
    Path("plain.wav").rename(odd)
    Path(broken).touch()
    names = b"\n".join([b"\xff.wav", b"null\0.wav", b"gone\xfe.wav"])
    done = typed("--format", "json", "-", broken, "", code=1, stdin=names)
    said = json.loads(done.bytes)
    assert [answer["file"] for answer in said["files"]] == [odd]
    assert [refusal["file"] for refusal in said["errors"]] == [gone, os.fsdecode(b"gone\xfe.wav"), broken, ""]
    assert done.err.splitlines() == [
        r"the audio file null\x00.wav cannot be read: embedded null byte",
        r"there is no audio file gone\udcfe.wav",
        r"the audio file two\nlines\x1b[31m.wav cannot be read: it has 0 bytes",
        "the name of a file must not be empty, got ''",
    ]
    assert typed("--format", "csv", odd).bytes.splitlines()[1].startswith(b"\xff.wav,0.2,0.0,0.2,")
    assert r"\udcff.wav" in typed(odd).out


def test_names_and_labels_cannot_be_formulas_in_csv_or_escape_sequences_in_a_terminal():
    labels = ("=1+1", "\x1b[31mred\x9b2J")
    window = Window(0.0, 1.0, (0.75, 0.25), -20.0)
    names = ("=cmd|' /C calc'!A0.wav", "+1.wav", "@a.wav", "-1-2.wav", "\x1b]0;title\x07.wav")
    answers = [Answer(name, 1.0, labels[0], window.probabilities, (window,)) for name in names]
    outcome = Outcome("model", labels, 1.0, answers, [])
    header, *rows = csv.reader(io.StringIO(outcome.csv(windows=False).decode()))
    assert header[-2:] == ["'=1+1", labels[1]]
    assert [row[0] for row in rows] == [*(f"'{name}" for name in names[:4]), names[4]]
    assert {row[4] for row in rows} == {"'=1+1"}
    assert [answer["file"] for answer in json.loads(outcome.json())["files"]] == [*names]
    shown = io.StringIO()
    Console(file=shown, width=200).print(outcome.table(windows=False).for_terminal())
    assert r"\x1b[31mred\x9b2J, %" in shown.getvalue()
    assert r"\x1b]0;title\x07.wav" in shown.getvalue()
    assert "\x1b" not in shown.getvalue()


SOUNDS = {  # name: samples, whether they are silence
    "digital silence": (np.zeros(8000), True),
    "a constant offset": (np.full(8000, 0.5), True),
    "the noise of 16 bits": (np.random.default_rng(0).integers(-1, 2, 8000) / 32768, True),
    "noise of -66 dBFS": (np.random.default_rng(0).normal(0, 5e-4, 8000), True),
    "noise of -54 dBFS": (np.random.default_rng(0).normal(0, 2e-3, 8000), False),
    "a word of 0.1 s in silence": (np.pad(sound(1, 0.1), (3000, 3400)), False),
}


def test_a_recording_without_sound_has_a_remark_in_every_format(typed):
    files = [write(f"{name}.wav", wave) for name, (wave, _) in SOUNDS.items()]
    expected = ["no speech found" if silent else "" for _, silent in SOUNDS.values()]
    assert [each["remark"] for each in json.loads(typed("--format", "json", *files).out)["files"]] == expected
    rows = csv.DictReader(io.StringIO(typed("--format", "csv", *files).out))
    assert [row["remark"] for row in rows] == expected
    header, _, *lines = typed(*files).out.splitlines()
    assert header.split()[3] == "Remark"
    assert ["no speech found" in line for line in lines] == [silent for _, silent in SOUNDS.values()]


def test_each_window_of_a_long_file_has_its_own_remark(typed):
    write("a.wav", np.concatenate([sound(1, 0.5), np.zeros(8000, dtype=np.float32)]))
    (answer,) = json.loads(typed("--format", "json", "--hop", "0.5", "a.wav").out)["files"]
    assert answer["remark"] == ""
    assert [window["remark"] for window in answer["windows"]] == ["", "no speech found"]


def test_a_tie_names_its_classes():
    assert remark(("a", "b", "c"), (0.4, 0.4 + 1e-9, 0.2), -20.0) == "tie: a, b"
    assert remark(("a", "b"), (0.50001, 0.49999), -20.0) == ""
    assert remark(("a", "b"), (0.5, 0.5), -90.0) == "no speech found; tie: a, b"


def test_the_level_is_measured_in_the_loudest_25_ms_in_dbfs():
    sine = np.sin(2 * np.pi * np.arange(16000) / 16).astype(np.float32)
    assert level_of(sine) == pytest.approx(-3.01, abs=0.01)
    assert level_of(np.concatenate([0.001 * sine, 0.1 * sine[:800]])) == pytest.approx(-23.01, abs=0.01)


def test_printable_keeps_readable_characters():
    assert printable("Grüße 問 a'b\\c") == "Grüße 問 a'b\\c"
    assert printable("a\tb\u2028c") == r"a\tb\u2028c"


def test_the_output_cannot_replace_a_file_of_the_model(typed, model):
    write("a.wav", sound(1, 0.2))
    path = Path(model, "config.json")
    before = path.read_bytes()
    assert f"--out must not be a file of the model, got {path}" in typed("-o", path, "a.wav", code=2).err
    assert path.read_bytes() == before


@pytest.mark.parametrize("samples", [1, 100, 1599])
def test_recordings_below_a_tenth_of_a_second_are_refused(typed, samples):
    write("a.wav", np.ones(samples) / 2)
    plural = "s" * (samples > 1)
    assert re.search(rf"at least 0\.1 s.* s \({samples} sample{plural} at 16 kHz\)", typed("a.wav", code=2).err)
    write("a.wav", np.ones(1600) / 2)
    assert typed("a.wav").err == ""


def test_samples_on_another_scale_than_1_are_refused(typed):
    for peak, shown in ((3e38, r"3e\+38"), (10_000, "10000")):
        write("large.wav", np.full((4000, 8), peak, dtype=np.float32))
        error = typed("--format", "json", "large.wav", code=2).err
        assert re.search(rf"large\.wav .*samples in \[-32, 32\], got a peak of {shown}", error)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--hop", "0", "a.wav"), "--hop must be in [0.01, 0.5] s, up to the model's window, got 0"),
        (("--hop", "nan", "a.wav"), "--hop must be in [0.01, 0.5] s, up to the model's window, got nan"),
        (("--hop", "0.001", "a.wav"), "--hop must be in [0.01, 0.5] s, up to the model's window, got 0.001"),
        (("--hop", "0.6", "a.wav"), "--hop must be in [0.01, 0.5] s, up to the model's window, got 0.6"),
        (("--model", "nowhere/at/all", "a.wav"), "there is no model folder nowhere/at/all"),
        (("--model", "./gone", "a.wav"), "there is no model folder ./gone"),
        (("--model", "./\x1b[31m", "a.wav"), r"there is no model folder ./\x1b[31m"),
        (("--model", "~/gone", "a.wav"), "there is no model folder ~/gone"),
        (("--model", "a.wav", "a.wav"), "the model must be a folder or a hub name, got the file a.wav"),
        (("--model", "x" * 400, "a.wav"), "there is no model folder xxx"),
        (("-o", "a.wav", "./a.wav"), "--out must not be one of the recordings, got a.wav"),
        (("--model", "", "a.wav"), "the name of the model must not be empty"),
        (("--revision", "v1", "a.wav"), "revision must not be given with a model folder, got 'v1'"),
        (("--output", ".", "a.wav"), "--out must be a file, got the folder ."),
        (("-o", "a.wav/b", "a.wav"), "--out a.wav/b cannot be written: "),
    ],
)
def test_a_usage_error_is_one_line_with_exit_code_2(typed, arguments, sentence):
    write("a.wav", sound(1, 0.2))
    done = typed(*arguments, code=2)
    assert (done.out, done.err.count("\n")) == ("", 1)
    assert done.err.startswith(f"error: {sentence}")


def test_the_error_for_a_hub_name_says_that_there_is_no_such_folder(typed, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    write("a.wav", sound(1, 0.2))
    done = typed("--model", "models/gone", "a.wav", code=2)
    assert re.match(
        r"error: there is no folder models/gone, and the model models/gone cannot be loaded: .+\n$", done.err
    )


def test_the_exit_code_tells_whether_all_some_or_no_files_have_a_prediction(typed):
    write("a.wav", sound(1, 0.2))
    assert typed("a.wav").err == ""
    assert typed("a.wav", "gone.wav", code=1).err == "there is no audio file gone.wav\n"
    for format in ("table", "csv", "json"):
        printed = typed("gone.wav", "no*.wav", "--format", format, code=2).out
        assert (printed == "") == (format == "table")


def test_a_call_without_files_is_a_usage_error(typed):
    assert "Missing argument 'FILE...'" in typed(code=2).err


def test_the_output_file_is_written_atomically(typed):
    write("a.wav", sound(1, 0.2))
    Path("out.json").write_text("before")
    typed("--output", "out.json", "--hop", "9", "a.wav", code=2)
    assert Path("out.json").read_text() == "before"
    printed = typed("--format", "json", "a.wav", "gone.wav", code=1)
    done = typed("--format", "json", "-o", "out.json", "a.wav", "gone.wav", code=1)
    assert (done.out, done.err) == ("", "there is no audio file gone.wav\n")
    assert Path("out.json").read_text() == printed.out
    typed("-o", "new/folder/out.txt", "a.wav")
    assert Path("new/folder/out.txt").read_text() == typed("a.wav").out
    assert {path.name for path in Path().rglob("*")} == {"a.wav", "out.json", "new", "folder", "out.txt"}


def test_ctrl_c_writes_the_finished_predictions(typed, monkeypatch):
    names = [write(f"{name}.wav", sound(1, 0.2)) for name in "abc"]
    answer_or_refuse = predict_files.answer_or_refuse

    def until_b(recognizer, file, *arguments):
        if file == "b.wav":
            raise KeyboardInterrupt
        return answer_or_refuse(recognizer, file, *arguments)

    monkeypatch.setattr(predict_files, "answer_or_refuse", until_b)
    done = typed("--format", "json", *names, "no*.wav", code=130)
    said = json.loads(done.out)
    assert done.err == "\nstopped: 1 of 4 files finished\n"
    assert [answer["file"] for answer in said["files"]] == ["a.wav"]
    assert said["errors"] == [
        {"file": name, "reason": "stopped before the end of the file"} for name in ("b.wav", "c.wav", "no*.wav")
    ]


def test_a_closed_pipe_ends_the_command_silently(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    write("a.wav", sound(1, 0.2))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", nobody)
        command(["a.wav"], model)
        nobody.write("what Python flushes in the end")


def test_a_dash_is_replaced_by_the_names_on_standard_input():
    names = ["a", "-", "-", "b?"]
    assert [*expand(names, iter([b"x\n", b"y"]))] == ["a", "x", "y", predict_files.Refusal("b?", "no file matches b?")]


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The recordings of docs/predict.md, made from the quickstart's corpus, next to the repository's examples."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("examples").symlink_to(ROOT / "examples")
    Path("calls").mkdir()
    names = sorted(Path("examples/quickstart/corpus/Session1/sentences/wav/Ses01F_impro01").glob("*_F00*.ogg"))
    said = np.concatenate([np.concatenate([*read_blocks(name)]) for name in names[:5]])
    soundfile.write("calls/anna.flac", said[: soundfile.info(names[0]).frames], RATE)
    soundfile.write("calls/long.wav", said[: 7 * RATE], RATE)


@pytest.mark.usefixtures("calls")
def test_the_outputs_on_the_page_match_the_shipped_model():
    pairs = re.findall(
        r"```bash\ntemporal-shift (ser predict [^\n]*)\n```\n\n```\w*\n(.*?)\n```", PAGE, flags=re.DOTALL
    )
    assert len(pairs) == 3
    for line, shown in pairs:
        printed = CliRunner().invoke(app, shlex.split(line), catch_exceptions=False).stdout
        words, expected = (re.split(r"[\s,{}:\[\]─]+", text.strip(" \n")) for text in (printed, shown))
        assert [_number_or_word(word) for word in words] == [_number_or_word(word) for word in expected]


def _number_or_word(word: str) -> object:
    """The number, or the word. Numbers with a point are compared approximately: decoders change their last digits."""
    try:
        return pytest.approx(float(word), abs=2e-3) if "." in word else float(word)
    except ValueError:
        return word


def test_the_reasons_on_the_page_match_the_command(typed):
    (block,) = re.findall(r"```\n(there is no .*?)```", PAGE, flags=re.DOTALL)
    reasons = set(broken_files().values())
    assert set(block.splitlines()) <= reasons
