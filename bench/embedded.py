"""Score the embedded model: by split and type of task, sampled and greedy, and with wrong eyes.

    python bench/embedded.py [--games 128] [--data-dir DIR] [--out FILE]

``swapped`` shows each episode the observations of another game: a policy that reads what it sees
cannot play like that. With ``--data-dir`` the official valid_seen games are played as well.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerbench.agents.agent import AgentSettings, LLMAgent, Moment
from layerbench.agents.backends.transformers import TransformersBackend, load_model
from layerbench.agents.context import ChatFormat
from layerbench.agents.embedded import recipe
from layerbench.agents.prompts.compact import CompactStyle
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import ActionMode, ContextMode
from layerbench.benchmarks.scoring import success_interval
from layerbench.envs import registry
from layerbench.envs.pool import EnvPool


class SwappedAgent(LLMAgent):
    """Sees, in every episode, what its neighbour in the batch should see."""

    def respond(self, moments: Sequence[Moment], *, temperature: float) -> Any:  # noqa: ANN401
        """Answer with the observations' texts moved on by one place; the actions stay."""
        texts = [moment.now.text for moment in moments]
        moved = texts[1:] + texts[:1]
        return super().respond(
            [
                replace(moment, now=replace(moment.now, text=text)) if moment.turns else moment
                for moment, text in zip(moments, moved, strict=True)
            ],
            temperature=temperature,
        )


def score(
    *, split: str, options: Mapping[str, Any], games: int | None, temperature: float, swapped: bool
) -> dict[str, Any]:
    """Play a list of games once, and count."""
    model, tokenizer = load_model("embedded")
    chat = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    settings = AgentSettings(
        action_mode=ActionMode.CHOOSE,
        context_mode=ContextMode.TRANSCRIPT,
        history=0,
        max_prompt_tokens=recipe.CONTEXT,
        max_response_tokens=16,
        max_context_tokens=recipe.CONTEXT,
    )
    kind = SwappedAgent if swapped else LLMAgent
    agent = kind(
        TransformersBackend(model, eos_id=chat.end_id), tokenizer, CompactStyle(), settings
    )
    spec = registry.find("alfworld")
    tasks = registry.list_tasks(spec, split=split, count=games, seed=0, options=options)
    requests = [EpisodeRequest(task, seed) for seed, task in enumerate(tasks)]
    turns = 50 if "data_dir" in options else 20
    with EnvPool(spec.gym_id, options, max_turns=turns, num_slots=64, num_workers=1) as pool:
        played = play_episodes(pool, agent, requests, temperature=temperature)
    won, of = Counter[str](), Counter[str]()
    for trajectory in played:
        of[trajectory.task_type] += 1
        won[trajectory.task_type] += trajectory.success
    interval = success_interval(successes=sum(won.values()), episodes=len(played))
    return {
        "games": registry.describe(spec, options).source,
        "split": split,
        "difficulty": options.get("difficulty", ""),
        "temperature": temperature,
        "swapped": swapped,
        "max_turns": turns,
        "won": sum(won.values()),
        "played": len(played),
        "interval": [round(interval.low, 3), round(interval.high, 3)],
        "by_type": {kind: f"{won[kind]}/{of[kind]}" for kind in sorted(of)},
    }


def main() -> None:
    """Print a line for every measurement, and write them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=128)
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path, default=Path("bench/results/embedded.json"))
    args = parser.parse_args()
    easy = {"difficulty": "easy"}
    plans: list[tuple[str, dict[str, Any], float, bool]] = [
        ("seen", easy, 1.0, False),
        ("unseen", easy, 1.0, False),
        ("seen", easy, 0.0, False),
        ("seen", easy, 1.0, True),
        ("seen", {"difficulty": "medium"}, 1.0, False),
        ("seen", {"difficulty": "full"}, 1.0, False),
    ]
    if args.data_dir:
        plans.append(("valid_seen", {"data_dir": args.data_dir}, 1.0, False))
    rows: list[dict[str, Any]] = []
    for split, options, temperature, swapped in plans:
        official = "data_dir" in options
        row = score(
            split=split,
            options=options,
            games=None if official else args.games,
            temperature=temperature,
            swapped=swapped,
        )
        rows.append(row)
        sys.stdout.write(f"{json.dumps(row)}\n")
        sys.stdout.flush()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
