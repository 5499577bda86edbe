"""One run: what it writes, what it depends on, how a stop leaves it, and that the test session chooses nothing."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Trainer

from temporal_shift.ser import config, training
from temporal_shift.ser.datasets import NOBODY, Batches, Frames, Part
from temporal_shift.ser.distributed import World
from temporal_shift.ser.errors import RecipeError
from temporal_shift.ser.features import FeatureCache
from temporal_shift.ser.manifest import Manifest, Utterance
from temporal_shift.ser.protocols import Chosen, Epoch, Scores, best_test_epochs, make_folds
from temporal_shift.ser.runs import Run
from temporal_shift.ser.training import train

LABELS = ("happy", "angry", "sad", "neutral")
EPOCHS = 3
FILES = ["predictions.jsonl", "run.json", "test_logits.npy"]
NO_MASKS = config.SpecAugment(time_prob=0, feature_prob=0)


@pytest.fixture
def run(tmp_path) -> Run:
    """A small run on frames that are noise around a mean of their class."""
    generator = np.random.default_rng(0)
    utterances, frames = [], []
    for session in range(1, 5):
        for number in range(16):
            label = number % 4
            name = f"Ses0{session}F_impro01_F{number:03d}"
            utterances.append(
                Utterance(
                    id=name,
                    path=Path(f"/nowhere/{name}.wav"),
                    label=LABELS[label],
                    speaker=f"Ses0{session}F",
                    session=f"Session{session}",
                    start=0.0,
                    end=1.0,
                    samples=16_000,
                    sample_rate=16_000,
                    sha256="0" * 64,
                    style="improvised",
                )
            )
            frames.append(generator.normal(size=(5, 32)) + np.eye(4, 32)[label])
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
        make_folds(manifest, "heldout")[0],
        42,
        manifest,
        "0" * 64,
        cache_of(tmp_path, np.array(frames, dtype=np.float32)),
        tmp_path / "runs" / "Shiftformer" / "seed-42" / "Session1",
    )


def cache_of(folder: Path, frames: np.ndarray) -> FeatureCache:
    return FeatureCache(folder, "0" * 64, (5, 32), (frames,))


def frames_of(run: Run) -> np.ndarray:
    return np.array([run.cache[index] for index in range(len(run.cache))])


def with_(run: Run, **settings: object) -> Run:
    """The run with other settings of the training."""
    changed = run.experiment.training.model_copy(update=settings)
    return replace(run, experiment=run.experiment.model_copy(update={"training": changed}))


def under(run: Run, kind: str) -> Run:
    """The run under another protocol."""
    experiment = run.experiment.model_copy(update={"protocol": config.Protocol(kind=kind)})
    return replace(run, experiment=experiment, fold=make_folds(run.manifest, kind)[0])


def trained(run: Run, on_epoch=lambda: None) -> tuple[dict, list[dict]]:
    train(run, on_epoch)
    lines = (run.folder / "predictions.jsonl").read_text().splitlines()
    return json.loads((run.folder / "run.json").read_text()), [json.loads(line) for line in lines]


def epochs_of(record: dict) -> list[Epoch]:
    def scores(content):
        return None if content is None else Scores(**content)

    return [
        Epoch(epoch["epoch"], epoch["train_loss"], scores(epoch["validation"]), scores(epoch["test"]))
        for epoch in record["epochs"]
    ]


def outcome(run: Run) -> tuple[object, bytes, bytes]:
    """What must not depend on how a run came to its end."""
    record = json.loads((run.folder / "run.json").read_text())
    assert sorted(path.name for path in run.folder.iterdir()) == FILES
    return (
        (record["epochs"], record["chosen"], record["parameters"]),
        (run.folder / "predictions.jsonl").read_bytes(),
        (run.folder / "test_logits.npy").read_bytes(),
    )


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
    best = 1 + int(np.argmax([epoch["validation"]["ua"] for epoch in record["epochs"]]))
    assert record["chosen"] == {"wa": best, "ua": best}
    assert (record["model"], record["fold"], record["seed"]) == ("Shiftformer", "Session1", 42)
    assert record["inputs"] == run.inputs
    assert sorted(path.name for path in run.folder.iterdir()) == FILES


def test_the_logits_of_every_epoch_are_those_of_the_scores_and_predictions(run):
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


def test_the_same_run_gives_the_same_digits(run, tmp_path):
    trained(run)
    again = replace(run, folder=tmp_path / "again")
    trained(again)
    assert outcome(again) == outcome(run)


def test_another_seed_starts_from_other_weights(run, tmp_path):
    run = with_(run, learning_rate=1e-12)  # and hardly leaves them
    other = replace(run, seed=43, folder=tmp_path / "other")
    assert [trained(each)[0]["seed"] for each in (run, other)] == [42, 43]
    one, two = (np.load(each.folder / "test_logits.npy")[0] for each in (run, other))
    assert np.abs(one - two).mean() > 0.1


def test_the_predictions_are_those_of_the_epoch_that_the_ua_is_read_off(run, monkeypatch):
    monkeypatch.setattr(training, "choose", lambda kind, epochs: Chosen(wa=1, ua=2))
    record, predictions = trained(run)
    assert record["chosen"] == {"wa": 1, "ua": 2}
    logits = torch.from_numpy(np.load(run.folder / "test_logits.npy")[1])
    probabilities = [list(prediction["probabilities"].values()) for prediction in predictions]
    torch.testing.assert_close(torch.tensor(probabilities), logits.softmax(dim=1))


def without_the_test_session(run: Run, folder: Path) -> Run:
    """The run with every test label another one, and test frames of noise."""
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
    """With every test label another one, and test frames of noise, training goes the very same way."""
    run = under(run, kind)
    record, other = trained(run)[0], trained(without_the_test_session(run, tmp_path))[0]
    assert other["chosen"] == record["chosen"]
    for one, two in zip(record["epochs"], other["epochs"], strict=True):
        assert (one["train_loss"], one["validation"]) == (two["train_loss"], two["validation"])
        assert one["test"] != two["test"]


@pytest.mark.parametrize("kind", ["paper", "last"])
def test_where_nobody_validates_the_other_sessions_train_and_the_protocol_chooses(run, kind):
    run = under(run, kind)
    assert (len(run.fold.train), run.fold.validation) == (48, ())
    record, predictions = trained(run)
    assert [epoch["validation"] for epoch in record["epochs"]] == [None] * EPOCHS
    epochs = epochs_of(record)
    chosen = best_test_epochs(epochs) if kind == "paper" else Chosen(EPOCHS, EPOCHS)
    assert record["chosen"] == asdict(chosen)
    right = [prediction["label"] == prediction["prediction"] for prediction in predictions]
    assert np.mean(right) == epochs[record["chosen"]["ua"] - 1].test.wa


def test_a_speaker_is_tested_where_the_protocol_is_by_speaker(run):
    run = under(run, "speaker")
    record, _ = trained(run)
    assert record["fold"] == "Ses01F"
    assert all(epoch["validation"] for epoch in record["epochs"])


def test_a_run_is_done_until_something_that_decides_it_changes(run):
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
def test_a_run_is_not_done_when_somebody_corrects_a_label(run, part):
    trained(run)
    corrected = list(run.manifest.utterances)
    index = getattr(run.fold, part)[0]
    corrected[index] = replace(corrected[index], label="sad")
    assert not replace(run, manifest=Manifest(tuple(corrected), LABELS)).is_done()


def test_what_does_not_change_the_digits_leaves_a_run_done(run):
    trained(run)
    for same in (
        replace(run, model=run.model.model_copy(update={"twin": "Transformer"})),
        with_(run, checkpoint_seconds=0.0, workers=2, tensorboard=True),
        with_(run, seed=41),  # of the experiment's first run, and this one has its own
    ):
        assert same.is_done()


@pytest.mark.parametrize("name", FILES)
def test_a_run_that_lacks_a_file_is_not_done(run, name):
    trained(run)
    (run.folder / name).unlink()
    assert not run.is_done()


class Stopped(KeyboardInterrupt):
    """As if somebody had pressed Ctrl-C."""


def stop_after(epochs: int):
    told = []

    def on_epoch():
        told.append(1)
        if len(told) == epochs:
            raise Stopped

    return on_epoch


def stopped(run: Run, epochs: int = 2) -> Run:
    """Train until the end of an epoch, with a checkpoint after each before."""
    run = with_(run, checkpoint_seconds=0.0)
    with pytest.raises(Stopped):
        train(run, stop_after(epochs))
    assert not run.is_done()
    return run


def epochs_told(run: Run) -> int:
    told = []
    train(run, lambda: told.append(1))
    return len(told)


def checkpoints(run: Run) -> list[Path]:
    return sorted(run.folder.glob("unfinished/checkpoint-*"))


@pytest.fixture
def uninterrupted(run, tmp_path) -> Run:
    """The same run elsewhere, trained without a stop."""
    whole = replace(run, folder=tmp_path / "uninterrupted")
    trained(whole)
    return whole


@pytest.mark.parametrize(("blocks", "kind"), [("transformer", "heldout"), ("lstm", "paper")])
def test_a_stopped_run_goes_on_from_its_checkpoint_and_ends_with_the_same_digits(run, tmp_path, blocks, kind):
    run = under(run, kind)
    if blocks == "lstm":
        run = replace(run, model=config.Model(name="LSTM", blocks="lstm"))
    whole = replace(run, folder=tmp_path / "whole")
    trained(whole)
    run = stopped(run)
    (checkpoint,) = checkpoints(run)
    assert (checkpoint / "complete").is_file()
    assert epochs_told(run) == EPOCHS - 1  # the first one is not trained again
    assert outcome(run) == outcome(whole)
    assert run.is_done()


def test_a_run_that_was_stopped_before_its_first_checkpoint_starts_anew(run, uninterrupted):
    with pytest.raises(Stopped):
        train(run, stop_after(2))  # a minute has not passed
    assert checkpoints(run) == []
    assert not run.is_done()
    assert epochs_told(run) == EPOCHS
    assert outcome(run) == outcome(uninterrupted)


def test_a_torn_checkpoint_is_ignored_and_the_run_starts_anew(run, uninterrupted):
    run = stopped(run)
    (checkpoint,) = checkpoints(run)
    (checkpoint / "complete").unlink()
    (checkpoint / "model.safetensors").write_bytes(b"half")
    assert epochs_told(run) == EPOCHS
    assert outcome(run) == outcome(uninterrupted)


def test_a_torn_checkpoint_does_not_hide_the_whole_one_before_it(run, uninterrupted):
    run = stopped(run)
    (checkpoint,) = checkpoints(run)
    torn = checkpoint.with_name("checkpoint-8")  # of the second epoch
    shutil.copytree(checkpoint, torn)
    (torn / "complete").unlink()
    assert epochs_told(run) == EPOCHS - 1
    assert outcome(run) == outcome(uninterrupted)


def test_a_run_that_is_stopped_again_and_again_ends_with_the_same_digits(run, tmp_path):
    run = with_(run, epochs=5)
    whole = replace(run, folder=tmp_path / "whole")
    trained(whole)
    for _ in range(3):
        stopped(run)
    (checkpoint,) = checkpoints(run)
    assert checkpoint.name == "checkpoint-12"  # of the third epoch, of four steps each: the others are deleted
    assert epochs_told(with_(run, checkpoint_seconds=0.0)) == 2
    assert outcome(run) == outcome(whole)


def test_a_stopped_run_of_other_inputs_is_not_gone_on_with(run, tmp_path):
    changed = with_(run, learning_rate=1e-3)
    whole = replace(changed, folder=tmp_path / "whole")
    trained(whole)
    stopped(run)
    assert epochs_told(changed) == EPOCHS
    assert outcome(changed) == outcome(whole)


def test_a_done_run_of_other_inputs_is_not_done_while_it_is_trained_again(run):
    trained(run)
    changed = with_(run, learning_rate=1e-3)
    with pytest.raises(Stopped):
        train(changed, stop_after(1))
    assert not changed.is_done()
    assert not run.is_done()


@pytest.mark.parametrize("name", ["unfinished/inputs.json", "unfinished"])
def test_an_unfinished_run_that_does_not_say_what_it_is_starts_anew(run, uninterrupted, name):
    run = stopped(run)
    path = run.folder / name
    shutil.rmtree(path) if path.is_dir() else path.write_text("{")
    assert epochs_told(run) == EPOCHS
    assert outcome(run) == outcome(uninterrupted)


def losses(record: dict) -> list[float]:
    return [
        loss
        for epoch in record["epochs"]
        for loss in (epoch["train_loss"], epoch["validation"]["loss"], epoch["test"]["loss"])
    ]


@pytest.mark.parametrize(("rows", "passes"), [(32, 2), (29, 4), (25, 2)])
def test_a_step_in_several_passes_is_the_step_in_one(run, tmp_path, rows, passes):
    """The last step of an epoch, too, which may have five utterances, or one."""
    run = replace(
        run,
        experiment=run.experiment.model_copy(update={"spec_augment": NO_MASKS}),
        fold=replace(run.fold, train=run.fold.train[:rows]),
    )
    once, _ = trained(run)
    divided = replace(with_(run, gradient_accumulation=passes), folder=tmp_path / "divided")
    np.testing.assert_allclose(losses(trained(divided)[0]), losses(once), rtol=0, atol=1e-5)


def test_a_loss_that_is_not_finite_is_a_sentence_that_says_what_to_try(run):
    frames = frames_of(run)
    frames[run.fold.train[5]] = np.nan
    broken = replace(run, cache=cache_of(run.folder, frames))
    with pytest.raises(RecipeError) as error:
        train(broken)
    assert str(error.value) == (
        "the loss is nan in epoch 1 (Shiftformer, fold Session1, seed 42): "
        "try a lower training.learning_rate, or precision: float32"
    )
    assert not broken.is_done()


def test_the_curves_can_be_followed_in_tensorboard(run, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "/nowhere")  # as it was, when the test is over
    trained(with_(run, tensorboard=True))
    (events,) = (run.folder / "tensorboard").rglob("events.out.tfevents.*")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(events.parent))
    found.Reload()
    record = json.loads((run.folder / "run.json").read_text())
    (tag,) = (tag for tag in found.Tags()["scalars"] if tag.endswith("validation_ua"))
    ua = [epoch["validation"]["ua"] for epoch in record["epochs"]]
    assert [event.value for event in found.Scalars(tag)] == pytest.approx(ua)
    assert run.is_done()


def test_tensorboard_that_is_not_installed_is_a_sentence(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(RecipeError) as error:
        train(with_(run, tensorboard=True))
    assert str(error.value) == "training.tensorboard is true, but it is not installed: pip install tensorboard"


def test_bfloat16_trains_and_gives_other_digits(run, tmp_path):
    whole, _ = trained(run)
    half, _ = trained(replace(with_(run, precision="bfloat16"), folder=tmp_path / "half"))
    assert losses(half) != losses(whole)
    np.testing.assert_allclose(losses(half), losses(whole), atol=0.1)


def test_float16_without_a_gpu_is_a_sentence(run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError) as error:
        train(with_(run, precision="float16"))
    assert str(error.value) == ("training.precision is float16, which needs a GPU: it can be bfloat16 or float32 here")


def test_a_batch_that_the_processes_cannot_divide_is_a_sentence(run, monkeypatch):
    monkeypatch.setattr(World, "wait", lambda world: None)
    monkeypatch.setattr(World, "from_first", lambda world, value: value)
    with pytest.raises(RecipeError) as error:
        train(with_(run, gradient_accumulation=2), world=World(0, 3))
    assert str(error.value) == (
        "training.batch_size is 8: 3 processes with gradient_accumulation=2 divide it into 6 parts, which must be whole"
    )


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


STEPS = np.arange(12)  # 32 utterances in batches of 8, 3 epochs, the first to warm up
FALLING = {
    "cosine": 0.5 * (1 + np.cos(np.pi * (STEPS - 4) / 8)),
    "linear": 1 - (STEPS - 4) / 8,
    "constant": np.ones(12),
}


@pytest.mark.parametrize("schedule", FALLING)
def test_the_learning_rate_warms_up_and_then_falls_as_its_schedule_says(run, rates, schedule):
    train(with_(run, schedule=schedule))
    np.testing.assert_allclose(rates, 5e-4 * np.where(STEPS < 4, STEPS / 4, FALLING[schedule]), atol=1e-12)


def test_the_published_learning_rate_is_kept_over_a_stop(run, rates):
    run = with_(run, schedule="paper")
    train(replace(run, folder=run.folder.with_name("whole")))
    whole = rates.copy()
    rates.clear()
    run = stopped(run)
    train(run)
    assert rates == [*whole[:8], *whole[4:]]  # the second epoch was not finished


def test_the_layers_weights_learn_where_they_are_weighed(run, tmp_path):
    layers = np.stack([frames_of(run)] * 3, axis=1)
    weighted = replace(run, cache=FeatureCache(tmp_path, "0" * 64, (3, 5, 32), (layers,)), folder=tmp_path / "weighted")
    assert trained(weighted)[0]["parameters"] == trained(run)[0]["parameters"] + 3


def epoch_of(rows: int, batch_size: int, passes: int, processes: int, **settings: object) -> list[list[list[int]]]:
    """What each process gets of an epoch."""
    shares = [
        Batches(rows, batch_size, passes=passes, rank=rank, processes=processes, **settings)
        for rank in range(processes)
    ]
    batches = [list(share) for share in shares]
    assert [len(of_process) for of_process in batches] == [len(share) for share in shares]
    return batches


plans = st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(1, 4), st.integers(1, 4))


@given(plans, st.booleans())
def test_an_epoch_has_each_row_once(plan, shuffle):
    found = [row for process in epoch_of(*plan, shuffle=shuffle) for batch in process for row in batch if row >= 0]
    assert sorted(found) == list(range(plan[0]))


@given(plans, st.booleans())
def test_the_shares_of_a_step_add_up_to_it_and_are_alike(plan, shuffle):
    rows, batch_size, passes, _ = plan
    (order,) = epoch_of(rows, rows, 1, 1, shuffle=shuffle)
    batches = epoch_of(*plan, shuffle=shuffle)
    steps = -(-rows // batch_size)
    assert {len(of_process) for of_process in batches} == {steps * passes}
    for step in range(steps):
        shares = [batch for of_process in batches for batch in of_process[step * passes : (step + 1) * passes]]
        sizes = [sum(row >= 0 for row in share) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert sorted(row for share in shares for row in share if row >= 0) == sorted(
            order[0][step * batch_size : (step + 1) * batch_size]
        )


@given(plans, st.booleans())
def test_an_empty_share_is_one_row_of_the_step_that_is_nobodys(plan, shuffle):
    rows, batch_size, passes, _ = plan
    (order,) = epoch_of(rows, rows, 1, 1, shuffle=shuffle)
    for of_process in epoch_of(*plan, shuffle=shuffle):
        for number, batch in enumerate(of_process):
            assert batch
            if min(batch) < 0:
                first = number // passes * batch_size
                assert [~row for row in batch] == [order[0][first]]


@given(plans, st.integers(0, 5), st.integers(0, 3))
def test_the_order_is_drawn_from_the_seed_and_the_epoch_and_is_the_same_for_all(plan, epoch, seed):
    rows = plan[0]
    settings = {"shuffle": True, "epoch": lambda: epoch, "seed": seed}
    (alone,) = epoch_of(rows, rows, 1, 1, **settings)
    assert epoch_of(*plan, **settings) == epoch_of(*plan, **settings)
    processes = epoch_of(rows, rows, 1, 2, **settings)
    assert [processes[position % 2][0][position // 2] for position in range(rows)] == alone[0]


def test_another_epoch_and_another_seed_have_another_order_and_no_shuffling_has_the_files():
    orders = {
        tuple(epoch_of(30, 30, 1, 1, shuffle=True, epoch=lambda epoch=epoch: epoch, seed=seed)[0][0])
        for epoch in range(3)
        for seed in range(3)
    }
    assert len(orders) == 9
    assert epoch_of(7, 3, 1, 1) == [[[0, 1, 2], [3, 4, 5], [6]]]
    assert epoch_of(5, 4, 1, 2) == [[[0, 2], [4]], [[1, 3], [~4]]]


def test_a_row_of_nobodys_is_the_same_utterance_without_its_label(run):
    part = Part(run, run.fold.train, Frames(run.cache))
    assert len(part) == len(run.fold.train) == 32
    for row in (0, 5, 31):
        mine, nobodys = part[row], part[~row]
        assert torch.equal(mine["frames"], torch.from_numpy(run.cache[run.fold.train[row]]))
        assert torch.equal(mine["frames"], nobodys["frames"])
        assert mine["labels"] == LABELS.index(run.manifest.utterances[run.fold.train[row]].label)
        assert nobodys["labels"] == NOBODY == -100
