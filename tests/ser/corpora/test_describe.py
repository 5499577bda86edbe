"""``temporal-shift ser describe``, compared with a plain computation."""

from __future__ import annotations

import io
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import pytest
from typer.testing import CliRunner

from temporal_shift.ser.cli import app
from temporal_shift.ser.corpora import description, description_plot
from temporal_shift.ser.corpora.manifest import Manifest, Utterance, write_manifest
from temporal_shift.ser.utils import plot_style
from temporal_shift.ser.utils.plot_style import to_png


def utterance(number: int, *, seconds: float = 1.0, rate: int = 16_000, **values: str) -> Utterance:
    samples = round(seconds * rate)
    values = {"label": "sad", "speaker": f"s{number % 4}", "session": f"Group{number % 4}", **values}
    return Utterance(
        id=f"u{number}",
        path=Path(f"/corpus/u{number}.wav"),
        start=0.0,
        end=samples / rate,
        samples=samples,
        sample_rate=rate,
        sha256=f"{number:064x}",
        style="",
        **values,
    )


@pytest.fixture
def manifest() -> Manifest:
    """A hundred utterances of four speakers, at two rates, some longer than the clip."""
    generator = random.Random(0)
    return Manifest(
        tuple(
            utterance(
                number,
                seconds=generator.uniform(0.2, 9),
                rate=generator.choice((16_000, 44_100)),
                label=generator.choice(("happy", "sad", "sad", "neutral")),
            )
            for number in range(100)
        ),
        ("happy", "neutral", "sad"),
    )


def quantile(values: list[float], share: float) -> float:
    """Quantile by linear interpolation."""
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return sorted(values)[low] + (place - low) * (sorted(values)[high] - sorted(values)[low])


def test_the_table_of_classes_counts_by_session_and_class_with_sums():
    kinds = [("B", "sad"), ("A", "sad"), ("A", "sad"), ("A", "happy")]
    utterances = [utterance(k, session=session, label=label) for k, (session, label) in enumerate(kinds)]
    table = description.classes_by_session(Manifest(tuple(utterances), ("happy", "sad")))
    assert table.header == ("Session", "happy", "sad", "all")
    assert table.rows == [("A", "1", "2", "3"), ("B", "0", "1", "1"), ("all", "1", "3", "4")]


def test_the_figures_equal_a_plain_computation(manifest):
    found = description.describe(manifest)
    seconds = [u.samples / u.sample_rate for u in manifest.utterances]
    labels = Counter(u.label for u in manifest.utterances)
    assert (found.utterances, found.speakers, found.sessions) == (100, 4, 4)
    assert found.minutes == pytest.approx(sum(seconds) / 60)
    assert (found.shortest, found.longest) == (min(seconds), max(seconds))
    assert found.median == pytest.approx(quantile(seconds, 0.5))
    assert found.percentile_95 == pytest.approx(quantile(seconds, 0.95))
    assert found.longer_than_clip == pytest.approx(sum(each > 7.5 for each in seconds) / 100)
    assert found.sample_rates == {
        rate: sum(u.sample_rate == rate for u in manifest.utterances) for rate in (16_000, 44_100)
    }
    assert found.per_speaker == (25, 25.0, 25)
    assert (found.largest, found.chance_wa) == ("sad", labels["sad"] / 100)
    assert found.chance_ua == pytest.approx(1 / 3)
    assert (found.in_several_sessions, found.duplicates) == ({}, ())


def test_the_speakers_of_several_sessions_are_found():
    manifest = Manifest((utterance(0), utterance(1), utterance(2, speaker="s0"), utterance(5, speaker="s0")), ("sad",))
    found = description.describe(manifest)
    assert found.in_several_sessions == {"s0": ("Group0", "Group1", "Group2")}
    assert description.findings(found) == [
        "the speaker s0 is in Group0 and Group1 and Group2: folds by session would test on training speakers",
        "no recording occurs twice",
    ]


def test_identical_recordings_are_found_with_their_differences():
    same = [
        utterance(0),
        replace(utterance(4, label="happy"), sha256=f"{0:064x}"),
        utterance(1),
        replace(utterance(2), sha256=f"{1:064x}"),
        utterance(3),
        replace(utterance(7), sha256=f"{3:064x}"),
    ]
    found = description.describe(Manifest(tuple(same), ("happy", "sad")))
    assert [[u.id for u in these] for these in found.duplicates] == [["u0", "u4"], ["u1", "u2"], ["u3", "u7"]]
    assert description.findings(found) == [
        "no speaker is in two sessions",
        "u0 and u4 are the same recording, with the labels happy and sad",
        "u1 and u2 are the same recording, with the speakers s1 and s2, the sessions Group1 and Group2",
        "u3 and u7 are the same recording",
    ]


def test_at_most_twenty_findings_are_printed():
    same = [replace(utterance(number), sha256=f"{number // 2:064x}") for number in range(100)]
    sentences = description.findings(description.describe(Manifest(tuple(same), ("sad",))))
    assert len(sentences) == 1 + 20 + 1
    assert sentences[-1] == "... and 30 more"


def test_classes_without_utterances_do_not_count_for_chance():
    found = description.describe(Manifest((utterance(0), utterance(1, label="happy")), ("calm", "happy", "sad")))
    assert (found.largest, found.chance_wa, found.chance_ua) == ("happy", 0.5, 0.5)


def typed(*arguments: object, code: int = 0) -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["ser", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def test_describe_prints_tables_and_saves_the_plot_beside_the_manifest(tmp_path, manifest):
    path = tmp_path / "corpus.jsonl"
    write_manifest(manifest, path)
    printed = typed("describe", path)
    found = description.describe(manifest)
    for text in (
        rf"utterances +{found.utterances}\n",
        rf"minutes +{found.minutes:.1f}\n",
        rf"{found.shortest:.2f}, {found.median:.2f}, {found.percentile_95:.2f}, {found.longest:.2f}\n",
        rf"longer than 7\.5 s +{100 * found.longer_than_clip:.1f} %\n",
        rf"always sad: WA, UA +{100 * found.chance_wa:.1f} %, 33\.3 %\n",
        r"minimum, median, maximum +25, 25, 25\n",
        r"Group0( +\d+){3} +25\n",
        r"s3 +Group3 +\d\.\d( +\d+){3} +25\n",
        r"no speaker is in two sessions\nno recording occurs twice\n",
    ):
        assert re.search(text.replace(r"\n", r" *\n"), printed), text
    assert printed.endswith(f"{tmp_path}/corpus.png\n")
    drawn = (tmp_path / "corpus.png").read_bytes()
    assert drawn == to_png(description_plot.corpus_figure(manifest))
    assert matplotlib.image.imread(io.BytesIO(drawn)).shape[1] > 1000
    assert sorted(file.name for file in tmp_path.iterdir()) == ["corpus.jsonl", "corpus.png"]


def test_the_plot_is_saved_to_the_given_path_and_a_failed_one_leaves_no_file(tmp_path, manifest, monkeypatch):
    path = tmp_path / "corpus.jsonl"
    write_manifest(manifest, path)
    typed("describe", path, "--plot", tmp_path / "new" / "drawn.png")
    assert (tmp_path / "new" / "drawn.png").stat().st_size > 10_000
    assert not (tmp_path / "corpus.png").exists()

    def fail(figure: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(plot_style, "to_png", fail)
    typed("describe", path, code=130)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["corpus.jsonl"]


def test_a_plot_of_many_speakers_and_classes_is_drawn():
    labels = tuple(f"class {number}" for number in range(10))
    many = [utterance(n, speaker=f"{n:03d}", session=f"Group{n % 5}", label=labels[n % 10]) for n in range(100)]
    figure = description_plot.corpus_figure(Manifest(tuple(many), labels))
    bars = figure.axes[1].containers
    assert len(bars) == 10
    assert sum(bar.get_width() for bar in (bar for container in bars for bar in container)) == 100


def test_ticks_of_utterance_counts_are_integers():
    for count in (1, 3):
        few = Manifest(tuple(utterance(n) for n in range(count)), ("sad",))
        axes = description_plot.corpus_figure(few).axes[1]
        assert all(tick == round(tick) for tick in axes.get_xticks() if tick <= axes.get_xlim()[1])


def test_an_invalid_manifest_or_plot_path_is_one_line_and_exit_code_2(tmp_path, manifest):
    path = tmp_path / "corpus.jsonl"
    assert typed("describe", path, code=2) == f"error: there is no manifest {path}\n"
    path.write_text("{}\nnonsense\n")
    assert typed("describe", path, code=2).startswith("error: 12 problems:\n")
    write_manifest(manifest, path)
    assert re.match(r"error: --plot .*\.png.*drawn\.pdf", typed("describe", path, "--plot", "drawn.pdf", code=2))
