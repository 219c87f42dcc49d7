"""TextWorldExpress (Jansen and Côté 2023, arXiv:2208.01174): fast text games, on Java."""

from collections.abc import Iterable
from typing import Any

from layerbench.envs.choices import check_known
from layerbench.envs.spec import EnvSpec
from layerbench.envs.wrappers.game import Family, Moment, imported, lines
from layerbench.envs.wrappers.java import SLOTS, JavaGame, check_java

FAMILY = Family(
    "short text games", "coin", "textworld_express", extra="textworld-express", needs_java=True
)

_GAMES = {
    "arithmetic": "solve a problem and take the thing of that number",
    "coin": "find a coin in a house",
    "cookingworld": "cook a meal by its recipe",
    "mapreader": "fetch a coin by a map",
    "peckingorder": "follow the instructions of a book",
    "simonsays": "do what Simon says",
    "sorting": "sort things by quantity",
    "twc": "put things where they belong",
}
_MAX_STEPS = 1_000_000
_GAMES_A_FOLD = 1_000
# The folds and their first seeds, as the package has them: other folds have other things.
_FOLDS = {"train": 0, "dev": 10_000, "test": 20_000}
_TASKS = {
    f"{fold}-{number}": (fold, first + number)
    for fold, first in _FOLDS.items()
    for number in range(_GAMES_A_FOLD)
}


class TextWorldExpress(JavaGame):
    """A game of TextWorldExpress, in a thousand tasks a fold, such as ``train-7``.

    The reward is what an action brought of the game's score: a won game has paid 1. A lost one
    ends, and pays nothing more.

    Args:
        game: Name of the game, such as ``coin``.
        parameters: The game's own parameters, as ``numLocations=5,includeDoors=1``.

    Raises:
        UserError: There is no such game, or Java is not found.
    """

    def __init__(self, *, game: str, parameters: str = "") -> None:
        _check(game)
        super().__init__(game, tasks=_TASKS)
        self._game, self._parameters = game, parameters

    def start_machine(self) -> Any:  # noqa: ANN401
        package = imported("textworld_express", extra="textworld-express")
        return package.TextWorldExpressEnv(envStepLimit=_MAX_STEPS)

    def begin(self, seed: int, task: str) -> Moment:
        machine = self.machine()
        fold, number = _TASKS[task]
        text, info = machine.reset(
            seed=number, gameFold=fold, gameName=self._game, gameParams=self._parameters
        )
        self._paid = 0.0
        return self._moment(f"{info['taskDescription']}\n{text}", info, opening=True)

    def play(self, action: str) -> Moment:
        text, _, over, info = self.machine().step(" ".join(action.split()))
        return self._moment(str(text), info, over=bool(over))

    def _moment(
        self,
        text: str,
        info: Any,  # noqa: ANN401
        *,
        opening: bool = False,
        over: bool = False,
    ) -> Moment:
        score = max(float(info["score"]), 0.0)
        reward, self._paid = max(score - self._paid, 0.0), max(score, self._paid)
        return Moment(
            text=text.strip(),
            actions=lines(info["validActions"]),
            # Some games are not in a place: what they say is then what is to be done.
            anchor=self.anchor_of(
                info["look"] or text, info["inventory"], str(score), opening=opening
            ),
            reward=reward,
            won=bool(info["tasksuccess"]),
            over=over,
        )


def _check(game: str) -> None:
    check_known("game of textworld-express", game, _GAMES)
    check_java("textworld-express")
    imported("textworld_express", extra="textworld-express")


def spec(argument: str) -> EnvSpec:
    """Describe ``textworld-express:GAME``.

    Raises:
        UserError: There is no such game, or Java or the package is not found.
    """
    _check(argument)
    return EnvSpec(
        env="layerbench.envs.wrappers.textworld_express:TextWorldExpress",
        name=f"textworld-express:{argument}",
        arguments={"game": argument},
        package="textworld-express",
        max_turns=50,
        rules=(
            "You act in a world described in text, one command at a time, to do what you are told."
        ),
        splits={
            fold: tuple(task for task in _TASKS if task.startswith(f"{fold}-")) for fold in _FOLDS
        },
        settings=SLOTS,
    )


def listing() -> Iterable[tuple[str, str]]:
    """List the games, and what they are."""
    return list(_GAMES.items())
