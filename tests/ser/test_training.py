"""One run: what it writes, what it depends on, and that the test session chooses nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from temporal_shift.ser import config
from temporal_shift.ser.features import FeatureCache
from temporal_shift.ser.manifest import Manifest, Utterance, heldout_folds
from temporal_shift.ser.runs import Run
from temporal_shift.ser.training import train

LABELS = ("happy", "angry", "sad", "neutral")
EPOCHS = 3


@pytest.fixture
def run(tmp_path):
    """A small run on frames that are noise around a mean of their class."""
    generator = np.random.default_rng(0)
    utterances, frames = [], []
    for session in range(1, 5):
        for number in range(16):
            label = number % 4
            name = f"Ses0{session}F_impro01_F{number:03d}"
            path = Path(f"/nowhere/{name}.wav")
            utterances.append(Utterance(name, path, LABELS[label], f"Ses0{session}F", f"Session{session}", 1.0))
            frames.append(generator.normal(size=(5, 32)) + np.eye(4, 32)[label])
    np.save(tmp_path / "frames-00000.npy", np.array(frames, dtype=np.float32))
    shards = (np.load(tmp_path / "frames-00000.npy", mmap_mode="r"),)
    manifest = Manifest(tuple(utterances), LABELS)
    shift = config.Shift(placement="replace", n_div=4, bidirectional=True)
    experiment = config.Experiment(
        name="small",
        corpus=config.Corpus(path=Path("/nowhere")),
        spec_augment=config.SpecAugment(time_length=1, feature_length=4),
        training=config.Training(epochs=EPOCHS, batch_size=8, warmup_epochs=1),
        models=[config.Model(name="Shiftformer", blocks="transformer", shift=shift)],
    )
    return Run(
        experiment,
        experiment.models[0],
        heldout_folds(manifest)[0],
        manifest,
        FeatureCache(tmp_path, "0" * 64, (5, 32), shards),
        tmp_path / "runs" / "Shiftformer" / "Session1",
    )


def trained(run: Run, on_epoch=lambda: None) -> tuple[dict, list[dict]]:
    train(run, on_epoch)
    lines = (run.folder / "predictions.jsonl").read_text().splitlines()
    return json.loads((run.folder / "run.json").read_text()), [json.loads(line) for line in lines]


def test_each_test_utterance_is_predicted_once_and_each_epoch_told(run):
    told = []
    record, predictions = trained(run, lambda: told.append(1))
    assert len(told) == EPOCHS
    assert [p["id"] for p in predictions] == [run.manifest.utterances[i].id for i in run.fold.test]
    for prediction in predictions:
        assert list(prediction["probabilities"]) == list(LABELS)
        assert sum(prediction["probabilities"].values()) == pytest.approx(1)
        assert prediction["prediction"] == max(prediction["probabilities"], key=prediction["probabilities"].get)
    assert [epoch["epoch"] for epoch in record["epochs"]] == [1, 2, 3]
    assert record["best_epoch"] == 1 + int(np.argmax([epoch["validation_ua"] for epoch in record["epochs"]]))
    assert sorted(path.name for path in run.folder.iterdir()) == ["predictions.jsonl", "run.json"]


def test_the_same_run_gives_the_same_digits(run, tmp_path):
    first = trained(run)
    second = trained(replace(run, folder=tmp_path / "again"))
    for record in (first[0], second[0]):
        record.pop("seconds")
    assert first == second


def test_the_test_session_chooses_nothing(run, tmp_path):
    """With every test label another one, and test frames of noise, training goes the very same way."""
    noise = np.array(run.cache._shards[0])
    noise[list(run.fold.test)] = np.random.default_rng(1).normal(size=(len(run.fold.test), 5, 32))
    relabelled = list(run.manifest.utterances)
    for index in run.fold.test:
        other = LABELS[(LABELS.index(relabelled[index].label) + 1) % 4]
        relabelled[index] = replace(relabelled[index], label=other)
    changed = replace(
        run,
        manifest=Manifest(tuple(relabelled), LABELS),
        cache=FeatureCache(tmp_path, "0" * 64, (5, 32), (noise,)),
        folder=tmp_path / "changed",
    )
    assert trained(changed)[0]["epochs"] == trained(run)[0]["epochs"]


def test_a_run_is_done_until_something_that_decides_it_changes(run):
    assert not run.is_done()
    trained(run)
    assert run.is_done()
    training = run.experiment.training.model_copy(update={"learning_rate": 1e-3})
    shift = run.model.shift.model_copy(update={"stride": 2})
    for changed in (
        replace(run, experiment=run.experiment.model_copy(update={"training": training})),
        replace(run, model=run.model.model_copy(update={"shift": shift})),
        replace(run, cache=FeatureCache(run.cache.folder, "1" * 64, (5, 32), run.cache._shards)),
        replace(run, fold=heldout_folds(run.manifest)[1]),
    ):
        assert not changed.is_done()
    assert replace(run, model=run.model.model_copy(update={"twin": "Transformer"})).is_done()


def test_a_run_that_was_stopped_is_not_done_and_starts_anew(run):
    whole = trained(run)[0]["epochs"]
    shutil.rmtree(run.folder)

    def stop():
        if (run.folder / "checkpoints").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, stop)
    assert not run.is_done()
    assert trained(run)[0]["epochs"] == whole


def test_biases_norms_and_the_learned_mask_do_not_decay(run, monkeypatch):
    from temporal_shift.ser import training

    seen = {}
    create = training._Trainer.create_optimizer

    def spy(trainer, *args, **kwargs):
        optimizer = create(trainer, *args, **kwargs)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                seen[parameter.dim()] = seen.get(parameter.dim(), set()) | {group["weight_decay"]}
        return optimizer

    monkeypatch.setattr(training._Trainer, "create_optimizer", spy)
    train(run, lambda: None)
    assert seen == {1: {0.0}, 2: {0.05}}


def test_the_learning_rate_warms_up_and_then_falls_as_a_cosine(run, monkeypatch):
    from temporal_shift.ser import training

    rates = []
    step = torch.optim.AdamW.step

    def spy(optimizer, *args, **kwargs):
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    training.train(run, lambda: None)
    steps = np.arange(12)  # 32 utterances in batches of 8, 3 epochs, the first to warm up
    expected = np.where(steps < 4, steps / 4, 0.5 * (1 + np.cos(np.pi * (steps - 4) / 8)))
    np.testing.assert_allclose(rates, 5e-4 * expected, atol=1e-12)
