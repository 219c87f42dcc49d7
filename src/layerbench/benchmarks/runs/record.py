"""Makes the record of a finished run."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import torch

from layerbench.agents.pretrained.loading import weights_hash
from layerbench.benchmarks.config import evaluations, serialize
from layerbench.benchmarks.config.identity import identify
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.config.selected_layers import recorded_name
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records import provenance, run_record, sharpening
from layerbench.benchmarks.records.record_sections import (
    BestCheckpoint,
    EndpointRecord,
    EnvRecord,
    HardwareRecord,
    ModelRecord,
    MovementRecord,
    SelectionRecord,
    TrainingRecord,
)
from layerbench.benchmarks.records.run_record import BASE_PHASE, FINAL_PHASE, RunRecord
from layerbench.benchmarks.records.run_state import RunState
from layerbench.benchmarks.runs.player import Evaluator
from layerbench.benchmarks.runs.prepare import PreparedRun
from layerbench.benchmarks.stats.success import Difference, paired_difference
from layerbench.envs.descriptions import EnvIdentity
from layerbench.rl.layers import BaseWeights, movement
from layerbench.rl.lora import count_learned
from layerbench.rl.metrics import IterationMetrics


def evaluation_record(  # noqa: PLR0913 - none of them follows from another
    config: RunConfig,
    identity: EnvIdentity,
    evaluator: Evaluator,
    state: RunState,
    *,
    model: ModelRecord,
    selection: SelectionRecord,
    hardware: HardwareRecord,
    endpoint: EndpointRecord | None = None,
) -> RunRecord:
    """Make the record of a run that scored a model and trained nothing.

    Args:
        config: The settings.
        identity: The environment.
        evaluator: Has the run's evaluations and peak memory.
        state: State of the run's first start.
        model: The base model.
        selection: The trained layers; none for an endpoint.
        hardware: The machine.
        endpoint: Usage of the endpoint; None where the model ran here.

    Raises:
        SettingsError: The files that the tasks are read from changed since the run began.
    """
    if identify(config.env).source != identity.source:
        raise SettingsError(
            f"the files of {identity.source} changed while the run was under way: put them back, "
            "or use --fresh"
        )
    code = provenance.code()
    return RunRecord(
        schema=run_record.SCHEMA,
        env=env_record(config, identity),
        model=model,
        selection=selection,
        algorithm=config.algorithm.name.value,
        preset=config.preset,
        seed=config.seed,
        settings=serialize.as_dict(config),
        # A run that started on one code and ended on another is the result of neither.
        code=dataclasses.replace(code, dirty=code.dirty or state.is_of_other_code(code)),
        evaluations=tuple(evaluator.evaluations),
        differences={},
        best_temperatures=sharpening.best_temperatures(
            evaluator.evaluations, validation_split=_validation_split(config)
        ),
        best_differences={},
        training=TrainingRecord(0, 0, 0, 0, 0, {"play": 0.0, "update": 0.0}),
        movement=MovementRecord({}, {}),
        started=state.started,
        peak_memory_mb=evaluator.memory_mb,
        hardware=hardware,
        endpoint=endpoint,
    )


def training_record(
    prepared: PreparedRun,
    evaluator: Evaluator,
    state: RunState,
    *,
    history: Sequence[IterationMetrics],
    base: BaseWeights,
    best: BestCheckpoint | None = None,
) -> RunRecord:
    """Make the record of a run whose model was loaded here.

    Args:
        prepared: The run, with its model after training.
        evaluator: Has the run's evaluations and peak memory.
        state: State of the run's first start.
        history: Metrics of the training iterations; empty where nothing was trained.
        base: Base weights of every parameter that changed.
        best: The best checkpoint by the validation tasks.
    """
    record = evaluation_record(
        prepared.config,
        prepared.identity,
        evaluator,
        state,
        model=model_record(prepared, state),
        selection=_selection(prepared, base),
        hardware=hardware_record(prepared, processes=evaluator.processes.size),
    )
    best_differences = sharpening.best_differences(
        record.evaluations,
        record.best_temperatures,
        splits=record.env.eval_splits,
        base=BASE_PHASE,
        final=FINAL_PHASE,
    )
    return dataclasses.replace(
        record,
        # Where nothing changed, there is no final evaluation to compare with the base's.
        differences=_differences(record) if base.tensors else {},
        best_differences=best_differences,
        training=_training(prepared, history),
        movement=_movement(prepared, base),
        peak_device_memory_mb=provenance.device_memory_mb(_devices(prepared)),
        best=best,
    )


def env_record(config: RunConfig, identity: EnvIdentity) -> EnvRecord:
    """Describe the environment."""
    return EnvRecord(
        name=identity.name,
        gym_id=identity.gym_id,
        source=identity.source,
        version=identity.version,
        train_split=config.env.train_split,
        eval_splits=tuple(config.env.eval_splits),
        splits_sha256=identity.by_split or None,
        package=identity.package.name or None,
        package_version=identity.package.version or None,
        module_sha256=identity.package.module_sha256 or None,
    )


def model_record(prepared: PreparedRun, state: RunState) -> ModelRecord:
    """Describe the base model."""
    weights = list(prepared.model.parameters())
    return ModelRecord(
        name=prepared.config.model.name,
        revision=prepared.config.model.revision,
        weights_sha256=state.weights_sha256,
        dtype=str(weights[0].dtype).removeprefix("torch."),
        parameters=sum(weight.numel() for weight in weights),
        files_sha256=state.model_files,
    )


def hardware_record(prepared: PreparedRun, *, processes: int) -> HardwareRecord:
    """Describe the devices that hold the model, and this machine."""
    return provenance.hardware(",".join(map(str, _devices(prepared))), processes=processes)


def _devices(prepared: PreparedRun) -> list[torch.device]:
    return sorted({weight.device for weight in prepared.model.parameters()}, key=str)


def _selection(prepared: PreparedRun, base: BaseWeights) -> SelectionRecord:
    rank = prepared.config.train.lora_rank
    parameters = 0
    if base.tensors:
        parameters = count_learned(base.tensors, prepared.selection, lora_rank=rank)
    return SelectionRecord(
        name=recorded_name(prepared.config, prepared.selection),
        layers=prepared.selection.layers,
        num_layers=prepared.selection.num_layers,
        parameters=parameters,
        share=parameters / sum(weight.numel() for weight in prepared.model.parameters()),
        weights_sha256=weights_hash(prepared.model),
        # None too where nothing changed, whatever the setting.
        lora_rank=(rank or None) if base.tensors else None,
    )


def _training(prepared: PreparedRun, history: Sequence[IterationMetrics]) -> TrainingRecord:
    return TrainingRecord(
        iterations=len(history),
        tasks=len(prepared.train_tasks),
        episodes=sum(metrics.episodes for metrics in history),
        # `turns` is a mean over episodes: rounding gives the whole number back.
        turns=sum(round(metrics.turns * metrics.episodes) for metrics in history),
        decisions=sum(metrics.update.decisions for metrics in history),
        seconds={
            "play": round(math.fsum(metrics.play_s for metrics in history), 3),
            "update": round(math.fsum(metrics.update_s for metrics in history), 3),
        },
        replayed=sum(metrics.replayed for metrics in history) or None,
    )


def _movement(prepared: PreparedRun, base: BaseWeights) -> MovementRecord:
    moved = movement(prepared.model, base)
    return MovementRecord(
        per_layer={str(layer): share for layer, share in moved.per_layer.items()},
        per_matrix=moved.per_matrix,
    )


def _validation_split(config: RunConfig) -> str:
    return config.env.train_split if evaluations.validates(config) else ""


def _differences(record: RunRecord) -> Mapping[str, Difference]:
    outcomes = {(e.phase, e.split): e.outcomes for e in record.scored}
    return {
        split: paired_difference(outcomes[BASE_PHASE, split], final)
        for (phase, split), final in outcomes.items()
        if phase == FINAL_PHASE
    }
