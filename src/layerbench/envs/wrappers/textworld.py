"""TextWorld's games (Côté et al. 2018, arXiv:1806.11532): a file, or made from a seed."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from layerbench.envs import data_files
from layerbench.envs.cache import cache_dir, make_once
from layerbench.envs.choices import nearest
from layerbench.envs.spec import EnvSpec
from layerbench.envs.wrappers.game import (
    Family,
    Game,
    Moment,
    OwnRandom,
    as_name,
    lines,
    silence,
    with_one_task,
)
from layerbench.errors import UserError

FAMILY = Family(
    "text adventures of TextWorld, made from seeds or in a file", "coin-collector", "textworld"
)

# The status line, which the interpreter prints after games whose file is not named tw-.
_STATUS = re.compile(r"\n> {40,}.*\Z")
_SUFFIXES = (".z1", ".z2", ".z3", ".z4", ".z5", ".z6", ".z7", ".z8", ".json")


class TextWorldGame(Game):
    """A game of TextWorld, whose commands are listed.

    The reward is the share of the game's score that an action brought, so that a won game has
    paid 1. What the game knows of its state is the anchor.
    """

    _env: Any = None

    def begin(self, seed: int, task: str) -> Moment:
        """Begin a game, in the place of the one before."""
        textworld: Any = import_module("textworld")
        self.close()
        infos = textworld.EnvInfos(
            admissible_commands=True,
            description=True,
            facts=True,
            lost=True,
            max_score=True,
            objective=True,
            won=True,
        )
        with silence():
            self._env = textworld.start(str(self.file(seed)), infos)
            self._env.seed(seed)
            state = self._env.reset()
        self._score = 0.0
        # What the game prints at first begins with a large banner.
        opening = [state.get("objective"), state.get("description")]
        text = "\n\n".join(filter(None, opening)) or str(state.feedback)
        return self._moment(state, text)

    def play(self, action: str) -> Moment:
        # The game reads one line; more would be more than one command.
        with silence():
            state, score, over = self._env.step(" ".join(action.split()))
        best = float(state.get("max_score") or 1.0)
        reward, self._score = (float(score) - self._score) / best, float(score)
        return self._moment(state, str(state.feedback), reward=reward, over=bool(over))

    def file(self, seed: int) -> Path:
        """Return the file of the game that a seed stands for."""
        raise NotImplementedError

    def close(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            env.close()

    def _moment(self, state: Any, text: str, *, reward: float = 0.0, over: bool = False) -> Moment:  # noqa: ANN401
        facts = state.get("facts")
        shown = _STATUS.sub("", text)
        known = sorted(map(str, facts)) if facts else [shown]
        return Moment(
            text="\n".join(filter(None, map(str.rstrip, shown.splitlines()))),
            actions=lines(state.get("admissible_commands") or ()),
            anchor=hashlib.sha256("\n".join(known).encode()).hexdigest(),
            reward=reward,
            won=bool(state.get("won")),
            over=over,
        )


class GameFile(TextWorldGame):
    """The game of one file: TextWorld's (``.z8`` or ``.json``), or any of the Z-machine.

    Args:
        path: The file. The file of the same name that ends in ``.json`` belongs to it: without,
            commands are not listed, and only games that jericho knows tell whether they are won.

    Raises:
        UserError: There is no such file.
    """

    def __init__(self, *, path: str) -> None:
        self._path = Path(path)
        data_files.check(self._path)
        super().__init__(self._path.stem)

    def file(self, seed: int) -> Path:
        if self._path.suffix != ".json":
            return self._path
        content = self._path.read_bytes()
        return _compiled(
            f"file-{hashlib.sha256(content).hexdigest()[:16]}",
            # The options of making say nothing of a game that is already made.
            lambda _options: import_module("textworld").Game.load(str(self._path)),
        )


class MadeGame(TextWorldGame):
    """A game that one of TextWorld's makers makes from the seed, kept in the cache folder."""

    maker = ""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401
        self._settings = settings
        super().__init__(self.maker)

    def file(self, seed: int) -> Path:
        options = "-".join(f"{name}={value}" for name, value in sorted(self._settings.items()))

        def make(game_options: Any) -> Any:  # noqa: ANN401
            game_options.seeds = seed
            with OwnRandom(seed):
                return self.make(self._settings, game_options)

        return _compiled(f"{self.maker}-{options}-{seed}", make)

    def make(self, settings: Mapping[str, Any], game_options: Any) -> Any:  # noqa: ANN401
        """Make the game."""
        challenges = import_module("textworld.challenges").CHALLENGES
        _, make, _ = challenges[f"tw-{self.maker.replace('-', '_')}"]
        return make(dict(settings), game_options)


class CoinCollector(MadeGame):
    """Find the coin: a chain of rooms, with other rooms beside it at higher levels.

    Args:
        level: 1 to 300; the last two digits are about the length of the way.
    """

    maker = "coin-collector"

    def __init__(self, *, level: int = 5) -> None:
        _check_range("level", level, 1, 300)
        super().__init__(level=level)


class TreasureHunter(MadeGame):
    """Find a thing in rooms with doors, containers and keys.

    Args:
        level: 1 to 30; keys and containers come in at 11 and 21.
    """

    maker = "treasure-hunter"

    def __init__(self, *, level: int = 5) -> None:
        _check_range("level", level, 1, 30)
        super().__init__(level=level)


class Cooking(MadeGame):
    """Gather the ingredients of a recipe, prepare and eat the meal.

    Args:
        recipe: Number of ingredients, 1 to 5.
        take: Number of ingredients to find, up to ``recipe``.
        go: Number of rooms: 1, 6, 9 or 12.
        open_doors: Doors and containers have to be opened.
        cook: Ingredients have to be cooked.
        cut: Ingredients have to be cut.
        drop: Hands hold few things.
    """

    maker = "cooking"

    def __init__(  # noqa: PLR0913 - the options of the maker
        self,
        *,
        recipe: int = 1,
        take: int = 1,
        go: int = 1,
        open_doors: bool = False,
        cook: bool = False,
        cut: bool = False,
        drop: bool = False,
    ) -> None:
        _check_range("recipe", recipe, 1, 5)
        _check_range("take", take, 0, recipe)
        if go not in (1, 6, 9, 12):
            raise UserError(f"env.go is {go}: cooking has 1, 6, 9 or 12 rooms")
        flags = {"open": open_doors, "cook": cook, "cut": cut, "drop": drop}
        super().__init__(recipe=recipe, take=take, go=go, **flags)

    def make(self, settings: Mapping[str, Any], game_options: Any) -> Any:  # noqa: ANN401
        return super().make({**settings, "recipe_seed": 0, "split": None}, game_options)


class Custom(MadeGame):
    """A quest in rooms with things, as ``tw-make custom`` makes it.

    Args:
        rooms: Number of rooms.
        objects: Number of things.
        quest_length: Actions that the quest takes at least.
    """

    maker = "custom"

    def __init__(self, *, rooms: int = 3, objects: int = 5, quest_length: int = 3) -> None:
        for name, value in {"rooms": rooms, "objects": objects}.items():
            _check_range(name, value, 1, 100)
        _check_range("quest_length", quest_length, 1, 30)
        super().__init__(rooms=rooms, objects=objects, quest_length=quest_length)

    def make(self, settings: Mapping[str, Any], game_options: Any) -> Any:  # noqa: ANN401
        game_options.nb_rooms = settings["rooms"]
        game_options.nb_objects = settings["objects"]
        game_options.quest_length = settings["quest_length"]
        return import_module("textworld.generator").make_game(game_options)


_MAKERS: Mapping[str, type[MadeGame]] = {
    kind.maker: kind for kind in (CoinCollector, TreasureHunter, Cooking, Custom)
}


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UserError(f"env.{name} is {value}: it is from {least} to {most}")


def _compiled(name: str, make: Callable[[Any], Any]) -> Path:
    """Make and compile a game, unless the cache has it."""
    textworld: Any = import_module("textworld")
    folder = cache_dir() / "textworld" / textworld.__version__ / name

    def build(empty: Path) -> None:
        options = textworld.GameOptions()
        options.path = str(empty / "tw-game.z8")
        with silence():
            textworld.generator.compile_game(make(options), options)

    make_once(folder, build)
    return folder / "tw-game.z8"


def spec(argument: str) -> EnvSpec:
    """Describe ``textworld:FILE`` or ``textworld:MAKER``.

    Raises:
        UserError: There is no such file or maker.
    """
    rules = "You act in a world described in text, one command at a time, to reach a goal."
    if argument in _MAKERS:
        kind = _MAKERS[argument].__name__
        return EnvSpec(
            env=f"layerbench.envs.wrappers.textworld:{kind}",
            name=f"textworld:{argument}",
            max_turns=30,
            rules=rules,
            package="textworld",
        )
    if not argument.endswith(_SUFFIXES):
        raise UserError(
            f"no maker of textworld named '{argument}', nor a game file: "
            f"{nearest(argument, list(_MAKERS))}"
        )
    path = Path(argument).absolute()
    data_files.check(path)
    is_listed = path.suffix == ".json" or path.with_suffix(".json").exists()
    described = EnvSpec(
        env="layerbench.envs.wrappers.textworld:GameFile",
        name=as_name(f"textworld:{path.stem}"),
        arguments={"path": str(path)},
        max_turns=50,
        rules=rules,
        settings={} if is_listed else {"agent.action_mode": "generate"},
        package="textworld",
    )
    return with_one_task(described)


def listing() -> Iterable[tuple[str, str]]:
    """List the makers, and what a file may be."""
    made = [(name, (kind.__doc__ or "").splitlines()[0]) for name, kind in _MAKERS.items()]
    return [*made, ("FILE.z8", "a game of your own: a file of tw-make, or of the Z-machine")]
