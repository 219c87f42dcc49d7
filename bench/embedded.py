"""Score an embedded model by split and type of task: sampled, greedy, and with wrong observations.

    python bench/embedded.py [alfworld] [--games 128] [--data-dir DIR] [--out FILE]
    python bench/embedded.py webshop [--model DIR]

``swapped`` gives each episode the observations of another game, with which a policy that depends on
observations cannot win. With ``--data-dir`` the official valid_seen games are played as well.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layerbench.agents.agent import EpisodeState, LLMAgent
from layerbench.agents.prompts.compact import CompactStyle
from layerbench.agents.prompts.compact_webshop import CompactWebShopStyle
from layerbench.agents.prompts.style import PromptStyle
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.benchmarks.pretrain.stages import make_agent
from layerbench.benchmarks.stats.success import success_interval
from layerbench.envs import registry
from layerbench.envs.pool import EnvPool


class SwappedAgent(LLMAgent):
    """Gets, in every episode, the observations of the next one in the batch."""

    def respond(self, states: Sequence[EpisodeState], *, temperature: float) -> Any:  # noqa: ANN401
        """Respond to the next episode's observation texts, with each episode's own actions."""
        texts = [state.observation.text for state in states]
        moved = texts[1:] + texts[:1]
        return super().respond(
            [
                replace(state, observation=replace(state.observation, text=text))
                if state.turns
                else state
                for state, text in zip(states, moved, strict=True)
            ],
            temperature=temperature,
        )


@dataclass(frozen=True, slots=True)
class Subject:
    """The model to score.

    Attributes:
        env: Name of the environment.
        model: Name or folder of the model.
        style: Its prompt style.
        max_turns: Number of actions after which an episode is truncated.
    """

    env: str
    model: str
    style: PromptStyle
    max_turns: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One measurement.

    Attributes:
        split: Split of the environment.
        options: Options of the environment.
        temperature: Sampling temperature; 0 is greedy.
        swapped: Whether to show the observations of another episode.
    """

    split: str
    options: Mapping[str, Any]
    temperature: float = 1.0
    swapped: bool = False


SUBJECTS = {
    "alfworld": Subject("alfworld", "embedded", CompactStyle(), 20),
    "webshop": Subject("webshop", "embedded-webshop", CompactWebShopStyle(), 10),
}
_EASY = {"difficulty": "easy"}
_PERFECT = {"reward": "success"}
PLANS = {
    "alfworld": (
        Plan("seen", _EASY),
        Plan("unseen", _EASY),
        Plan("seen", _EASY, temperature=0.0),
        Plan("seen", _EASY, swapped=True),
        Plan("seen", {"difficulty": "medium"}),
        Plan("seen", {"difficulty": "full"}),
    ),
    "webshop": (
        Plan("test", _PERFECT),
        Plan("eval", _PERFECT),
        Plan("train", _PERFECT),
        Plan("test", _PERFECT, temperature=0.0),
        Plan("test", _PERFECT, swapped=True),
    ),
}


def score(subject: Subject, plan: Plan, *, games: int) -> dict[str, Any]:
    """Play a list of games once, and count."""
    official = "data_dir" in plan.options
    spec = registry.find(subject.env)
    tasks = registry.list_tasks(
        spec,
        split=plan.split,
        count=None if official else games,
        seed=0,
        options=plan.options,
    )
    turns = 50 if official else subject.max_turns
    with EnvPool(spec.name, plan.options, max_turns=turns, num_slots=64, num_workers=1) as pool:
        played = play_episodes(
            pool,
            make_agent(subject.model, subject.style, SwappedAgent if plan.swapped else LLMAgent),
            [EpisodeRequest(task, seed) for seed, task in enumerate(tasks)],
            temperature=plan.temperature,
        )
    won, of = Counter[str](), Counter[str]()
    for trajectory in played:
        of[trajectory.task_type] += 1
        won[trajectory.task_type] += trajectory.success
    interval = success_interval(successes=sum(won.values()), episodes=len(played))
    return {
        "games": registry.describe(spec, plan.options).source,
        "split": plan.split,
        "difficulty": plan.options.get("difficulty", ""),
        "temperature": plan.temperature,
        "swapped": plan.swapped,
        "max_turns": turns,
        "won": sum(won.values()),
        "played": len(played),
        "interval": [round(interval.low, 3), round(interval.high, 3)],
        "by_type": {kind: f"{won[kind]}/{of[kind]}" for kind in sorted(of)},
    }


def main() -> None:
    """Print a line for every measurement, and write them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("env", nargs="?", choices=sorted(SUBJECTS), default="alfworld")
    parser.add_argument("--model", help="another than the one that comes with layerbench")
    parser.add_argument("--games", type=int, default=128)
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    subject = SUBJECTS[args.env]
    if args.model:
        subject = replace(subject, model=args.model)
    plans = list(PLANS[args.env])
    if args.data_dir:
        plans.append(Plan("valid_seen", {"data_dir": args.data_dir}))
    rows: list[dict[str, Any]] = []
    for plan in plans:
        row = score(subject, plan, games=args.games)
        rows.append(row)
        sys.stdout.write(f"{json.dumps(row)}\n")
        sys.stdout.flush()
    out = args.out or Path("bench/results") / f"{SUBJECTS[args.env].model}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
