"""Trains one decoder block of the embedded model, and scores the model before and after.

    python examples/train_one_layer.py

What ``layerbench run keydoor --preset quick --layer 3`` does, by the library: settings, tasks,
model, agent, pool, trainer, score. A run does more: its folder, intervals, provenance.

Seconds are too few to learn from, and the embedded model knows four environments' words, not
KeyDoor's. A gain takes minutes: ``load("alfworld", preset="default")`` and layer 15.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from layerbench.agents import prompts
from layerbench.agents.agent import AgentSettings, LLMAgent
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.context import ChatFormat
from layerbench.agents.pretrained.loading import load_model
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import Trajectory
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.runs import resolve
from layerbench.envs import registry
from layerbench.envs.pool import EnvPool
from layerbench.rl.layers import decoder_blocks
from layerbench.rl.selection import parse_selection
from layerbench.rl.trainer import Trainer


def load_agent(config: RunConfig) -> tuple[nn.Module, LLMAgent]:
    """Load the model, and make the agent that plays by it."""
    model, tokenizer = load_model(config.model.name)
    settings = AgentSettings(
        action_mode=config.agent.action_mode,
        context_mode=config.agent.context_mode,
        history=config.agent.history,
        max_prompt_tokens=config.agent.max_prompt_tokens,
        max_response_tokens=config.agent.max_response_tokens,
        max_context_tokens=1024,  # as many as the embedded model reads
    )
    chat = ChatFormat(tokenizer, action_mode=settings.action_mode)
    # The backend samples by the very model that the trainer changes in place.
    backend = TransformersBackend(model, end_ids=chat.end_ids)
    rules = registry.find(config.env.reference).rules
    style = prompts.style(config.agent.style, settings.action_mode, rules=rules)
    return model, LLMAgent(backend, tokenizer, style, settings)


def main() -> None:
    """Score, train, score again."""
    # The preset's settings, and overrides as on the command line.
    config = resolve.load("keydoor", ["eval.tasks=16"], preset="quick")

    # Fixed lists of tasks: the same arguments give the same list on any machine.
    env = config.env
    spec = registry.find(env.reference)
    train_tasks = registry.list_tasks(
        spec, split=env.train_split, count=config.train.tasks, seed=0, options=env.options
    )
    eval_tasks = registry.list_tasks(
        spec, split=env.eval_splits[0], count=config.eval.tasks, seed=0, options=env.options
    )

    model, agent = load_agent(config)

    with (
        EnvPool(
            env.reference,
            env.options,
            max_turns=env.max_turns,
            num_slots=env.slots,
            num_workers=env.workers,
        ) as pool,
        tempfile.TemporaryDirectory() as run_dir,
    ):

        def play(requests: Sequence[EpisodeRequest], temperature: float) -> list[Trajectory]:
            return play_episodes(pool, agent, requests, temperature=temperature)

        def score(when: str) -> None:
            # Equal seeds before and after: only the weights differ.
            requests = [EpisodeRequest(task, seed) for seed, task in enumerate(eval_tasks)]
            won = sum(episode.success for episode in play(requests, config.eval.temperatures[0]))
            total = len(requests)
            sys.stdout.write(f"{when:7} success {won / total:.2f} ({won}/{total})\n")

        score("before")
        trainer = Trainer(
            model,
            play,
            tasks=train_tasks,
            selection=parse_selection("3", len(decoder_blocks(model))),
            settings=config.train,
            algorithm=config.algorithm,
            seed=config.seed,
            run_dir=Path(run_dir),
        )
        for metrics in trainer.run():
            sys.stdout.write(f"iteration {metrics.iteration}: {metrics.episodes} episodes\n")
        score("after")


if __name__ == "__main__":
    main()
