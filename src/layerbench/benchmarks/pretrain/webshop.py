"""WebShop's part of a pretraining: a shopper in the synthetic catalogue who reads one option."""

from collections.abc import Iterable, Sequence

from layerbench.agents.pretrained.embedded import vocabulary
from layerbench.benchmarks.pretrain.domain import Demonstrated, Domain, in_turn
from layerbench.envs.demonstrations import Demonstration
from layerbench.envs.session import Session
from layerbench.envs.webshop.demonstrations import demonstrate as play
from layerbench.envs.webshop.env import list_tasks

_MAX_TURNS = 10
_GOALS = {"train": 3500}


def demonstrate(
    split: str, numbers: Sequence[int], noise_levels: Sequence[float]
) -> Iterable[Demonstration]:
    """Play goals of a split by the expert, which reads the first option alone."""
    tasks = list_tasks(split=split, count=max(numbers) + 1, seed=0)
    session = Session("webshop", {}, _MAX_TURNS)
    return in_turn(
        play(session, tasks[number], noise_levels=noise_levels, options_read=1)
        for number in numbers
    )


def domain() -> Domain:
    """Say what is demonstrated, and how it is judged."""
    return Domain(
        env="webshop",
        style="compact-webshop",
        demonstrate=demonstrate,
        lessons={
            "learn": Demonstrated(_GOALS, (0.0, 0.15)),
            "loosen": Demonstrated({"train": 1500}, (0.0, 0.15)),
            "clone": Demonstrated({"train": 600}, (0.0, 0.15)),
        },
        batch=20,
        options={},
        split="eval",
        max_turns=_MAX_TURNS,
        max_tokens=900,
        # Ids say nothing about a product.
        swappable=tuple(vocabulary.product_ids()),
        swap_probability=0.5,
    )
