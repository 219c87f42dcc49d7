"""TextArena's games for one player (Guertler et al. 2025, arXiv:2504.11442)."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from layerbench.envs.choices import check_known
from layerbench.envs.spec import EnvSpec
from layerbench.envs.wrappers.game import (
    Family,
    Game,
    Moment,
    OwnRandom,
    for_small_models,
    imported,
    options_of,
    silence,
    with_one_task,
)
from layerbench.errors import UserError

FAMILY = Family("games of TextArena for one player", "Sokoban-v0", "textarena", extra="textarena")

_DIRECTIONS = ("up", "down", "left", "right")
_MAX_LISTED = 36
"""Cells of a board up to which a choice among them is listed."""


def _sokoban(game: Any) -> Sequence[str]:  # noqa: ANN401 - TextArena has no types
    return [f"[{move}]" for move in _DIRECTIONS if not game._would_collide_with_wall(move)]


def _frozen_lake(game: Any) -> Sequence[str]:  # noqa: ANN401
    row, column = game.state.game_state["player_pos"]
    return [
        f"[{move}]"
        for move, (down, right) in game.actions.items()
        if 0 <= row + down < game.size and 0 <= column + right < game.size
    ]


def _lights(game: Any) -> Sequence[str]:  # noqa: ANN401
    return [f"[{row} {column}]" for row in range(game.size) for column in range(game.size)]


def _fifteen(game: Any) -> Sequence[str]:  # noqa: ANN401
    row, column = game._get_empty_position()
    allowed = (row < 3, row > 0, column < 3, column > 0)
    return [f"[{move}]" for move, may in zip(_DIRECTIONS, allowed, strict=True) if may]


def _slides(game: Any) -> Sequence[str]:  # noqa: ANN401
    board = game.state.game_state["board"]
    before = [row[:] for row in board]
    moves: list[str] = []
    for number, move in enumerate(_DIRECTIONS):
        if game._apply_move(number)[0]:
            moves.append(f"[{move.title()}]")
        board[:] = [row[:] for row in before]
    return moves


def _mines(game: Any) -> Sequence[str]:  # noqa: ANN401
    if game.rows * game.cols > _MAX_LISTED:
        return ()
    cells = [(row, column) for row in range(game.rows) for column in range(game.cols)]
    return [f"[{row} {column}]" for row, column in cells if not game.revealed[row][column]]


def _jumps(game: Any) -> Sequence[str]:  # noqa: ANN401
    pegs = game.state.game_state["board"]
    return [
        f"[{start} {end}]"
        for start, over, end in game.ALLOWED_MOVES
        if pegs[start] and pegs[over] and not pegs[end]
    ]


def _disks(game: Any) -> Sequence[str]:  # noqa: ANN401
    towers = game.state.game_state["towers"]
    return [
        f"[{source} {target}]"
        for source, disks in towers.items()
        for target, others in towers.items()
        if disks and source != target and (not others or others[-1] > disks[-1])
    ]


def _numbers(game: Any) -> Sequence[str]:  # noqa: ANN401
    numbers = range(game.min_number, game.max_number + 1)
    return [f"[{number}]" for number in numbers if number not in game.guessed_numbers]


def _cars(game: Any) -> Sequence[str]:  # noqa: ANN401
    cars = game.state.game_state["vehicles"]
    return [
        f"[{name}{sign}]"
        for name, car in sorted(cars.items())
        for sign, forward in (("+", True), ("-", False))
        if game._can_move(cars, car, forward)
    ]


@dataclass(frozen=True, slots=True)
class _Family:
    """One game, in all its sizes.

    Attributes:
        plays: What it is, in a few words.
        turns: Turns after which an episode of its first size is truncated.
        actions: Lists the actions that the game accepts now; None if they are free text.
        drawn: Arguments of the game that let the seed draw what is else always the same.
        tasks: Arguments for each named task, where the seed decides nothing.
        is_one: It is the same for every seed.
        won_above: Share of the reward above which the game is won; 1.0 stands for all of it.
    """

    plays: str
    turns: int
    actions: Callable[[Any], Sequence[str]] | None = None
    drawn: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    is_one: bool = False
    won_above: float = 1.0


_EQUATIONS = (
    "SEND + MORE = MONEY",
    "EAT + THAT = APPLE",
    "TWO + TWO = FOUR",
    "BASE + BALL = GAMES",
    "CROSS + ROADS = DANGER",
    "FORTY + TEN + TEN = SIXTY",
    "DONALD + GERALD = ROBERT",
    "TO + GO = OUT",
    "ODD + ODD = EVEN",
    "COCA + COLA = OASIS",
)

_FAMILIES = {
    "2048": _Family("slide tiles of equal numbers together", 1000, _slides),
    "Bandit": _Family(
        "find the best of several buttons", 22, lambda game: [f"[{b}]" for b in game.buttons]
    ),
    "Blackjack": _Family(
        "draw cards against a dealer", 50, lambda game: ["[Hit]", "[Stand]"], won_above=0.5
    ),
    "Countdown": _Family(
        "reach a number by arithmetic", 12, drawn={"numbers": None, "target": None}
    ),
    "Cryptarithm": _Family(
        "find the digits that letters stand for",
        30,
        tasks={equation: {"equation": equation} for equation in _EQUATIONS},
    ),
    "FifteenPuzzle": _Family("slide numbered tiles into order", 200, _fifteen),
    "FrozenLake": _Family("cross a frozen lake with holes", 30, _frozen_lake),
    "GuessTheNumber": _Family("guess a number by higher and lower", 12, _numbers),
    "LightsOut": _Family("press lights until all are off", 20, _lights),
    "Mastermind": _Family("break a code of digits", 20),
    "Minesweeper": _Family("uncover a board without its mines", 100, _mines),
    "PegJump": _Family(
        "jump pegs until one is left",
        20,
        _jumps,
        tasks={f"hole {hole}": {"initial_empty": hole} for hole in range(1, 16)},
    ),
    "RushHour": _Family("free a car from a jam", 40, _cars),
    "Secretary": _Family(
        "stop at the best of a row of numbers", 12, lambda game: ["[accept]", "[continue]"]
    ),
    "Sokoban": _Family("push boxes onto targets", 30, _sokoban),
    "Sudoku": _Family("fill in a sudoku", 100),
    "TowerOfHanoi": _Family("move a tower of disks", 14, _disks, is_one=True),
}

# One box in a small room; no model of a few layers reads whole boards of three.
_SMALL = {
    "Sokoban-v0": {
        "env.bare": True,
        "env.config": "num_boxes=1,dim_room=[5,5]",
        "env.max_turns": 8,
        "env.reward": "success",
    }
}
_LOADS = "it downloads a list of words"
_REFUSED = {
    "BabyAiText": "it needs packages that cannot be installed: play minigrid:BabyAI-... instead",
    "Crosswords": _LOADS,
    "Hangman": _LOADS,
    "Klondike": "its code does not compile",
    "TwentyQuestions": "it asks a model behind a key",
    "WordLadder": _LOADS,
    "WordSearch": _LOADS,
    "Wordle": _LOADS,
}


class TextArena(Game):
    """One game of TextArena, by its own rules.

    An action is written as the game says, in square brackets; where it has none, they are added.
    A second action in a row that the game does not accept ends most games. Bandit and Secretary
    then pay -1; the others pay for what was achieved.

    Args:
        game: Name of the game with its version and size, such as ``Sokoban-v0``.
        reward: What an episode pays at its end: ``game`` for the game's own reward, which is a
            share for what was achieved, and ``success`` for 1 if it was won and 0 otherwise.
        bare: Leave out the game's rules, and the frames, gaps and hints of its boards: for small
            models, which read in short pieces.
        config: Arguments of the game, as ``name=value,name=value``, in place of those of its size.

    Raises:
        UserError: There is no such game, reward or argument.
    """

    def __init__(
        self, *, game: str, reward: str = "game", bare: bool = False, config: str = ""
    ) -> None:
        check_known("reward", reward, ("game", "success"))
        self._name, self._family = game, _family(game)
        self._pays_success = reward == "success"
        self._is_bare = bare
        super().__init__(game, tasks=self._family.tasks)
        self._package: Any = imported("textarena", extra="textarena")
        self._config = options_of(config, "env.config")
        self._make(self._config)

    def begin(self, seed: int, task: str) -> Moment:
        drawn = {**self._family.drawn, **self._family.tasks.get(task, {})}
        self._seed = seed
        # Its games draw from the global generator, some of them when they are made.
        self._random = OwnRandom(seed)
        with self._random, silence():
            # A new one for every episode: a used one keeps the observations of the last.
            self._game: Any = self._make(drawn | self._config)
            self._game.reset(num_players=1, seed=seed)
        _mend(self._game.state)
        return self._moment(self._read())

    def _make(self, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401
        try:
            return self._package.make(f"{self._name}-raw", **arguments)
        # Games check their arguments by themselves, if at all.
        except (TypeError, ValueError, AssertionError) as error:
            raise UserError(f"env.config of textarena:{self._name}: {error}") from error

    def play(self, action: str) -> Moment:
        """Play an action, in brackets, which the games look for, unless it has some."""
        bracketed = action if "[" in action or "]" in action else f"[{action}]"
        with self._random, silence():
            over, _ = self._game.step(bracketed)
        text = self._read()
        if not over:
            return self._moment(text)
        rewards, infos = self._game.close()
        reward, reason = float(rewards[0]), str(infos[0].get("reason") or "")
        won = not infos[0]["invalid_move"] and (reward >= 1.0 or reward > self._family.won_above)
        return Moment(
            text="\n".join(filter(None, (text, reason))),
            anchor=f"over: {reason}",
            reward=float(won) if self._pays_success else reward,
            won=won,
            over=True,
        )

    def _moment(self, text: str) -> Moment:
        list_them = self._family.actions
        actions = tuple(list_them(self._game)) if list_them else ()
        return Moment(text, actions, anchor=self._anchor())

    def _read(self) -> str:
        kinds = self._package.ObservationType
        hidden = {kinds.PLAYER_ACTION, kinds.PROMPT} if self._is_bare else {kinds.PLAYER_ACTION}
        _, messages = self._game.get_observation()
        # Some boards end in a cell that is a space.
        shown = (text for _, text, kind in messages if kind not in hidden and isinstance(text, str))
        whole = "\n".join(text.strip("\n") for text in shown)
        return _bare(whole) if self._is_bare else whole

    def _anchor(self) -> str:
        state = self._game.state
        parts: dict[str, Any] = {**vars(self._game), "state": None}
        key = json.dumps([self._seed, _plain(parts), _plain(state.game_state), state.error_count])
        return hashlib.sha256(key.encode()).hexdigest()


def _bare(text: str) -> str:
    r"""Leave out the frames, gaps and hints of a board.

    >>> _bare("Current Board:\n\n+---+---+\n| P |   |\n+---+---+\nAvailable Actions: [up]")
    'P_'
    >>> _bare("You moved [up].\n# # #\n# P _")
    'You moved [up].\n###\n#P_'
    """
    kept: list[str] = []
    for line in text.splitlines():
        if not line.strip(" +-") or line.startswith(_HINTS):
            continue
        if line.startswith("|"):
            kept.append("".join(cell.strip() or "_" for cell in line.strip("|").split("|")))
        else:
            is_row = all(len(cell) == 1 for cell in line.split(" "))
            kept.append(line.replace(" ", "") if is_row else line)
    return "\n".join(kept)


_HINTS = ("Available ", "Current Board", "Game Board")


def _mend(state: Any) -> None:  # noqa: ANN401
    """Mend what TextArena 0.7.4 has wrong."""
    refuse = state.set_invalid_move

    def set_invalid_move(reason: str | float = "", reward: str | float = -1.0) -> None:
        # Countdown and Cryptarithm call it with the reward first.
        if isinstance(reward, str):
            reason, reward = reward, reason
        refuse(reason=reason, reward=reward)

    def set_winners(player_ids: Sequence[int], reason: str) -> None:
        # FifteenPuzzle calls this where it is solved, and the state has no such method.
        state.set_outcome(reward=float(0 in player_ids), reason=reason)

    state.set_invalid_move, state.set_winners = set_invalid_move, set_winners


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Write the state of a game as plain data; what counts its turns or plays it is left out."""
    if isinstance(value, dict):
        items = cast(dict[Any, Any], value).items()
        kept = [(key, part) for key, part in items if key not in _COUNTERS and not callable(part)]
        return sorted([str(key), _plain(part)] for key, part in kept)
    if isinstance(value, set | frozenset):
        return sorted(map(str, cast(set[Any], value)))
    if isinstance(value, list | tuple):
        return [_plain(part) for part in cast(Sequence[Any], value)]
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "__slots__"):
        return [_plain(getattr(value, name)) for name in value.__slots__]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


_COUNTERS = ("moves_made",)


def _family(game: str) -> _Family:
    """Find the game of a name such as ``Sokoban-v0-medium``.

    Raises:
        UserError: There is none, or it is one that cannot be played soundly.
    """
    name = game.partition("-v")[0]
    if name in _REFUSED:
        raise UserError(f"textarena:{game} cannot be played: {_REFUSED[name]}")
    registration = imported("textarena.envs.registration", extra="textarena")
    known = [
        known
        for known in registration.ENV_REGISTRY
        if known.partition("-v")[0] in _FAMILIES and not known.endswith(("-raw", "-train"))
    ]
    check_known("game of textarena", game, known)
    return _FAMILIES[name]


def spec(argument: str) -> EnvSpec:
    """Describe ``textarena:GAME``.

    Raises:
        UserError: There is no such game, or TextArena is not installed.
    """
    family = _family(argument)
    names = tuple(family.tasks)
    reward = {"env.reward": "success"} if argument.startswith("Bandit") else {}
    free_text = {} if family.actions else {"agent.action_mode": "generate"}
    described = EnvSpec(
        env="layerbench.envs.wrappers.textarena:TextArena",
        name=f"textarena:{argument}",
        arguments={"game": argument},
        package="textarena",
        max_turns=family.turns,
        rules=f"You play a game by its rules, which you are told: {family.plays}.",
        settings=reward | free_text,
        presets=for_small_models(_SMALL[argument]) if argument in _SMALL else {},
    )
    if family.is_one:
        return with_one_task(described)
    share = len(names) * 4 // 5
    splits = {"train": names[:share], "test": names[share:]}
    return dataclasses.replace(described, splits=splits) if names else described


def listing() -> Iterable[tuple[str, str]]:
    """List the games in their first size, and what they are."""
    return [(f"{name}-v0", family.plays) for name, family in _FAMILIES.items()]
