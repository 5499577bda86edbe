"""``python -m benchmarks cross-corpus``: test a model on a corpus that it was not trained on.

The reader of the corpus is detected automatically. Utterances with labels that are not classes of the model are
skipped. Each utterance is one clip, as in training. The model also gets two sounds without speech, silence and white
noise. The record has one line with WA, UA, ECE and the confusion counts of the corpus, and one line per sound
with the probabilities.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from temporal_shift.ser.audio.reading import read_clip
from temporal_shift.ser.audio.resampling import SAMPLE_RATE
from temporal_shift.ser.config import Corpus
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.inference.recognizer import Recognizer
from temporal_shift.ser.training import metrics
from temporal_shift.ser.training.calibration import expected_calibration_error
from temporal_shift.ser.utils.atomic_files import file_sha256
from temporal_shift.ser.utils.errors import RecipeError

from .measure import record_file
from .measure.measurements import Line
from .measure.real_speech import FOLDER

_BATCH = 8
_WEIGHTS = "model.safetensors"


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks cross-corpus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="folder of the model")
    parser.add_argument("corpus", type=Path, help="folder, table or manifest of the corpus")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the record (default: %(default)s)")
    options = parser.parse_args(argv)
    record_file.make_folder(options.out, parser)
    try:
        lines = [*lines_of(options.model, options.corpus)]
    except RecipeError as error:
        parser.error(str(error))
    path = options.out / f"cross-{options.model.name.lower()}-{options.corpus.stem}.jsonl"
    record_file.write(path, lines)
    print(f"{path}: UA {100 * lines[0]['ua']:.1f} %")


def lines_of(model: Path, corpus: Path) -> Iterator[Line]:
    """The lines of the record of a model on a corpus.

    Raises:
        RecipeError: If the model or the corpus cannot be read, or no label of the corpus is a class of the model.
    """
    recognizer = Recognizer.load(str(model))
    head = {
        "suite": "real-speech",
        **record_file.environment(recognizer.model.device.type),
        "model": model.name,
        "model_sha256": file_sha256(model / _WEIGHTS),
    }
    yield {**head, "kind": "cross-corpus", "what": corpus.stem, **_scores(recognizer, corpus)}
    for name, wave in _sounds(recognizer.window):
        row = recognizer.probabilities(wave[None])[0].tolist()
        yield {
            **head,
            "kind": "sound",
            "what": name,
            "probabilities": dict(zip(recognizer.labels, row, strict=True)),
        }


def _scores(recognizer: Recognizer, corpus: Path) -> Line:
    labels = recognizer.labels
    everything = read_corpus(Corpus(reader="auto", path=corpus))
    chosen = [each for each in everything.utterances if each.label in labels]
    if not chosen:
        raise RecipeError(
            f"the labels of {corpus} must include one of {', '.join(labels)}, got {', '.join(everything.labels)}"
        )
    clips = [read_clip(each.path, recognizer.window) for each in chosen]
    batches = [np.stack(clips[start : start + _BATCH]) for start in range(0, len(clips), _BATCH)]
    probabilities = np.concatenate([recognizer.probabilities(batch) for batch in batches])
    truth = np.array([labels.index(each.label) for each in chosen])
    counts = metrics.confusion(truth, probabilities.argmax(axis=1), len(labels))
    return {
        "labels": [*labels],
        "utterances": len(chosen),
        "speakers": len({each.speaker for each in chosen}),
        "ua": float(metrics.unweighted_accuracy(counts)),
        "wa": float(metrics.weighted_accuracy(counts)),
        "ece": expected_calibration_error(probabilities, truth),
        "confusion": counts.tolist(),
    }


def _sounds(seconds: float) -> Iterator[tuple[str, np.ndarray[tuple[int], np.dtype[np.float32]]]]:
    samples = round(seconds * SAMPLE_RATE)
    yield "silence", np.zeros(samples, dtype=np.float32)
    noise = np.random.default_rng(0).standard_normal(samples)
    yield "white noise, -20 dBFS", (0.1 * noise).clip(-1, 1).astype(np.float32)
