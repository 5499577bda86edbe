"""A paired comparison of two experiments on the same folds, model by model."""

from __future__ import annotations

from pathlib import Path

from ..reports import report_tables, sentences
from ..reports.results import read_results
from ..reports.run_files import FinishedRun
from ..reports.summary import corrected, pair_summary
from ..utils.errors import RecipeError
from ..utils.table import Table


def compare(first: Path, second: Path, models: tuple[str, str] | None = None) -> tuple[Table, str]:
    """Return the UA differences of two results folders with intervals and tests, and a text that explains them.

    Args:
        models: One model of each. Default: all models that both have.
    Raises:
        RecipeError: If the experiments do not test the same utterances in the same folds, or share no model.
    """
    one, other = read_results(first), read_results(second)
    tested = [next(iter(results.runs.values()))[0] for results in (one, other)]  # the first model's first seed
    if (
        one.plan.folds != other.plan.folds
        or one.plan.labels != other.plan.labels
        or not all(map(FinishedRun.has_test_part_of, *tested))
    ):
        raise RecipeError(f"{first} and {second} must have the same folds, test utterances and labels to be compared")
    pairs = [models] if models else [(name, name) for name in one.runs if name in other.runs]
    if not pairs:
        raise RecipeError(
            f"{first} and {second} must share a model, got {', '.join(one.runs)} and {', '.join(other.runs)}; "
            "name a model of each"
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
