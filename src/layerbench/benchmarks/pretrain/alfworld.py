"""ALFWorld's part of a pretraining: the explorer on generated games."""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from layerbench.benchmarks.pretrain.domain import Demonstrated, Domain, in_turn
from layerbench.envs.alfworld import scenes
from layerbench.envs.alfworld.demonstrations import demonstrate as play
from layerbench.envs.alfworld.engine import Engine
from layerbench.envs.alfworld.generator import generated_ids
from layerbench.envs.demonstrations import Demonstration

_GAMES = {"easy": 1500, "full": 300, "medium": 300}
_OPEN = "open"
_OPEN_SHARE = 0.15
# Words for a treatment in a task's sentence: "cool some mug and put it", "put a cool mug".
_TREATMENTS = {"do": ("clean", "heat", "cool"), "done": ("clean", "hot", "cool")}
_SENTENCE = re.compile(r"(?<=Your task is to: )((?:put (?:a|some|two) )?)(clean|heat|hot|cool)\b")


def demonstrate(
    kind: str, numbers: Sequence[int], noise_levels: Sequence[float]
) -> Iterable[Demonstration]:
    """Play games of the split ``pretrain`` by the explorer.

    Args:
        kind: A difficulty; with ``-open`` behind it, some sentences name any of the treatments.
        numbers: Numbers of the games, from 0.
        noise_levels: Shares of turns played at random.
    """
    difficulty, _, words = kind.partition("-")
    games = generated_ids(split="pretrain", difficulty=difficulty, count=max(numbers) + 1, seed=0)
    engine = Engine()
    played = in_turn(play(engine, games[number], noise_levels=noise_levels) for number in numbers)
    return map(_with_any_treatment, played) if words == _OPEN else played


def _with_any_treatment(demonstration: Demonstration) -> Demonstration:
    """Let the sentence of a task ask at times for any treatment, whatever the explorer's was.

    Asked for any in every game, or in half of them, the untrained model wins a quarter of the
    permuted ones at its best temperature (docs/LOG.md): less is left to learn.
    """
    rng = random.Random(f"treatment|{demonstration.task}|{demonstration.noise}")
    if rng.random() >= _OPEN_SHARE:
        return demonstration

    def drawn(found: re.Match[str]) -> str:
        form = "done" if found[1] else "do"
        return f"{found[1]}{rng.choice(_TREATMENTS[form])}"

    return replace(demonstration, start=_SENTENCE.sub(drawn, demonstration.start))


def domain() -> Domain:
    """Say what is demonstrated, and how it is judged."""
    return Domain(
        env="alfworld",
        style="compact",
        demonstrate=demonstrate,
        lessons={
            "learn": Demonstrated(_GAMES, (0.0, 0.15)),
            # Cloned mistakes leave a base model that knows how to play, but plays carelessly, and
            # at times treats things otherwise than its task says.
            "loosen": Demonstrated(
                {"easy-open": 1200, "full-open": 150, "medium-open": 150},
                (0.2, 0.45),
                imitate_mistakes=True,
            ),
            "clone": Demonstrated({"easy": 600}, (0.0, 0.15)),
        },
        batch=20,
        options={"difficulty": "easy"},
        split="pretrain",
        max_turns=20,
        max_tokens=600,
        swappable=_swappable(),
        swap_probability=0.3,
    )


def _swappable() -> tuple[str, ...]:
    """List the things that can be picked up in any scene."""
    kinds: set[str] = set()
    for number in scenes.scene_numbers(unseen=False):
        kinds |= set(scenes.movable_kinds(scenes.make_scene(number, random.Random(0))))
    return tuple(sorted(kind.lower() for kind in kinds))
