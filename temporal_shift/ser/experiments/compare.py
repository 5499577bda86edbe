"""A paired comparison of two experiments on the same folds, model by model."""

from __future__ import annotations

from pathlib import Path

from ..reports import report_tables, sentences
from ..reports.results import read_results
from ..reports.summary import corrected, pair_summary
from ..utils.errors import RecipeError
from ..utils.table import Table
from ..utils.wording import listed


def compare(first: Path, second: Path, models: tuple[str, str] | None = None) -> tuple[Table, str]:
    """Return the UA differences of two results folders with intervals and tests, and a text that explains them.

    Args:
        first: Results folder of an experiment.
        second: Results folder of another experiment.
        models: The name of a model of each. Default: ``None``, all models with a name that both have.
    Raises:
        RecipeError: If a results folder is incomplete or invalid, if the experiments do not test the same utterances
            and classes in the same folds, if they share no model and ``models`` is ``None``, or if a name in
            ``models`` is unknown.
    """
    one, other = read_results(first), read_results(second)
    for name, ours, theirs in (
        ("folds", one.plan.folds, other.plan.folds),
        ("classes", one.plan.labels, other.plan.labels),
    ):
        if ours != theirs:
            raise RecipeError(
                f"{first} and {second} must have the same {name}, got {listed(ours, 10)} and {listed(theirs, 10)}"
            )
    tested = [next(iter(results.runs.values()))[0] for results in (one, other)]  # the first model's first seed
    for fold, run, compared in zip(one.plan.folds, *tested, strict=True):
        if difference := run.test_part_difference(compared):
            raise RecipeError(
                f"{first} and {second} must have the same test utterances, speakers and labels in fold {fold}, got "
                f"{difference}"
            )
    pairs = [models] if models else [(name, name) for name in one.runs if name in other.runs]
    if not pairs:
        raise RecipeError(
            f"{first} and {second} must share a model, got {', '.join(one.runs)} and {', '.join(other.runs)}; "
            "pass --model with a model of each"
        )
    for results, folder, names in zip((one, other), (first, second), zip(*pairs, strict=True), strict=True):
        for name in names:
            if name not in results.runs:
                raise RecipeError(f"model must be one of {', '.join(results.runs)} in {folder}, got {name!r}")
    tested_by = one.tested(), other.tested()
    summaries = corrected([pair_summary(tested_by[0], ours, tested_by[1], theirs) for ours, theirs in pairs])
    for summary in summaries:
        summary["model"] += f" ({first.name})"
        summary["baseline"] += f" ({second.name})"
    optimistic = "paper" in (one.experiment.protocol.kind, other.experiment.protocol.kind)
    return report_tables.pairs(summaries), sentences.pairs_of(summaries, optimistic)
