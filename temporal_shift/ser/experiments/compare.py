"""Two experiments on the same folds, model against model, utterance by utterance."""

from __future__ import annotations

from pathlib import Path

from ..reports import report_tables, sentences
from ..reports.results import Results, pair_summary, read_results
from ..utils.errors import RecipeError
from ..utils.table import Table


def compare(first: Path, second: Path, models: tuple[str, str] | None = None) -> tuple[Table, str]:
    """UA differences with their intervals and McNemar's p, from the results in two folders; and how to read them.

    Args:
        models: A model of each; by default every model that both have.
    Raises:
        RecipeError: If the two were not tested on the same utterances in the same folds, or share no model.
    """
    one, other = read_results(first), read_results(second)
    if one.plan.folds != other.plan.folds or one.plan.labels != other.plan.labels or not _same_utterances(one, other):
        raise RecipeError(
            f"{first} and {second} were not tested on the same utterances in the same folds: nothing can be paired"
        )
    pairs = [models] if models else [(name, name) for name in one.runs if name in other.runs]
    if not pairs:
        raise RecipeError(
            f"no model is in both: {first} has {', '.join(one.runs)}; {second} has {', '.join(other.runs)}. "
            "Name one of each"
        )
    for results, folder, name in (
        (r, f, pair[k]) for pair in pairs for k, r, f in ((0, one, first), (1, other, second))
    ):
        if name not in results.runs:
            raise RecipeError(f"{folder} has no model {name!r}: it has {', '.join(results.runs)}")
    summaries = [pair_summary(one, ours, other, theirs) for ours, theirs in pairs]
    for summary in summaries:
        summary["model"] += f" ({first.name})"
        summary["baseline"] += f" ({second.name})"
    optimistic = "paper" in (one.experiment.protocol.kind, other.experiment.protocol.kind)
    return report_tables.pairs(summaries), sentences.pairs_of(optimistic)


def _same_utterances(one: Results, other: Results) -> bool:
    first, second = (next(iter(results.runs.values()))[0] for results in (one, other))
    return all(
        mine.utterances == theirs.utterances and mine.predictions(1).same_utterances(theirs.predictions(1))
        for mine, theirs in zip(first, second, strict=True)
    )
