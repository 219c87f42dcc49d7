"""Which checkpoint of a run is the best one by the validation tasks."""

from collections.abc import Sequence

from layerbench.benchmarks.records.record_sections import Evaluation, iteration_of_phase
from layerbench.benchmarks.records.run_record import FINAL_PHASE


def best_iteration(
    evaluations: Sequence[Evaluation], *, validation_split: str, last: int
) -> int | None:
    """Choose the iteration after which success on the validation tasks was the highest.

    All are compared at the first temperature; of equal ones, the latest is the best.

    Args:
        evaluations: Evaluations of the run, so far.
        validation_split: Split of the validation tasks; empty where there are none.
        last: Number of the last iteration, whose evaluation is the final one.

    Returns:
        The number of iterations completed; None where none was validated while it trained.
    """
    rates: dict[int, float] = {}
    during = False
    for evaluation in evaluations:
        if evaluation.split != validation_split:
            continue
        iteration = iteration_of_phase(evaluation.phase)
        during = during or iteration is not None
        if evaluation.phase == FINAL_PHASE:
            iteration = last
        if iteration is not None:
            # The first of a phase is at the first temperature.
            rates.setdefault(iteration, evaluation.count.rate)
    if not during:
        return None
    return max(rates, key=lambda iteration: (rates[iteration], iteration))
