"""WebShop as a Gymnasium environment."""

import os
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from layerbench.envs.actions import with_argument
from layerbench.envs.choices import check_known
from layerbench.envs.spaces import AnyText
from layerbench.envs.turn_clock import TurnClock
from layerbench.envs.types import Task, TaskSource
from layerbench.envs.webshop import pages, shop, splits
from layerbench.envs.webshop.browser import Browser
from layerbench.envs.webshop.goals import SOURCES
from layerbench.envs.webshop.queries import candidate_queries
from layerbench.envs.webshop.shop import ShopRules, open_shop

OBSERVATION_MODES = ("text", "text_rich", "url")
REWARDS = ("score", "success")

TEMPLATE = "search[<query>]"
"""The entry for all searches in the list of admissible actions."""


class WebShopEnv(gym.Env[str, str]):
    """A shop in which to find and buy a product that fits an instruction.

    ``reset(options={"goal_index": n})`` selects a goal of any split; otherwise the seed draws one
    of the split. The goals of the scheme ``verl_agent`` also need their ``worker_seed``.

    An action is ``search[words]``, on any page, or ``click[text]`` with one of the page's
    clickable texts; any other leaves the page as it is. ``info["admissible_actions"]`` lists the
    template ``search[<query>]`` and every valid click. ``info["choices"]``, for agents that can
    only choose, lists the clicks, and on pages with a search bar a few searches made from the
    instruction.

    Buying ends the episode. Its reward is the score, in [0, 1]; a score of 1 is a success.

    Args:
        data_dir: Folder of a published catalogue with the official file names; None is the
            generated one, ``webshop-synth``.
        observation_mode: ``text``, ``text_rich`` or ``url``, as in the original.
        split: Split of the goals that are drawn by a seed: train, eval or test.
        split_scheme: One of ``splits.SCHEMES``.
        goal_source: ``synthetic`` or ``human``.
        max_turns: Actions after which an episode is truncated. The original has no limit.
        strict_upstream: False corrects the published code's comparison of options; see
            ``reward.judge``.
        show_attributes: Whether products have a page of their attributes.
        reward: ``score`` is the score; ``success`` is 1 for a score of 1, else 0.

    Raises:
        UserError: A choice is unknown, or the catalogue is missing.
    """

    def __init__(  # noqa: PLR0913 - an environment's options
        self,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        observation_mode: str = "text",
        split: str = "train",
        split_scheme: str = "upstream",
        goal_source: str = "synthetic",
        max_turns: int = 15,
        strict_upstream: bool = True,
        show_attributes: bool = False,
        reward: str = "score",
    ) -> None:
        check_known("observation_mode", observation_mode, OBSERVATION_MODES)
        check_known("reward", reward, REWARDS)
        check_known("split_scheme", split_scheme, splits.SCHEMES)
        check_known("goal_source", goal_source, SOURCES)
        splits.check_split(split, scheme=split_scheme)
        self._clock = TurnClock(max_turns)
        self._shop = open_shop(data_dir, ShopRules(strict_upstream, show_attributes))
        # Draws the goals now, so that a catalogue without goals of this source is refused here.
        splits.table_of(self._shop, goal_source)
        self._mode = observation_mode
        self._split, self._scheme, self._source = split, split_scheme, goal_source
        self._pays_score = reward == "score"
        self.observation_space = AnyText(max_chars=1_000_000)
        self.action_space = AnyText(max_chars=10_000)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode; see ``gymnasium.Env.reset``.

        Args:
            seed: Seed of the goal, if no goal is given.
            options: ``goal_index``, and for verl-agent's orders of goals ``worker_seed``.

        Raises:
            ValueError: The option or the goal is unknown.
        """
        super().reset(seed=seed)
        self._clock.reset()
        index, worker_seed = self._select(options or {})
        table = splits.table_of(self._shop, self._source, worker_seed=worker_seed)
        if not 0 <= index < len(table):
            raise ValueError(f"no goal {index}: they go from 0 to {len(table) - 1}")
        self._browser = Browser(self._shop, table, index, session=str(index))
        self._task_id = task_id(self._source, index, worker_seed=worker_seed)
        self._queries = candidate_queries(self._browser.goal.instruction)
        self._clock.start()
        return self._observe()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Act; see ``gymnasium.Env.step``.

        Raises:
            gymnasium.error.ResetNeeded: There was no successful reset before.
            RuntimeError: The episode has ended.
        """
        self._clock.tick()
        self._browser.act(action)
        text, info = self._observe()
        done = self._browser.is_done
        reward = info["score"] if self._pays_score else float(info["success"])
        return text, reward, done, self._clock.stop(terminated=done), info

    def _select(self, options: dict[str, Any]) -> tuple[int, int]:
        unknown = options.keys() - {"goal_index", "worker_seed"}
        if unknown:
            raise ValueError(
                f"no reset option named '{min(unknown)}': there are goal_index and worker_seed"
            )
        for name, value in options.items():
            if not isinstance(value, int | np.integer):
                raise ValueError(f"the reset option {name} is a whole number, not {value!r}")
        if "goal_index" in options:
            return int(options["goal_index"]), int(options.get("worker_seed", -1))
        split = splits.split_of(
            self._shop, scheme=self._scheme, source=self._source, split=self._split
        )
        number = int(self.np_random.integers(len(split.indices)))
        return int(split.indices[number]), split.worker_seed

    def _observe(self) -> tuple[str, dict[str, Any]]:
        browser = self._browser
        page = browser.page
        clicks = _clicks(page.clickables)
        score = browser.reward.score if browser.is_done else 0.0
        searches = tuple(f"search[{query}]" for query in self._queries)
        return self._text(), {
            "admissible_actions": () if browser.is_done else (TEMPLATE, *clicks),
            "choices": (*searches, *clicks) if page.has_search_bar else clicks,
            "clickables": page.clickables,
            "has_search_bar": page.has_search_bar,
            "instruction": browser.goal.instruction,
            "score": score,
            "success": score == 1.0,
            "task_id": self._task_id,
            "task_type": browser.goal.category,
            "anchor": browser.anchor,
        }

    def _text(self) -> str:
        browser = self._browser
        page, instruction = browser.page, browser.goal.instruction
        if self._mode == "text":
            return pages.plain_text(page, instruction)
        if self._mode == "text_rich":
            return pages.rich_text(page, instruction, opened=browser.opened, url=browser.url)
        return browser.url


def _clicks(clickables: tuple[str, ...]) -> tuple[str, ...]:
    """List the clicks that lead somewhere.

    The search button does not, as a search needs a query; nor does a text that is read as another
    one, because it has brackets or a line break.
    """
    clicks = {f"click[{text}]": text for text in clickables if text != pages.SEARCH}
    return tuple(
        action
        for action, text in clicks.items()
        if with_argument(action) == ("click", text) and "\r" not in text
    )


def list_tasks(
    *,
    split: str,
    count: int | None,
    seed: int,
    data_dir: str | os.PathLike[str] | None = None,
    split_scheme: str = "upstream",
    goal_source: str = "synthetic",
    **_other: object,
) -> tuple[Task, ...]:
    """Draw goals as tasks; see ``registry.list_tasks``. Other options have no effect on tasks.

    Raises:
        UserError: The split, scheme or source is unknown, there are too few goals, or the
            catalogue is missing.
    """
    opened = open_shop(data_dir, ShopRules())
    goals = splits.split_of(opened, scheme=split_scheme, source=goal_source, split=split)
    options = {} if goals.worker_seed < 0 else {"worker_seed": goals.worker_seed}
    return tuple(
        Task(
            task_id(goal_source, index, worker_seed=goals.worker_seed),
            options={"goal_index": index, **options},
            seed=seed,
        )
        for index in splits.choose(goals, count=count, seed=seed)
    )


def source_of(
    *,
    splits: Sequence[str],
    data_dir: str | os.PathLike[str] | None = None,
    goal_source: str = "synthetic",
    **_other: object,
) -> TaskSource:
    """Name the catalogue for records, one for all splits; see ``registry.describe``.

    Raises:
        UserError: The catalogue is missing or damaged.
    """
    del splits
    return shop.source_of(data_dir, with_human=goal_source == "human")


def task_id(source: str, index: int, *, worker_seed: int) -> str:
    """Return the task id of a goal.

    >>> task_id("synthetic", 17, worker_seed=-1)
    'synthetic/000017'
    """
    drawn = "" if worker_seed < 0 else f"worker{worker_seed}/"
    return f"{source}/{drawn}{index:06d}"
