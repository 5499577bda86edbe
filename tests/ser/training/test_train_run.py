"""One run: its files and its inputs. Under ``heldout`` and ``last``, the test session does not affect training."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Trainer

from temporal_shift.ser.corpora.manifest import Manifest
from temporal_shift.ser.training import train_run
from temporal_shift.ser.training.epoch_choice import Chosen, best_test_epochs
from temporal_shift.ser.training.folds import make_folds
from temporal_shift.ser.training.run_record import Run
from temporal_shift.ser.training.train_run import train
from temporal_shift.ser.utils.distributed import World
from temporal_shift.ser.utils.errors import RecipeError

from ..small_run import (
    EPOCHS,
    FILES,
    LABELS,
    NO_MASKS,
    cache_of,
    epochs_of,
    frames_of,
    outcome,
    small_run,
    stopped,
    trained,
    under,
    with_,
)


@pytest.fixture
def run(tmp_path) -> Run:
    return small_run(tmp_path)


def test_each_test_utterance_is_predicted_once_and_each_epoch_reported(run):
    told = []
    record, predictions = trained(run, lambda: told.append(1))
    assert len(told) == EPOCHS
    assert [p["id"] for p in predictions] == [run.manifest.utterances[i].id for i in run.fold.test]
    for prediction in predictions:
        assert list(prediction["probabilities"]) == list(LABELS)
        assert sum(prediction["probabilities"].values()) == pytest.approx(1)
        assert prediction["prediction"] == max(prediction["probabilities"], key=prediction["probabilities"].get)
    assert [epoch["epoch"] for epoch in record["epochs"]] == [1, 2, 3]
    best = 1 + int(np.argmax([epoch["validation"]["ua"] for epoch in record["epochs"]]))
    assert record["chosen"] == {"wa": best, "ua": best}
    assert (record["model"], record["fold"], record["seed"]) == ("Shiftformer", "Session1", 42)
    assert record["inputs"] == run.inputs
    assert sorted(path.name for path in run.folder.iterdir()) == FILES


def test_the_logits_of_every_epoch_match_the_scores_and_predictions(run):
    record, predictions = trained(run)
    logits = np.load(run.folder / "test_logits.npy", allow_pickle=False)
    assert (logits.shape, logits.dtype) == ((EPOCHS, 16, 4), np.float32)
    labels = np.array([LABELS.index(run.manifest.utterances[index].label) for index in run.fold.test])
    for epoch, of_epoch in zip(record["epochs"], logits, strict=True):
        right = of_epoch.argmax(axis=1) == labels
        assert epoch["test"]["wa"] == right.mean()
        assert epoch["test"]["ua"] == pytest.approx(np.mean([right[labels == label].mean() for label in range(4)]))
        log_probabilities = torch.from_numpy(of_epoch).log_softmax(dim=1).numpy()
        assert epoch["test"]["loss"] == pytest.approx(-log_probabilities[np.arange(16), labels].mean())
    probabilities = torch.from_numpy(logits[record["chosen"]["ua"] - 1]).softmax(dim=1).numpy()
    np.testing.assert_allclose([list(p["probabilities"].values()) for p in predictions], probabilities, rtol=1e-6)


def test_the_validation_logits_come_from_the_chosen_epoch(run):
    record, _ = trained(run)
    logits = np.load(run.folder / "validation_logits.npy", allow_pickle=False)
    assert (logits.shape, logits.dtype) == ((16, 4), np.float32)
    labels = np.array([LABELS.index(run.manifest.utterances[index].label) for index in run.fold.validation])
    scores = record["epochs"][record["chosen"]["ua"] - 1]["validation"]
    assert scores["wa"] == (logits.argmax(axis=1) == labels).mean()
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    assert scores["loss"] == pytest.approx(loss.item())


def test_a_finished_run_of_an_earlier_version_without_validation_logits_is_done(run):
    trained(run)
    path = run.folder / "run.json"
    record = json.loads(path.read_text())
    del record["files"]["validation_logits.npy"]
    (run.folder / "validation_logits.npy").unlink()
    path.write_text(json.dumps(record))
    assert run.is_done()


def test_no_validation_logits_of_another_protocol_are_left(run):
    trained(run)
    other = replace(under(run, "last"), folder=run.folder)
    trained(other)
    assert sorted(path.name for path in run.folder.iterdir()) == FILES[:-1]


def test_the_same_run_gives_the_same_result(run, tmp_path):
    trained(run)
    again = replace(run, folder=tmp_path / "again")
    trained(again)
    assert outcome(again) == outcome(run)


def test_another_seed_starts_from_other_weights(run, tmp_path):
    run = with_(run, learning_rate=1e-12)  # the weights hardly change
    other = replace(run, seed=43, folder=tmp_path / "other")
    assert [trained(each)[0]["seed"] for each in (run, other)] == [42, 43]
    one, two = (np.load(each.folder / "test_logits.npy")[0] for each in (run, other))
    assert np.abs(one - two).mean() > 0.1


def test_the_predictions_come_from_the_epoch_chosen_for_ua(run, monkeypatch):
    monkeypatch.setattr(train_run, "choose", lambda kind, epochs: Chosen(wa=1, ua=2))
    record, predictions = trained(run)
    assert record["chosen"] == {"wa": 1, "ua": 2}
    logits = torch.from_numpy(np.load(run.folder / "test_logits.npy")[1])
    probabilities = [list(prediction["probabilities"].values()) for prediction in predictions]
    torch.testing.assert_close(torch.tensor(probabilities), logits.softmax(dim=1))


def without_the_test_session(run: Run, folder: Path) -> Run:
    """The run with changed test labels, and noise as test frames."""
    noise = frames_of(run)
    noise[list(run.fold.test)] = np.random.default_rng(1).normal(size=(len(run.fold.test), 5, 32))
    relabelled = list(run.manifest.utterances)
    for index in run.fold.test:
        other = LABELS[(LABELS.index(relabelled[index].label) + 1) % 4]
        relabelled[index] = replace(relabelled[index], label=other)
    manifest = Manifest(tuple(relabelled), LABELS)
    return replace(run, manifest=manifest, cache=cache_of(folder, noise), folder=folder / "changed")


@pytest.mark.parametrize("kind", ["heldout", "last"])
def test_the_test_session_chooses_nothing(run, tmp_path, kind):
    """With changed test labels and noise as test frames, training is exactly the same."""
    run = under(run, kind)
    record, other = trained(run)[0], trained(without_the_test_session(run, tmp_path))[0]
    assert other["chosen"] == record["chosen"]
    for one, two in zip(record["epochs"], other["epochs"], strict=True):
        assert (one["train_loss"], one["validation"]) == (two["train_loss"], two["validation"])
        assert one["test"] != two["test"]


@pytest.mark.parametrize("kind", ["paper", "last"])
def test_without_validation_the_other_sessions_train_and_the_protocol_chooses(run, kind):
    run = under(run, kind)
    assert (len(run.fold.train), run.fold.validation) == (48, ())
    record, predictions = trained(run)
    assert [epoch["validation"] for epoch in record["epochs"]] == [None] * EPOCHS
    epochs = epochs_of(record)
    chosen = best_test_epochs(epochs) if kind == "paper" else Chosen(EPOCHS, EPOCHS)
    assert record["chosen"] == asdict(chosen)
    right = [prediction["label"] == prediction["prediction"] for prediction in predictions]
    assert np.mean(right) == epochs[record["chosen"]["ua"] - 1].test.wa


def test_under_the_protocol_speaker_a_fold_tests_one_speaker(run):
    run = under(run, "speaker")
    record, _ = trained(run)
    assert record["fold"] == "Ses01F"
    assert all(epoch["validation"] for epoch in record["epochs"])


def test_a_run_is_done_until_one_of_its_inputs_changes(run):
    assert not run.is_done()
    trained(run)
    assert run.is_done()
    shift = run.model.shift.model_copy(update={"stride": 2})
    for changed in (
        with_(run, learning_rate=1e-3),
        with_(run, epochs=4),
        with_(run, precision="bfloat16"),
        replace(run, model=run.model.model_copy(update={"shift": shift})),
        replace(run, experiment=run.experiment.model_copy(update={"setting": "finetune"})),
        replace(run, experiment=run.experiment.model_copy(update={"spec_augment": NO_MASKS})),
        replace(run, seed=43),
        replace(run, key="1" * 64),
        replace(run, manifest=Manifest(run.manifest.utterances, tuple(reversed(LABELS)))),
        replace(run, fold=make_folds(run.manifest, "heldout")[1]),
        under(run, "last"),
    ):
        assert not changed.is_done()


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_run_is_not_done_after_a_label_was_corrected(run, part):
    trained(run)
    corrected = list(run.manifest.utterances)
    index = getattr(run.fold, part)[0]
    corrected[index] = replace(corrected[index], label="sad")
    assert not replace(run, manifest=Manifest(tuple(corrected), LABELS)).is_done()


def test_settings_that_do_not_change_the_result_leave_a_run_done(run):
    trained(run)
    for same in (
        replace(run, model=run.model.model_copy(update={"baseline": ("Transformer",)})),
        with_(run, checkpoint_seconds=0.0, workers=2, tensorboard=True),
        with_(run, seed=41),  # training.seed is the seed of the first run only; ``run.seed`` did not change
    ):
        assert same.is_done()


@pytest.mark.parametrize("name", FILES)
def test_a_run_that_lacks_a_file_is_not_done(run, name):
    trained(run)
    (run.folder / name).unlink()
    assert not run.is_done()


def losses(record: dict) -> list[float]:
    return [
        loss
        for epoch in record["epochs"]
        for loss in (epoch["train_loss"], epoch["validation"]["loss"], epoch["test"]["loss"])
    ]


@pytest.mark.parametrize(("rows", "passes"), [(32, 2), (29, 4), (25, 2)])
def test_gradient_accumulation_gives_the_same_step(run, tmp_path, rows, passes):
    """This includes the last step of an epoch, with eight utterances, with five, or with one."""
    run = replace(
        run,
        experiment=run.experiment.model_copy(update={"spec_augment": NO_MASKS}),
        fold=replace(run.fold, train=run.fold.train[:rows]),
    )
    once, _ = trained(run)
    divided = replace(with_(run, gradient_accumulation=passes), folder=tmp_path / "divided")
    np.testing.assert_allclose(losses(trained(divided)[0]), losses(once), rtol=0, atol=1e-5)


def test_a_loss_that_is_not_finite_is_an_error_with_the_place_and_a_remedy(run):
    frames = frames_of(run)
    frames[run.fold.train[5]] = np.nan
    broken = replace(run, cache=cache_of(run.folder, frames))
    with pytest.raises(
        RecipeError, match=r"loss .*nan in epoch 1 \(Shiftformer, fold Session1, seed 42\).*learning_rate"
    ):
        train(broken)
    assert not broken.is_done()


@pytest.mark.parametrize("part", ["validation", "test"])
def test_outputs_that_are_not_finite_are_an_error(run, part):
    frames = frames_of(run)
    frames[getattr(run.fold, part)[5]] = np.nan
    broken = replace(run, cache=cache_of(run.folder, frames))
    with pytest.raises(RecipeError, match=rf"finite.* {part} part in epoch 1 \(Shiftformer, fold Session1, seed 42\)"):
        train(broken)
    assert not broken.is_done()


def test_the_learning_curves_are_written_for_tensorboard(run, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "/nowhere")  # restored after the test
    trained(with_(run, tensorboard=True))
    (events,) = (run.folder / "tensorboard").rglob("events.out.tfevents.*")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(events.parent))
    found.Reload()
    record = json.loads((run.folder / "run.json").read_text())
    (tag,) = (tag for tag in found.Tags()["scalars"] if tag == "eval/ua")
    ua = [epoch["validation"]["ua"] for epoch in record["epochs"]]
    assert [event.value for event in found.Scalars(tag)] == pytest.approx(ua)
    assert run.is_done()


def test_a_missing_tensorboard_is_an_error_with_the_command_that_installs_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(RecipeError, match=r"training\.tensorboard .*pip install tensorboard"):
        train(with_(run, tensorboard=True))


def test_bfloat16_trains_with_another_result(run, tmp_path):
    whole, _ = trained(run)
    half, _ = trained(replace(with_(run, precision="bfloat16"), folder=tmp_path / "half"))
    assert losses(half) != losses(whole)
    np.testing.assert_allclose(losses(half), losses(whole), atol=0.1)


def test_float16_without_a_gpu_is_an_error(run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"training\.precision .*float32 or bfloat16.*float16"):
        train(with_(run, precision="float16"))


def test_a_batch_size_that_the_processes_do_not_divide_is_an_error(run, monkeypatch):
    monkeypatch.setattr(World, "wait", lambda world: None)
    monkeypatch.setattr(World, "from_first", lambda world, value: value)
    with pytest.raises(RecipeError, match=r"training\.batch_size .*divisible by 6 \(3 processes.*got 8"):
        train(with_(run, gradient_accumulation=2), world=World(0, 3))


def test_biases_norms_and_the_learned_mask_do_not_decay(run, monkeypatch):
    seen = {}
    create = Trainer.create_optimizer

    def spy(trainer, *args, **kwargs):
        optimizer = create(trainer, *args, **kwargs)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                seen[parameter.dim()] = seen.get(parameter.dim(), set()) | {group["weight_decay"]}
        return optimizer

    monkeypatch.setattr(Trainer, "create_optimizer", spy)
    train(run)
    assert seen == {1: {0.0}, 2: {0.05}}


@pytest.fixture
def rates(monkeypatch) -> list[float]:
    """The learning rates of the optimizer's steps, as they happen."""
    seen: list[float] = []
    step = torch.optim.AdamW.step

    def spy(optimizer, *args, **kwargs):
        seen.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    return seen


STEPS = np.arange(12)  # 32 utterances in batches of 8, 3 epochs with one of warm-up
FALLING = {
    "cosine": 0.5 * (1 + np.cos(np.pi * (STEPS - 4) / 8)),
    "linear": 1 - (STEPS - 4) / 8,
    "constant": np.ones(12),
}


@pytest.mark.parametrize("schedule", FALLING)
def test_the_learning_rate_warms_up_and_then_follows_its_schedule(run, rates, schedule):
    train(with_(run, schedule=schedule))
    np.testing.assert_allclose(rates, 5e-4 * np.where(STEPS < 4, STEPS / 4, FALLING[schedule]), atol=1e-12)


def test_the_published_learning_rate_continues_after_a_stop(run, rates):
    run = with_(run, schedule="paper")
    train(replace(run, folder=run.folder.with_name("whole")))
    whole = rates.copy()
    rates.clear()
    run = stopped(run)
    train(run)
    assert rates == [*whole[:8], *whole[4:]]  # the second epoch left no checkpoint, so it is trained again


def test_layer_weights_are_trained(run, tmp_path):
    layers = np.stack([frames_of(run)] * 3, axis=1)
    weighted = replace(run, cache=cache_of(tmp_path, layers), folder=tmp_path / "weighted")
    assert trained(weighted)[0]["parameters"] == trained(run)[0]["parameters"] + 3


def test_a_learning_rate_of_a_model_replaces_that_of_the_training(run, tmp_path):
    own = replace(run, model=run.model.model_copy(update={"learning_rate": 0.002}))
    assert own.inputs["model"]["learning_rate"] == 0.002
    assert "learning_rate" not in run.inputs["model"]  # keeps finished runs of earlier versions finished
    of_training = replace(with_(run, learning_rate=0.002), folder=tmp_path / "other")
    trained(own)
    trained(of_training)
    assert outcome(own) == outcome(of_training)
