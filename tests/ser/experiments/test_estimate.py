"""The FLOP that an estimate counts, and the time that it computes from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import HubertConfig, HubertModel

from temporal_shift.ser import config
from temporal_shift.ser.experiments import speed
from temporal_shift.ser.experiments.estimate import estimate
from temporal_shift.ser.experiments.flops import cost, of_encoder, of_model
from temporal_shift.ser.models.frame_classifier import frame_classifier
from temporal_shift.ser.utils.wording import duration

from ..small_run import LABELS, small_run
from ..tiny import TINY


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A small run with an encoder on this machine, and made-up speeds."""
    HubertModel(HubertConfig(**TINY)).save_pretrained(tmp_path / "backbone")
    monkeypatch.setattr(speed, "training_speed", lambda *_: speed.Speed(1e3))
    monkeypatch.setattr(speed, "encoder_speed", lambda *_: speed.Speed(2e3))
    run = small_run(tmp_path)
    experiment = run.experiment.model_copy(
        update={
            "backbone": config.Backbone(name=str(tmp_path / "backbone")),
            "features": config.Features(clip_seconds=0.5),
        }
    )
    return replace(run, experiment=experiment)


def with_(run, **settings):
    return replace(run, experiment=run.experiment.model_copy(update=settings))


@pytest.mark.parametrize("setting", ["features", "finetune"])
def test_each_epoch_counts_training_and_scoring(run, setting):
    run = with_(run, setting=setting)
    found = estimate(run.experiment, [run, run], missing=0)
    encoder, frames = of_encoder(HubertConfig(**TINY), 8000)
    model = of_model(run.model, frames, LABELS)
    passes = {"trained": 2 * 3 * 32, "tested": 2 * 3 * 32}  # two runs of three epochs
    of_encoders = encoder.of(**passes) if setting == "finetune" else 0
    assert found.training_flop == model.of(**passes) + of_encoders
    assert found.training_seconds == pytest.approx(model.of(**passes) / 1e3 + of_encoders / 2e3, rel=0.01)
    assert found.encoding_seconds == 0


def test_encoding_takes_a_forward_pass_for_each_missing_utterance(run):
    found = estimate(run.experiment, [], missing=7)
    assert found.encoding_flop == 7 * of_encoder(HubertConfig(**TINY), 8000)[0].forward
    assert found.encoding_seconds == pytest.approx(found.encoding_flop / 2e3, rel=0.01)
    assert found.training_seconds == 0


def test_runs_in_parallel_take_less_time_if_there_are_cores(run, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    alone = estimate(run.experiment, [run] * 4, missing=0).training_seconds
    beside = estimate(with_(run, processes=8).experiment, [run] * 4, missing=0)
    assert beside.parallel == 2
    assert beside.training_seconds == pytest.approx(alone / 2, rel=0.05)


@pytest.mark.parametrize("shape", [(9, 24), (3, 9, 24)])
def test_the_flop_of_an_lstm_equal_those_of_counting_frame_by_frame(shape):
    model = config.Model(name="LSTM", blocks="lstm")
    with torch.device("meta"):
        whole = frame_classifier(model, shape, LABELS, config.SpecAugment()).eval()
        frames = torch.empty(1, *shape, requires_grad=True)
    assert of_model(model, shape, LABELS) == cost(lambda frames: whole(frames).logits, frames)


@pytest.mark.parametrize("blocks", ["conv", "lstm", "transformer", "linear"])
def test_measuring_the_speed_is_fast_and_gives_a_positive_number(run, monkeypatch, blocks):
    monkeypatch.undo()
    model = config.Model(name="x", blocks=blocks)
    with speed.busy(1):
        found = speed.training_speed(run.experiment, model, (12, 16), LABELS, 0.01)
    assert found.flop_per_second > 0
    assert found.optimizer > 0


@pytest.mark.parametrize(("seconds", "text"), [(40.2, "40 s"), (720, "12 min"), (12_000, "3 h 20 min")])
def test_a_duration_has_two_units_at_most(seconds, text):
    assert duration(seconds) == text
