"""Score the embedded model by environment: at three temperatures, and with wrong observations.

    python bench/embedded.py [alfworld webshop math code] [--tasks 256] [--model DIR] [--out FILE]

``swapped`` gives each episode the observations of another task beside its own actions, with which
a policy that depends on observations can only win by chance. With ``--data-dir`` the official games
of ALFWorld's valid_seen are played as well.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layerbench.agents.agent import EpisodeState, LLMAgent
from layerbench.agents.prompts.compact import CompactStyle
from layerbench.agents.prompts.compact_webshop import CompactWebShopStyle
from layerbench.agents.prompts.plain import PlainStyle
from layerbench.agents.prompts.style import PromptStyle
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.benchmarks.pretrain.stages import make_agent
from layerbench.benchmarks.records import processors
from layerbench.benchmarks.stats.success import success_interval
from layerbench.envs import registry
from layerbench.envs.pool import EnvPool


class SwappedAgent(LLMAgent):
    """Gets, in every episode, the observations of the next one in the batch."""

    def respond(self, states: Sequence[EpisodeState], *, temperature: float) -> Any:  # noqa: ANN401
        """Respond to the next episode's observation texts, with each episode's own actions."""
        others = [*states[1:], *states[:1]]
        return super().respond(
            [
                replace(
                    state,
                    start=replace(state.start, text=other.start.text),
                    observation=replace(state.observation, text=other.observation.text),
                )
                for state, other in zip(states, others, strict=True)
            ],
            temperature=temperature,
        )


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


@dataclass(frozen=True, slots=True)
class Subject:
    """The model to score.

    Attributes:
        style: Its prompt style.
        max_turns: Number of actions after which an episode is truncated.
        plans: Splits and options that it is scored on; the first also greedily and so on.
    """

    style: PromptStyle
    max_turns: int
    plans: tuple[Plan, ...]


_EASY = {"difficulty": "easy"}
_PERMUTED = {**_EASY, "goal_words": "permuted"}
_MATH = {"levels": "chain-3,brackets", "tools": "calculator"}
_CODE = {"level": "short", "turns": "line", "shows": "sentence"}

SUBJECTS = {
    "alfworld": Subject(
        CompactStyle(),
        20,
        (
            Plan("seen", _PERMUTED),
            Plan("unseen", _PERMUTED),
            Plan("seen", _EASY),
            Plan("seen", {"difficulty": "medium"}),
            Plan("seen", {"difficulty": "full"}),
        ),
    ),
    "webshop": Subject(CompactWebShopStyle(), 10, (Plan("test", {}), Plan("eval", {}))),
    "math": Subject(
        PlainStyle(),
        8,
        (
            Plan("test", _MATH),
            Plan("test", {**_MATH, "signs": "permuted"}),
            Plan("test", {**_MATH, "levels": "chain-4"}),
            Plan("test", {**_MATH, "tools": "none"}),
        ),
    ),
    "code": Subject(
        CompactStyle(),
        6,
        (Plan("test", _CODE), Plan("test", {**_CODE, "level": "medium"})),
    ),
}
"""First the default task of each environment."""


def plans(subject: Subject) -> Iterator[Plan]:
    """List the default task at other temperatures and with swapped observations, then the rest."""
    first, *others = subject.plans
    yield first
    yield replace(first, temperature=0.5)
    yield replace(first, temperature=0.0)
    yield replace(first, swapped=True)
    yield from others


def score(env: str, plan: Plan, *, model: str, games: int) -> dict[str, Any]:
    """Play a list of tasks once, and count."""
    subject, official = SUBJECTS[env], "data_dir" in plan.options
    spec = registry.find(env)
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
            make_agent(model, subject.style, SwappedAgent if plan.swapped else LLMAgent),
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
        "options": dict(plan.options),
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("envs", nargs="*", help=f"of {', '.join(SUBJECTS)}")
    parser.add_argument("--model", default="embedded", help="another than the shipped one")
    parser.add_argument("--tasks", type=int, default=256)
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path, default=Path("bench/results/embedded.json"))
    args = parser.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {}
    for env in args.envs or SUBJECTS:
        listed = list(plans(SUBJECTS[env]))
        if args.data_dir and env == "alfworld":
            listed.append(Plan("valid_seen", {"data_dir": args.data_dir}))
        for plan in listed:
            row = score(env, plan, model=args.model, games=args.tasks)
            rows.setdefault(env, []).append(row)
            sys.stdout.write(f"{env}  {json.dumps(row)}\n")
            sys.stdout.flush()
    figures = {"processor": processors.cpu(), "model": args.model, "scores": rows}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
