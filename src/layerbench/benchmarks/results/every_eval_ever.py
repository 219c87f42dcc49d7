"""A panel's result in the schema that evaluations share: Every Eval Ever, of EvalEval.

Source: ``eval.schema.json``, version 0.3.0, of github.com/evaleval/every_eval_ever. Details that
it has no fields for are texts, as it wants them.
"""

import json
from datetime import datetime
from typing import Any

from layerbench.agents.types import ActionMode
from layerbench.benchmarks.config import endpoints
from layerbench.benchmarks.results.panel_result import PanelResult
from layerbench.benchmarks.results.words import note

_VERSION = "0.3.0"


def as_json(result: PanelResult) -> str:
    """Write the result as one document of the schema: success rate, and mean return beside it."""
    record, panel = result.record, result.panel
    # When the run began: the same record gives the same document.
    started = str(datetime.fromisoformat(record.started).timestamp())
    data: dict[str, Any] = {
        "schema_version": _VERSION,
        "evaluation_id": f"{panel.name}/{result.model_name}/{started}",
        "evaluation_timestamp": record.started,
        "retrieved_timestamp": started,
        "source_metadata": {
            "source_name": "layerbench",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {
            "name": "layerbench",
            "version": record.code.version,
            "additional_details": {
                "revision": record.code.label,
                "code_sha256": record.code.sha256 or "",
            },
        },
        "model_info": _model(result),
        "evaluation_results": [_success(result)],
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _model(result: PanelResult) -> dict[str, Any]:
    record, name = result.record, result.model_name
    details = {
        "deployment_type": "self_deployed",
        "model_availability": "unknown",
        "base_weights_sha256": record.model.weights_sha256,
        "weights_sha256": record.selection.weights_sha256,
        "dtype": record.model.dtype,
        "trained_layers": record.selection.name,
        "revision": record.model.revision,
        "hardware": record.hardware.processor or record.hardware.device,
    }
    if endpoints.is_endpoint(record.model.name):
        details["deployment_type"] = "unknown"
        name = name.removeprefix(endpoints.PREFIX)
        return {
            "name": name,
            "id": name,
            "inference_platform": "unknown",
            "additional_details": details,
        }
    engine = str(record.settings["model"]["backend"])
    version = record.code.packages.get(engine, "unknown")
    return {
        "name": name,
        "id": name,
        "inference_engine": {"name": engine, "version": version},
        "additional_details": details,
    }


def _success(result: PanelResult) -> dict[str, Any]:
    panel, scores, settings = result.panel, result.evaluation, result.record.settings
    agent = settings["agent"]
    # A choice has no length of its own.
    writes = agent["action_mode"] == ActionMode.GENERATE
    return {
        "evaluation_result_id": f"{panel.name}.success_rate",
        "evaluation_name": panel.name,
        "source_data": {
            "dataset_name": panel.name,
            "source_type": "other",
            "additional_details": {
                "split": panel.split,
                "tasks": str(panel.tasks),
                "tasks_sha256": panel.tasks_sha256,
                "games": panel.games,
                "environment": result.record.env.gym_id,
            },
        },
        "metric_config": {
            "evaluation_description": panel.about,
            "metric_id": "success_rate",
            "metric_name": "Success rate",
            "metric_kind": "accuracy",
            "metric_unit": "proportion",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
        },
        "score_details": {
            "score": scores.count.rate,
            "details": {"note": note(result), "mean_return": str(scores.mean_return)},
            "uncertainty": {
                "confidence_interval": {
                    "lower": result.interval.low,
                    "upper": result.interval.high,
                    "confidence_level": 0.95,
                    "method": "Wilson score interval over tasks",
                },
                "num_samples": scores.count.planned,
            },
        },
        "generation_config": {
            "generation_args": {
                "temperature": scores.temperature,
                **({"max_tokens": agent["max_response_tokens"]} if writes else {}),
                "eval_limits": {"message_limit": panel.max_turns},
            },
            "additional_details": {
                "action_mode": agent["action_mode"],
                "context_mode": agent["context_mode"],
                "answer_form": agent["answer_form"],
                "prompt_style": agent["style"],
                "prompt_sha256": settings.get("prompt", {}).get("sha256", ""),
                "episodes_per_task": str(panel.episodes_per_task),
                "seed": str(result.record.seed),
            },
        },
    }
