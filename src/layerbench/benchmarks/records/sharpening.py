"""How much of a gain a change of the sampling temperature gives as well.

Training can make a policy decide more sharply without teaching it anything. So each policy, the
base and what was learned, is compared at its own best temperature, which validation tasks choose.
"""

from collections.abc import Iterable, Mapping, Sequence

from layerbench.benchmarks.records.record_sections import Evaluation, iteration_of_phase
from layerbench.benchmarks.stats.success import Difference, paired_difference_of_rates


def best_temperatures(
    evaluations: Sequence[Evaluation], *, validation_split: str
) -> dict[str, float]:
    """Choose the temperature of each phase with the highest success on the validation tasks.

    Of equal ones, the first that was evaluated. Phases during training have none.

    Returns:
        The temperature by phase; empty where no tasks were validated on.
    """
    best: dict[str, Evaluation] = {}
    for evaluation in evaluations:
        # While it trains, a policy is evaluated at one temperature alone.
        during = iteration_of_phase(evaluation.phase) is not None
        if evaluation.split != validation_split or during:
            continue
        first = best.setdefault(evaluation.phase, evaluation)
        if evaluation.count.rate > first.count.rate:
            best[evaluation.phase] = evaluation
    return {phase: evaluation.temperature for phase, evaluation in best.items()}


def best_differences(
    evaluations: Iterable[Evaluation],
    temperatures: Mapping[str, float],
    *,
    splits: Sequence[str],
    base: str,
    final: str,
) -> dict[str, Difference]:
    """Compare two phases, each at its best temperature, on the same tasks.

    Args:
        evaluations: All evaluations of a run.
        temperatures: Best temperature by phase.
        splits: The splits that are scored.
        base: Phase that is subtracted.
        final: Phase that it is subtracted from.

    Returns:
        Differences of success rates by split; empty where a phase has no best temperature.
    """
    if base not in temperatures or final not in temperatures:
        return {}
    found = {evaluation.key: evaluation.outcomes for evaluation in evaluations}
    by_split = {(key.split, key.phase, key.temperature): o for key, o in found.items()}
    return {
        split: paired_difference_of_rates(
            by_split[split, base, temperatures[base]],
            by_split[split, final, temperatures[final]],
        )
        for split in splits
    }
