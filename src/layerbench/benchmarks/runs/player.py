"""Rollouts of a run's batches, and the evaluation of a policy split by split."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import psutil
from torch import nn

from layerbench.agents.agent import Agent, SharedTokensError
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import Trajectory
from layerbench.benchmarks.config import evaluations
from layerbench.benchmarks.config.evaluations import PlannedEvaluation
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import FormatError, RunFailedError
from layerbench.benchmarks.records import episodes, provenance, run_state
from layerbench.benchmarks.records.record_sections import (
    Evaluation,
    EvaluationKey,
    iteration_of_phase,
)
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_record import UNKNOWN
from layerbench.benchmarks.records.run_state import RunState
from layerbench.benchmarks.runs import evaluation
from layerbench.benchmarks.runs.breakdown import check_played
from layerbench.benchmarks.runs.console import Reporter
from layerbench.benchmarks.runs.vocabulary import shared_tokens
from layerbench.envs.descriptions import EnvIdentity
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import Task
from layerbench.rl import sharpness
from layerbench.rl.distributed import SINGLE_PROCESS, ProcessGroup, share
from layerbench.rl.frozen_prefix import FrozenPrefix
from layerbench.rl.layers import BaseWeights
from layerbench.rl.sharpness import Sharpness


@dataclass(slots=True)
class Evaluator:
    """Plays episodes with one agent, and collects its evaluations.

    Attributes:
        config: The settings of the run.
        tasks: Fixed lists of the tasks to score and to validate on, by split.
        agent: The agent.
        folder: Folder that the evaluations are written to, locked by the caller.
        run: The run that they are of.
        reporter: Receives progress events.
        pool: The environments.
        model: The model that plays, to measure how sharply it decides; None behind an endpoint.
        base: Base weights of what has changed in it; None before anything has.
        prefix: Its blocks below the lowest one that has changed, to be run once where they are
            measured; None runs all.
        processes: Processes of the run; each plays a share, and the first one writes the files.
        evaluations: Evaluations so far, in their order.
        memory_mb: Peak memory so far, in MB.
    """

    config: RunConfig
    tasks: Mapping[str, Sequence[Task]]
    agent: Agent
    folder: RunFolder
    run: RunState
    reporter: Reporter
    pool: EnvPool
    processes: ProcessGroup = SINGLE_PROCESS
    model: nn.Module | None = None
    base: BaseWeights | None = None
    prefix: FrozenPrefix | None = None
    evaluations: list[Evaluation] = field(default_factory=list[Evaluation])
    memory_mb: float = 0.0

    def evaluate(self, phase: str) -> None:
        """Score the agent as ``evaluations.planned`` says; what was scored before is read."""
        for planned in self._planned(phase):
            # All processes must take the same branch: one that reads the scores would leave the
            # others waiting for its share of the episodes.
            scores = self.processes.first(lambda planned=planned: self._kept(_key(phase, planned)))
            if scores is None:
                scores = self._play_evaluation(phase, planned)
            self.evaluations.append(scores)
            self.reporter.evaluated(scores)
        self.note_memory()

    def has(self, phase: str) -> bool:
        """Tell whether an earlier start completed all evaluations of a phase."""
        # All are read, so that each one that is damaged is named.
        return None not in [self._kept(_key(phase, planned)) for planned in self._planned(phase)]

    def write_episodes(self) -> None:
        """Join the tables of the evaluations into the run's.

        Raises:
            RunFailedError: One was damaged or deleted since it was written.
        """
        for scores in self.evaluations:
            if self._kept(scores.key) != scores:
                raise RunFailedError(
                    f"the evaluation {scores.key} was damaged while the run was at work: "
                    "the same command plays it again"
                )
        tables = [self.folder.evaluations.table(scores.key) for scores in self.evaluations]
        episodes.merge(self.folder.episodes, tables)

    def play_batch(
        self,
        what: str,
        requests: Sequence[EpisodeRequest],
        temperature: float,
        *,
        keep_states: int = 0,
    ) -> list[Trajectory]:
        """Play a batch; each process plays all episodes of its share of the tasks.

        Args:
            what: Name of the batch for reports and errors, such as ``base seen``.
            requests: Episodes of the batch.
            temperature: Sampling temperature.
            keep_states: As of ``play_episodes``.

        Returns:
            The trajectories of all processes, in the order of the requests.

        Raises:
            BreakdownError: The environment broke down in every episode.
            ContractError: The environment does not keep to the contract.
            SettingsError: No episode had room in the context for its turns, or two actions to
                choose from have the same tokens.
        """
        batch = share(requests, by=lambda request: request.task.task_id, processes=self.processes)
        total, size = len(requests), self.processes.size
        self.reporter.playing(what, done=0, episodes=total)
        # Once a task: the episodes of a group would all load the same one at the same time.
        self.pool.prepare(list({request.task.task_id: request.task for request in batch}.values()))
        try:
            played = play_episodes(
                self.pool,
                self.agent,
                batch,
                temperature=temperature,
                # As if the other processes had come as far as this one.
                on_progress=lambda done: self.reporter.playing(
                    what, done=min(size * done, total), episodes=total
                ),
                keep_states=keep_states,
            )
        except SharedTokensError as error:
            raise shared_tokens(self.config, error) from error
        played = self.processes.join(played)
        if replayed := sum(episode.replayed for episode in played):
            self.reporter.say(
                f"{what}: {replayed} episodes played again, whose env worker was lost"
            )
        if undecided := sum(episode.undecided for episode in played):
            self.reporter.say(f"{what}: {undecided} episodes undecided, which count as lost")
        # On the joined episodes: all processes raise the same error, and none is left waiting.
        check_played(played, what=what, settings=self.agent.settings)
        return played

    def note_memory(self) -> None:
        """Update the peak memory."""
        self.memory_mb = max(self.memory_mb, provenance.memory_mb())

    def _planned(self, phase: str) -> list[PlannedEvaluation]:
        during = iteration_of_phase(phase) is not None
        return evaluations.planned(self.config, all_temperatures=not during)

    def _play_evaluation(self, phase: str, planned: PlannedEvaluation) -> Evaluation:
        tasks, key = self.tasks[planned.split], _key(phase, planned)
        started = time.perf_counter()
        requests = evaluation.requests(
            tasks,
            episodes_per_task=planned.episodes_per_task,
            seeds=(self.config.eval.seed, self.config.seed),
        )
        played = self.play_batch(str(key), requests, planned.temperature)
        seconds = round(time.perf_counter() - started, 3)
        scores = evaluation.summarise(played, tasks, key, seconds=seconds)
        if planned.is_main and (measured := self._measure(played)):
            scores = replace(scores, entropy=measured.entropy, kl=measured.kl)
        if self.processes.rank == 0:
            kept = self.folder.evaluations
            episodes.write(kept.table(key), played, key)
            kept.keep(scores, self.run)
        return scores

    def _measure(self, played: Sequence[Trajectory]) -> Sharpness | None:
        if self.model is None:
            return None
        return sharpness.measure(
            self.model,
            played,
            base=self.base,
            micro_batch_tokens=self.config.train.micro_batch_tokens,
            processes=self.processes,
            prefix=self.prefix,
        )

    def _kept(self, key: EvaluationKey) -> Evaluation | None:
        """Read an evaluation of an earlier start; None if it is to be played."""
        try:
            return self.folder.evaluations.read(key, self.run)
        except FormatError as error:
            self.reporter.say(f"{error}: this evaluation is played again")
            self.folder.evaluations.discard(key)
            return None


def _key(phase: str, planned: PlannedEvaluation) -> EvaluationKey:
    return EvaluationKey(phase, planned.split, planned.temperature)


def first_state(
    config: RunConfig,
    folder: RunFolder,
    reporter: Reporter,
    identity: EnvIdentity,
    *,
    model: Mapping[str, str] | None,
    weights_sha256: str,
) -> RunState:
    """Get the state of the run's first start, and write it if that is this one.

    What a user should know of the tasks is reported.

    Args:
        config: The settings.
        folder: The run's folder.
        reporter: Receives what is reported.
        identity: The environment.
        model: Hash of the model's files by part; None behind an endpoint.
        weights_sha256: Hash of the loaded weights.

    Raises:
        SettingsError: The model or the tasks are not those of the first start.
    """
    for note in identity.notes:
        reporter.say(note)
    code = provenance.code()
    state = RunState(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        weights_sha256=weights_sha256,
        revision=code.revision,
        code_sha256=code.sha256 or UNKNOWN,
        source=identity.source,
        model_files=model,
        settings_sha256=run_state.settings_sha256(config),
        start_up_s=round(time.time() - psutil.Process().create_time(), 1),
    )
    first = folder.remember(state, reporter.say)
    if first.is_of_other_code(code):
        reporter.say("the code changed since this run began; its record will be marked dirty")
    return first
