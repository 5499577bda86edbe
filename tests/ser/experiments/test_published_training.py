"""With ``schedule: paper``, the Trainer equals a plain loop written from the ShiftSER paper."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model

from temporal_shift.ser import config
from temporal_shift.ser.corpora.manifest import Manifest
from temporal_shift.ser.corpora.manifest_builder import read_utterance
from temporal_shift.ser.encoders.feature_cache import FeatureCache, shard_path
from temporal_shift.ser.experiments.reproduce import published_experiment
from temporal_shift.ser.models.frame_classifier import FrameClassifier, FrameClassifierConfig
from temporal_shift.ser.models.shiftser_checkpoints import to_shiftser
from temporal_shift.ser.training import train_run
from temporal_shift.ser.training.folds import make_folds
from temporal_shift.ser.training.run_record import Run
from temporal_shift.ser.training.schedules import published_factor
from temporal_shift.ser.training.trainer import RecipeTrainer

from ..plain_loop import features_rate, finetune_rate, plain_loop
from ..published_models import SHIFTS, PublishedModel
from ..tiny import TINY

LABELS = ("happy", "angry", "sad", "neutral")
BLOCKS = {"CNN": "conv", "ShiftCNN": "conv", "LSTM": "lstm", "ShiftLSTM": "lstm"}  # the other models have transformer
STEPS, A_SESSION, SECONDS = 33, 43, 0.5  # 4 * 43 utterances make 6 batches; for features, 30 steps warm up


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    folder = tmp_path_factory.mktemp("audio")
    generator = np.random.default_rng(0)
    utterances = []
    for session in range(1, 6):
        for number in range(A_SESSION):
            path, label = folder / f"{session}-{number:02}.wav", LABELS[number % 4]
            tone = np.sin(np.arange(8000) * 0.02 * (1 + number % 4))
            soundfile.write(path, 0.1 * tone + 0.05 * generator.normal(size=8000), 16000, subtype="FLOAT")
            utterances.append(read_utterance(path, path.stem, label, f"{session}F", f"Session{session}"))
    return Manifest(tuple(utterances), LABELS)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wav2vec2")
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**{**TINY, "hidden_size": 32})).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def cache(manifest, tmp_path_factory) -> FeatureCache:
    """Frames of noise around a mean per class."""
    generator = np.random.default_rng(1)
    means = np.eye(4, 32)
    frames = [generator.normal(size=(40, 32)) + means[LABELS.index(u.label)] for u in manifest.utterances]
    folder = tmp_path_factory.mktemp("cache")
    for number, start in enumerate(range(0, len(frames), 64)):
        np.save(shard_path(folder, number), np.array(frames[start : start + 64], dtype=np.float32))
    return FeatureCache.open(folder, "0" * 64)


class Enough(BaseException):
    """Raised after the last step that the test compares."""


def of_the_trainer(run: Run, monkeypatch) -> list[tuple[float, float, float]]:
    """Loss, learning rate and gradient norm of the first ``STEPS`` steps."""
    seen: list[tuple[float, float, float]] = []

    class Watched(RecipeTrainer):
        def training_step(self, *args, **kwargs):
            if len(seen) == STEPS:
                raise Enough
            torch.manual_seed(seed_of_step(len(seen)))
            self.loss = super().training_step(*args, **kwargs)
            return self.loss

        def _clip_grad_norm(self, model):
            norm = super()._clip_grad_norm(model)
            seen.append((self.loss.item(), self.optimizer.param_groups[0]["lr"], float(norm)))
            return norm

    monkeypatch.setattr(train_run, "RecipeTrainer", Watched)
    with pytest.raises(Enough):
        train_run.train(run)
    return seen


def seed_of_step(step: int) -> int:
    return 1000 + step


def fresh(model: str, frames: int, channels: int) -> FrameClassifier:
    """This package's model with the weights from which the Trainer starts."""
    torch.manual_seed(42)
    blocks = BLOCKS.get(model, "transformer")
    return FrameClassifier(
        FrameClassifierConfig(blocks, SHIFTS[model], channels, frames, id2label=dict(enumerate(LABELS)))
    )


@pytest.mark.parametrize("setting", ["features", "finetune"])
@pytest.mark.parametrize("model", SHIFTS)
def test_the_first_losses_rates_and_gradient_norms_match_a_plain_loop(
    setting, model, manifest, backbone, cache, tmp_path, monkeypatch
):
    experiment = published_experiment(
        setting,
        [model],
        {"backbone": {"name": str(backbone), "revision": None}, "features": {"clip_seconds": SECONDS}},
    )
    fold = make_folds(manifest, experiment.protocol.kind)[0]
    frozen = cache if setting == "features" else None
    run = Run(experiment, experiment.models[0], fold, 42, manifest, "0" * 64, frozen, tmp_path / "run")
    ours = of_the_trainer(run, monkeypatch)

    labels = torch.tensor([LABELS.index(manifest.utterances[index].label) for index in fold.train])
    if frozen is None:
        clips = [soundfile.read(manifest.utterances[index].path, dtype="float32")[0] for index in fold.train]
        inputs = torch.tensor(np.stack(clips))
    else:
        inputs = torch.tensor(np.stack([cache[index] for index in fold.train]))
    frames = 40 if setting == "features" else 24
    plain = PublishedModel(model, 32, frames, heads=1, classes=4)
    plain.load_state_dict(to_shiftser(fresh(model, frames, 32).state_dict(), SHIFTS[model]))
    theirs = plain_loop(inputs, labels, plain, None if setting == "features" else backbone, seed_of_step)
    assert len(ours) == STEPS
    np.testing.assert_allclose(ours, list(islice(theirs, STEPS)), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("model", SHIFTS)
def test_a_model_starts_from_the_distributions_of_the_published_one(model):
    ours = to_shiftser(fresh(model, 100, 64).state_dict(), SHIFTS[model])
    theirs = PublishedModel(model, 64, 100, heads=1, classes=4).state_dict()
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        one, other = values.flatten().sort().values, theirs[name].flatten().sort().values
        shares = [torch.searchsorted(of, torch.cat((one, other)), right=True) / len(of) for of in (one, other)]
        # Kolmogorov-Smirnov distance; by chance, larger distances have a probability of 1e-5
        assert (shares[0] - shares[1]).abs().max() < 2.5 * (2 / len(one)) ** 0.5, name


@pytest.mark.parametrize(("setting", "expected"), [("features", features_rate), ("finetune", finetune_rate)])
@pytest.mark.parametrize("base_rate", [5e-4, 2e-3])
@pytest.mark.parametrize(("epochs", "steps"), [(100, 139), (100, 6), (7, 3), (60, 1), (11, 1), (3, 2)])
def test_the_rate_is_the_published_one_for_every_size(setting, expected, base_rate, epochs, steps):
    factor = published_factor(setting, epochs, steps, base_rate)
    every = range(0, epochs * steps, max(1, epochs * steps // 500))
    rates = [base_rate * factor(step) for step in every]
    np.testing.assert_allclose(rates, [expected(step, epochs, steps, base_rate) for step in every], rtol=1e-12)


def test_with_few_steps_the_published_rate_of_fine_tuning_is_flat_and_then_falls():
    factor = published_factor("finetune", epochs=60, steps_per_epoch=1, base_rate=5e-4)
    assert [factor(epoch) for epoch in (0, 1, 5, 9, 10, 35, 59)] == [0, 0.2, 1, 1, 1, 0.5, 0.02]
    after_the_last_step = published_factor("finetune", epochs=10, steps_per_epoch=1, base_rate=5e-4)(10)
    assert after_the_last_step == 0


def test_the_ends_of_the_published_rate_on_features_do_not_scale_with_the_base_rate():
    for base_rate in (5e-4, 2e-3):
        factor = published_factor("features", 100, 10, base_rate)
        assert base_rate * factor(0) == pytest.approx(5e-7)
        assert base_rate * factor(1000) == pytest.approx(5e-6, rel=0.01)


def test_the_yaml_files_have_the_papers_settings_and_differ_in_nothing_else():
    for setting, learning in (("features", 0.05), ("finetune", 0.0)):
        rows = [published_experiment(setting, [model], {}) for model in SHIFTS]
        for row in rows:
            assert row.model_copy(update={"models": rows[0].models}) == rows[0]
        assert rows[0].training == config.Training(weight_decay=learning, schedule="paper", shuffle=False)
        assert rows[0].features == config.Features()
        assert rows[0].spec_augment == config.SpecAugment()
        assert rows[0].protocol.kind == "paper"
        for row, (name, shift) in zip(rows, SHIFTS.items(), strict=True):
            assert (row.models[0].name, row.models[0].blocks) == (name, BLOCKS.get(name, "transformer"))
            assert row.models[0].shift == (None if shift is None else config.Shift(**shift))
