"""Made-up predictions of an experiment, and statistics computed with plain loops."""

from __future__ import annotations

import numpy as np

from temporal_shift.ser.training.metrics import FoldPredictions

CLASSES = 4


def folds_of(seed, skill=0.5, folds=5, speakers=2, utterances=40):
    """The predictions of one seed: correct with probability ``skill``, otherwise random."""
    generator = np.random.default_rng(seed)
    made = []
    for fold in range(folds):
        labels = np.random.default_rng(fold).integers(CLASSES, size=speakers * utterances)  # the same for every seed
        is_known = generator.random(len(labels)) < skill
        predictions = np.where(is_known, labels, generator.integers(CLASSES, size=len(labels)))
        names = np.repeat([f"{fold}{n}" for n in range(speakers)], utterances)
        made.append(FoldPredictions(names, labels, predictions))
    return made


def seeds_of(skill, seeds=(1, 2, 3), **shape):
    return [folds_of(seed, skill, **shape) for seed in seeds]


def wa(labels, predictions):
    return float(np.mean(labels == predictions))


def ua(labels, predictions):
    return float(np.mean([np.mean(predictions[labels == label] == label) for label in np.unique(labels)]))


def headline(model, score):
    """The mean score over seeds and folds."""
    return np.mean([[score(fold.labels, fold.predictions) for fold in folds] for folds in model])
