"""Playing the batches of a run, and scoring a policy split by split."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from layerbench.agents.agent import Agent
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import Trajectory
from layerbench.benchmarks.config.schema import EnvConfig, RunConfig
from layerbench.benchmarks.records import episodes, json_codec, provenance
from layerbench.benchmarks.records.run_folder import RunFolder, RunState
from layerbench.benchmarks.records.run_record import Evaluation
from layerbench.benchmarks.runs import evaluation
from layerbench.benchmarks.runs.breakdown import check_played
from layerbench.benchmarks.runs.console import Reporter
from layerbench.envs import registry
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import Task
from layerbench.rl.distributed import SINGLE_PROCESS, ProcessGroup, share


@dataclass(slots=True)
class Evaluator:
    """Plays by one agent, and keeps what its evaluations came to.

    Attributes:
        config: The settings of the run.
        tasks: The fixed lists to score, by split.
        agent: Who decides.
        folder: Where evaluations are kept, held open by the caller.
        reporter: Hears of every step.
        pool: Where the episodes are played.
        processes: The processes of the run; each plays a share, the first one keeps what is played.
        evaluations: So far, in their order.
        memory_mb: The most memory seen.
    """

    config: RunConfig
    tasks: Mapping[str, Sequence[Task]]
    agent: Agent
    folder: RunFolder
    reporter: Reporter
    pool: EnvPool
    processes: ProcessGroup = SINGLE_PROCESS
    evaluations: list[Evaluation] = field(default_factory=list[Evaluation])
    memory_mb: float = 0.0

    @property
    def parts(self) -> list[Path]:
        """The tables of the evaluations so far, in their order."""
        return [self.folder.part(e.phase, e.split, suffix="parquet") for e in self.evaluations]

    def evaluate(self, phase: str) -> None:
        """Score the agent as it is, split by split, or read the scores from the last start."""
        for split in self.config.env.eval_splits:
            found = self.processes.first(lambda split=split: self.folder.scores(phase, split))
            if found is None:
                found = self._play_evaluation(phase, split)
            self.evaluations.append(found)
            self.reporter.evaluated(found)
        self.note_memory()

    def play(
        self, what: str, requests: Sequence[EpisodeRequest], temperature: float
    ) -> list[Trajectory]:
        """Play a batch, of which each process plays its share: tasks, and so groups, whole.

        Raises:
            BreakdownError: Every episode of it broke down.
            SettingsError: No episode of it had room in the context
                for its turns.
        """
        own = share(requests, by=lambda request: request.task.task_id, processes=self.processes)
        total = len(own)
        self.reporter.playing(what, done=0, episodes=total)
        # Equal tasks of a group are loaded once, not by each of its episodes at the same time.
        self.pool.prepare(list({request.task.task_id: request.task for request in own}.values()))
        played = play_episodes(
            self.pool,
            self.agent,
            own,
            temperature=temperature,
            on_progress=lambda done: self.reporter.playing(what, done=done, episodes=total),
        )
        played = self.processes.join(played)
        check_played(played, what=what, asked=self.agent.settings)
        return played

    def note_memory(self) -> None:
        """Remember the most memory seen."""
        self.memory_mb = max(self.memory_mb, provenance.memory_mb())

    def _play_evaluation(self, phase: str, split: str) -> Evaluation:
        settings, tasks = self.config.eval, self.tasks[split]
        started = time.perf_counter()
        requests = evaluation.requests(
            tasks,
            episodes_per_task=settings.episodes_per_task,
            seeds=(settings.seed, self.config.seed),
        )
        played = self.play(f"{phase} {split}", requests, settings.temperature)
        scores = evaluation.summarise(
            played,
            tasks,
            phase=phase,
            split=split,
            temperature=settings.temperature,
            seconds=round(time.perf_counter() - started, 3),
        )
        if self.processes.rank == 0:
            table = self.folder.part(phase, split, suffix="parquet")
            episodes.write(table, played, phase=phase, split=split)
            # After the table of its turns: whoever finds the scores finds both.
            json_codec.write(self.folder.part(phase, split, suffix="json"), scores)
        return scores


def open_pool(env: EnvConfig, *, one_by_one: bool = False) -> EnvPool:
    """Make the pool in which a run plays.

    Args:
        env: The settings of the environment.
        one_by_one: Play one episode at a time in this process, whatever the settings say.
    """
    return EnvPool(
        registry.find(env.name).gym_id,
        env.options,
        max_turns=env.max_turns,
        num_slots=1 if one_by_one else env.slots,
        num_workers=0 if one_by_one else env.workers,
    )


def remember(folder: RunFolder, reporter: Reporter, *, weights_sha256: str) -> RunState:
    """Get the state of the first start, which is this one if there was none."""
    state = RunState(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        weights_sha256=weights_sha256,
        revision=provenance.code().revision,
    )
    first = folder.remember(state)
    if first.revision != state.revision:
        reporter.say("the code changed since this run began; its record will be marked dirty")
    return first
