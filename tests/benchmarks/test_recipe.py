"""The suite of the recipe: FLOP counts, comparisons before timing, and the record."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import Wav2Vec2Config

from benchmarks.measure.recipe import bare_loop, cache_memory, epoch_times, flops
from benchmarks.measure.recipe.flops import FlopCounts, Rates
from benchmarks.measure.recipe.rows import BARE, EPOCH, EXPERIMENT, LOOP
from benchmarks.report import recipe_tables
from benchmarks.suites import recipe
from temporal_shift import ShiftConv, ShiftLSTM
from temporal_shift.ser import config
from temporal_shift.ser.encoders.feature_cache import cached_features
from temporal_shift.ser.encoders.pretrained import PretrainedEncoder, load_backbone
from temporal_shift.ser.experiments.flops import Cost, cost, of_encoder, of_model
from temporal_shift.ser.experiments.reproduce import PAPER_MODELS, published_experiment
from temporal_shift.ser.models.frame_classifier import frame_classifier
from temporal_shift.ser.models.speech_classifier import SpeechClassifier
from temporal_shift.ser.training.datasets import Batches

SMALL = recipe.QUICK.encoder
N = recipe.QUICK.utterances

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> epoch_times.RecipeCase:
    return recipe.noise(recipe.QUICK, tmp_path_factory.mktemp("noise"))


def of_layer(make, *shape: int) -> Cost:
    """The cost of the first output of a layer with an input that requires a gradient."""
    with torch.device("meta"):
        layer, x = make(), torch.empty(*shape, requires_grad=True)

    def output(x):
        y = layer(x)
        return y[0] if isinstance(y, tuple) else y

    return cost(output, x)


@pytest.mark.parametrize("lstm", [nn.LSTM, ShiftLSTM])
@pytest.mark.parametrize("directions", [1, 2])
def test_an_lstm_has_four_gates_of_its_input_and_its_state_in_each_frame_and_direction(lstm, directions):
    D, H, L = 12, 20, 9
    counted = of_layer(lambda: lstm(D, H, batch_first=True, bidirectional=directions == 2), 1, L, D)
    assert counted.forward == directions * L * 2 * 4 * H * (D + H)
    # the initial state needs no gradient: per direction, one product with four gates is not computed
    assert counted.training == 3 * counted.forward - directions * 2 * 4 * H * H


def test_a_shift_conv_has_a_depthwise_convolution_and_two_products():
    D, L = 32, 9
    counted = of_layer(lambda: ShiftConv(D), 2, L, D)
    assert counted.forward == 2 * L * (2 * 7 * D + 2 * 2 * D * 4 * D)
    assert counted.training == 3 * counted.forward


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_each_gradient_of_a_convolution_costs_as_much_as_its_forward_pass(groups):
    counted = of_layer(lambda: nn.Conv1d(8, 16, 5, padding=2, stride=2, groups=groups), 3, 8, 21)
    assert counted == Cost(forward=2 * 3 * 11 * 16 * 8 // groups * 5, training=3 * counted.forward)


@pytest.mark.parametrize("model", ["ShiftCNN", "Shiftformer"])
def test_the_costs_of_encoder_and_model_add_up_to_the_fine_tuned_classifier(case, model):
    backbone = load_backbone(case.experiment.backbone, 0.5)
    backbone.model.set_attn_implementation("eager")  # the FLOP counter ignores fused attention on the CPU
    backbone.learn()
    (model,) = published_experiment("finetune", [model], {}).models
    head = frame_classifier(model, backbone.shape, flops.LABELS, config.SpecAugment())
    together = SpeechClassifier.of(backbone, head, case.experiment.backbone, 0.5).eval()
    own = cost(lambda clip: together(clip).logits, torch.zeros(1, 8000))

    encoder, frames = of_encoder(Wav2Vec2Config(**SMALL), 8000)
    of_head = of_model(model, frames, flops.LABELS)
    assert frames == backbone.shape
    assert own.forward == encoder.forward + of_head.forward
    assert own.training == encoder.training + of_head.training


def test_the_papers_encoders_make_374_frames_of_768_channels():
    for make in flops.ENCODERS.values():
        counted, frames = of_encoder(make(), 120_000)
        assert frames == (374, 768)
        assert 109e9 < counted.forward < 110e9


def test_the_papers_experiment_trains_four_folds_and_tests_one_and_encodes_frozen_features_once():
    counts = FlopCounts(0.5, SMALL)
    rates = Rates(encoding=1e9, training={"transformer": 2e9})
    for setting in ("features", "finetune"):
        experiment = published_experiment(setting, ["Shiftformer"], {})
        row = flops.expense(experiment, counts, rates, gpu=1e12)
        encoder, head = Cost(**row["encoder"]), Cost(**row["head"])
        passes = {"features": encoder.forward / 100, "finetune": 4 * encoder.training + encoder.forward}
        assert row["total"]["head"] == 100 * 5531 * (4 * head.training + head.forward)
        assert row["total"]["encoder"] == pytest.approx(100 * 5531 * passes[setting])
        assert row["hours_here"] == pytest.approx((row["total"]["encoder"] + row["total"]["head"] / 2) / 1e9 / 3600)
        assert row["hours_on_gpu"] == pytest.approx(sum(row["total"].values()) / 1e12 / 3600)


def test_features_that_differ_from_the_cache_are_an_error_before_timing(case, tmp_path, monkeypatch):
    encode = PretrainedEncoder.encode
    assert next(iter(epoch_times.epochs_of(only(case, "ShiftCNN"), tmp_path, 1))).trained == 12
    monkeypatch.setattr(
        PretrainedEncoder, "encode", lambda self, clips: encode(self, clips).nextafter(torch.tensor(9.0))
    )
    with pytest.raises(AssertionError, match="frames of utterance 0 and the cached ones must not differ"):
        next(epoch_times.epochs_of(only(case, "ShiftCNN"), tmp_path, 1))


def test_an_encoding_epoch_encodes_each_utterance_once_and_a_cached_epoch_none(case, tmp_path, monkeypatch):
    encoded, encode = [], PretrainedEncoder.encode
    cached_features(case.manifest, case.experiment.backbone, case.experiment.features, tmp_path / "cache")
    monkeypatch.setattr(
        PretrainedEncoder, "encode", lambda self, clips: encoded.append(len(clips)) or encode(self, clips)
    )
    (row,) = epoch_times.epochs_of(only(case, "Shiftformer"), tmp_path, rounds=2)
    assert sum(encoded) == N + 2 * N  # each utterance once for the comparison, and once in each of two epochs
    assert {way: len(seconds) for way, seconds in row.seconds.items()} == {"cached": 4, "encoding": 2}
    assert row.trained + row.tested == N


def only(case: epoch_times.RecipeCase, name: str) -> epoch_times.RecipeCase:
    models = [model for model in case.experiment.models if model.name == name]
    return replace(case, experiment=case.experiment.model_copy(update={"models": models}))


def test_the_peak_is_measured_in_a_process_that_fills_the_cache(case, tmp_path, monkeypatch):
    peak = next(cache_memory.peaks_of(case.name, case.experiment, case.manifest, tmp_path), None)
    if peak is None:
        pytest.skip("peak memory is measured only on Linux")
    assert peak.utterances == N
    assert 50 << 20 < peak.resident < 2 << 30  # bytes; torch and transformers need at least 50 MiB
    monkeypatch.setattr("temporal_shift.ser.encoders.feature_cache._encode", None)
    assert len(cached_features(case.manifest, case.experiment.backbone, case.experiment.features, tmp_path / "cache"))


def test_the_longer_corpus_repeats_the_files_under_new_ids(case):
    longer = cache_memory.repeated(case.manifest, 4).utterances
    assert len({utterance.id for utterance in longer}) == 4 * N
    assert [utterance.path for utterance in longer] == 4 * [utterance.path for utterance in case.manifest.utterances]


def test_a_peak_above_its_bound_and_a_growing_peak_miss_their_goals():
    shorter, longer = cache_memory.measurements_of(
        [cache_memory.Peak("base", 16, 1 << 30, None), cache_memory.Peak("base", 64, 3 << 30, None)]
    )
    assert [goal.held for goal in shorter.goals] == [True]
    assert [goal.held for goal in longer.goals] == [False, False]


def measured(monkeypatch, case, *argv: str) -> list[dict]:
    """The lines of a record of ``--quick`` with invented memory, and with one small model as the quickstart."""
    peaks = [cache_memory.Peak("small", 16, 1 << 30, None), cache_memory.Peak("small", 64, 3 << 29, None)]
    monkeypatch.setattr(recipe, "peaks_of", lambda *_: peaks)
    monkeypatch.setattr(recipe, "quickstart", lambda _: replace(only(case, "Shiftformer"), name="quickstart"))
    found = list(recipe.measure(parsed("--quick", *argv)))
    goals = [goal for each in found for goal in each.goals]
    return [{"kind": each.kind, **each.line()} for each in [*found, *goals]]


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    recipe.arguments(parser)
    return parser.parse_args(["--device", "cuda" if torch.cuda.is_available() else "cpu", *argv])


def test_the_record_has_every_figure_and_its_tables_show_which_goals_are_met(monkeypatch, case):
    lines = measured(monkeypatch, case)
    epochs = [line for line in lines if line["what"] == EPOCH]
    names = [line["setting"] for line in epochs]
    assert names == ["quickstart, Shiftformer", *(f"small wav2vec 2.0, {name}" for name in recipe.SHIFTED)]
    for line in epochs:
        assert line["ratio_to_peers"]["encoding"] == pytest.approx(line["figures"]["ratio"], rel=1e-3)
        assert ("ratio_by_flop" in line["figures"]) == ("quickstart" not in line["setting"])
    experiment = [line for line in lines if line["what"] == EXPERIMENT]
    assert [line["setting"].split(", ")[1] for line in experiment] == 2 * list(PAPER_MODELS)
    memory = [line["held"] for line in lines if line["kind"] == "goal" and "memory" in line["what"]]
    assert memory == [False, False]

    header, _, *rows = recipe_tables.epochs_table(lines).markdown().splitlines()
    assert "encoding epoch, s" in header
    for row, line in zip(rows, epochs, strict=True):
        ratio = line["figures"]["ratio"]
        assert f" {ratio:.1f} |" in row
        assert row.endswith(f"at least 10, {'met' if ratio >= 10 else 'missed'} |")
    assert [line["setting"] for line in lines if line["what"] == LOOP] == [
        "small, Shiftformer",
        "full size, Shiftformer",
    ]
    for row, line in zip(
        recipe_tables.loop_table(lines).rows, [line for line in lines if line["what"] == LOOP], strict=True
    ):
        assert line["ratio_to_peers"][BARE] == pytest.approx(1 / line["figures"]["ratio"], rel=1e-3)
        assert 0 < line["figures"]["share_of_gemm"] < 2
        assert row[5] == f"at most 1.05, {'met' if line['figures']['ratio'] <= 1.05 else 'missed'}"
    assert "| small, 64 utterances | 1.50 |" in recipe_tables.memory_table(lines).markdown()
    assert "at 20 TFLOP/s" in recipe_tables.experiment_table(lines).markdown()


def test_a_bare_loop_that_trains_other_weights_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(bare_loop, "Batches", lambda *rows, **more: Batches(*rows, **{**more, "seed": 1}))
    (model,) = published_experiment("features", ["Shiftformer"], {}).models
    size = bare_loop.LoopCase("small", 20, (8, 32), 4, rounds=1)
    with pytest.raises(AssertionError, match="must be equal in the recipe and the bare loop"):
        bare_loop.measurement_of(size, model, tmp_path)


def test_a_device_that_the_recipe_would_not_use_is_an_error():
    other = "cpu" if torch.cuda.is_available() else "cuda"
    with pytest.raises(SystemExit, match=f"--device must be .*, got {other}"):
        next(recipe.measure(parsed("--device", other)))


def test_a_corpus_with_an_empty_session_is_an_error():
    with pytest.raises(SystemExit, match=r"--utterances must be at least 5.*, got 4"):
        next(recipe.measure(parsed("--utterances", "4")))
