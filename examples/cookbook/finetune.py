"""Fine-tune a Hugging Face speech model with temporal shifts, and test it on speakers that it was not trained on.

python examples/cookbook/finetune.py facebook/wav2vec2-base corpus.csv my-model --revision refs/pr/2

``corpus.csv`` has the columns path, label and speaker. The folder of a corpus that the package reads works, too. The
model must be of the wav2vec 2.0 family, such as HuBERT or WavLM. ``--stride 0`` fine-tunes it without a shift, to
compare.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, Trainer, TrainingArguments, set_seed

from temporal_shift import add_temporal_shift
from temporal_shift.ser.audio.reading import read_clip
from temporal_shift.ser.config import Corpus
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.surgery import restore_temporal_shifts, temporal_shift_settings

SHIFTS = "temporal_shifts.json"  # in the model's folder


class Clips(Dataset):
    """Utterances as clips of one length, zero-padded or cut, so that no attention mask is needed."""

    def __init__(self, utterances, labels, extractor, seconds):
        self.utterances, self.labels, self.extractor, self.seconds = utterances, labels, extractor, seconds

    def __len__(self):
        return len(self.utterances)

    def __getitem__(self, index):
        utterance = self.utterances[index]
        rate = self.extractor.sampling_rate
        clip = read_clip(utterance.path, self.seconds, rate)
        values = self.extractor(clip, sampling_rate=rate, return_tensors="pt").input_values[0]
        return {"input_values": values, "labels": self.labels.index(utterance.label)}


def metrics(outputs):
    right = outputs.predictions.argmax(axis=1) == outputs.label_ids
    recalls = [right[outputs.label_ids == label].mean() for label in np.unique(outputs.label_ids)]
    return {"wa": float(right.mean()), "ua": float(np.mean(recalls))}


def load(folder):
    """Load a model that this script saved, with its shifts."""
    model = AutoModelForAudioClassification.from_pretrained(folder)
    return restore_temporal_shifts(model, json.loads((Path(folder) / SHIFTS).read_text()))


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description="Fine-tune a Hugging Face speech model with temporal shifts.")
    parser.add_argument("model", help="model folder or hub name")
    parser.add_argument("corpus", type=Path, help="CSV file (path, label, speaker) or corpus folder")
    parser.add_argument("out", type=Path, help="folder to write; new or empty")
    parser.add_argument("--revision", default="main", help="revision of the model on the hub")
    parser.add_argument("--held-out", help="speaker group to test on (default: the last in alphabetical order)")
    parser.add_argument("--n-div", type=int, default=8, help="1/n-div of the channels move")
    parser.add_argument(
        "--stride", type=int, default=1, help="number of frames by which the channels move; 0: no shift"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a clip")
    parser.add_argument("--epochs", type=float, default=10, help="training epochs")
    parser.add_argument("--batch-size", type=int, default=8, help="clips per training step")
    parser.add_argument("--learning-rate", type=float, default=5e-5, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=42, help="seed of the weights and the order of clips")
    given = parser.parse_args(arguments)

    if given.out.exists() and any(given.out.iterdir()):
        parser.error(f"out must be a new or empty folder, got {given.out}")
    manifest = read_corpus(Corpus.checked(reader="auto", path=given.corpus))
    groups = sorted({each.session for each in manifest.utterances})
    if len(groups) < 2:
        parser.error(f"the corpus must have at least two groups of speakers, got {', '.join(groups)}")
    held_out = given.held_out or groups[-1]
    if held_out not in groups:
        parser.error(f"--held-out must be one of {', '.join(groups)}, got {held_out}")
    set_seed(given.seed)
    model = AutoModelForAudioClassification.from_pretrained(
        given.model,
        revision=given.revision,
        use_safetensors=True,
        trust_remote_code=False,  # run no code from the model's repository
        num_labels=len(manifest.labels),
        id2label=dict(enumerate(manifest.labels)),
        label2id={label: index for index, label in enumerate(manifest.labels)},
        ignore_mismatched_sizes=True,  # allow a model that was fine-tuned for other classes
    )
    model.freeze_feature_encoder()  # the convolutions on the waveform
    layer = type(model.base_model.encoder.layers[0])
    add_temporal_shift(model, layer, placement="residual", branch="dropout", n_div=given.n_div, stride=given.stride)

    extractor = AutoFeatureExtractor.from_pretrained(given.model, revision=given.revision, trust_remote_code=False)
    train, test = (
        Clips(
            [each for each in manifest.utterances if (each.session == held_out) == is_test],
            manifest.labels,
            extractor,
            given.seconds,
        )
        for is_test in (False, True)
    )
    settings = TrainingArguments(
        given.out / "trainer",
        num_train_epochs=given.epochs,
        per_device_train_batch_size=given.batch_size,
        per_device_eval_batch_size=given.batch_size,
        learning_rate=given.learning_rate,
        warmup_steps=0.1,  # share of all steps
        seed=given.seed,
        save_strategy="no",
        report_to=[],
    )
    Trainer(model, settings, train_dataset=train).train()

    shifts = temporal_shift_settings(model)  # a state_dict does not contain them
    model.save_pretrained(given.out)
    extractor.save_pretrained(given.out)
    (given.out / SHIFTS).write_text(json.dumps(shifts))

    results = Trainer(load(given.out), settings, compute_metrics=metrics).evaluate(test)
    speakers = sorted({each.speaker for each in test.utterances})
    print(f"WA {results['eval_wa']:.3f}, UA {results['eval_ua']:.3f} on {held_out}: {', '.join(speakers)}")
    return results


if __name__ == "__main__":
    main()
