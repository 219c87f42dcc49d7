"""A panel's result for the Hugging Face Hub, as YAML to be put into a model's repository."""

from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.repocard_data import eval_results_to_model_index
from huggingface_hub.utils import HFValidationError, validate_repo_id

from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.results.panel_result import PanelResult
from layerbench.benchmarks.results.words import note

_TASK = "reinforcement-learning"
_LONGEST_NOTE = 1000


def model_index(result: PanelResult) -> str:
    """Write the metadata ``model-index`` of a model card (README.md), interval as its argument."""
    panel, scores = result.panel, result.evaluation
    entry = EvalResult(
        task_type=_TASK,
        task_name=panel.about,
        dataset_type=panel.env,
        dataset_name=panel.name,
        dataset_split=panel.split,
        dataset_args={"tasks_sha256": panel.tasks_sha256, "games": panel.games},
        metric_type="success_rate",
        metric_name="success rate",
        metric_value=round(scores.count.rate, 4),
        metric_args={
            "interval_95": [round(result.interval.low, 4), round(result.interval.high, 4)],
            "note": note(result),
        },
    )
    index = eval_results_to_model_index(result.model_name, [entry])
    return _yaml({"model-index": index})


def eval_results(result: PanelResult, *, benchmark: str | None) -> str:
    """Write a file of ``.eval_results``, by which the Hub files scores under a benchmark.

    Args:
        result: The result.
        benchmark: The benchmark's data set on the Hub, ``OWNER/NAME``.

    Raises:
        SettingsError: No data set was named, or its name is none.
    """
    if benchmark is None or "/" not in benchmark:
        raise SettingsError(
            "the Hub files eval-results under a data set that is registered as a benchmark: name "
            "it by --benchmark OWNER/NAME"
        )
    try:
        validate_repo_id(benchmark)
    except HFValidationError as error:
        raise SettingsError(str(error)) from error
    entry = EvalResultEntry(
        dataset_id=benchmark,
        task_id=result.panel.name,
        value=round(result.evaluation.count.rate, 4),
        date=result.record.started,
        notes=note(result)[:_LONGEST_NOTE],
    )
    return _yaml(eval_result_entries_to_yaml([entry]))


def _yaml(data: Any) -> str:  # noqa: ANN401 - lists and dictionaries
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=1000)
