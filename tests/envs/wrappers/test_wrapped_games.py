"""Games of other packages keep to the contract; each family is played by its real package."""

import dataclasses
import pkgutil
import random
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from importlib import import_module, util
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import pytest
from gymnasium.error import ResetNeeded

from layerbench.envs import contract
from layerbench.envs.spec import EnvSpec
from layerbench.envs.types import Observation, StepResult, Task, TaskStart
from layerbench.envs.wrappers import families
from layerbench.errors import UserError

JAVA = ("scienceworld", "textworld_express")

# Packages that this one needs by itself.
OWN = ("gymnasium", "textworld")

# One small game or more of each family, and an answer for those that list no actions.
GAMES = {
    "textarena": (
        *("2048-v0", "Bandit-v0", "Blackjack-v0", "Countdown-v0", "Cryptarithm-v0"),
        *("FifteenPuzzle-v0", "FrozenLake-v0", "GuessTheNumber-v0", "LightsOut-v0"),
        *("Mastermind-v0", "Minesweeper-v0-small", "PegJump-v0", "RushHour-v0", "Secretary-v0"),
        *("Sokoban-v0", "Sudoku-v0-very-easy", "TowerOfHanoi-v0"),
    ),
    "minigrid": (
        *("BabyAI-GoToLocal-v0", "BabyAI-PutNextLocal-v0", "BabyAI-KeyInBox-v0"),
        *("BabyAI-GoToSeqS5R2-v0", "MiniGrid-LavaCrossingS9N1-v0"),
    ),
    "reasoning_gym": ("countdown", "gsm_symbolic", "acre", "prime_factorization"),
    "textworld": ("treasure-hunter", "cooking"),
    "gymnasium": ("FrozenLake-v1", "Blackjack-v1", "CartPole-v1"),
    "scienceworld": ("find-plant",),
    "textworld_express": ("coin", "simonsays"),
}
# What is the same for every seed.
ONE_TASK = ("TowerOfHanoi-v0",)

every_game = pytest.mark.parametrize(
    ("family", "name"),
    [pytest.param(family, name, id=name) for family, names in GAMES.items() for name in names],
)


@pytest.fixture(scope="module", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def wrapper(family: str) -> Any:  # noqa: ANN401
    """Import the module of a family, or skip where its package or Java is missing."""
    if util.find_spec(family) is None:
        pytest.skip(f"{family} is not installed")
    if family in JAVA and shutil.which("java") is None:
        pytest.skip("Java is not found")
    return import_module(f"layerbench.envs.wrappers.{family}")


def make(spec: EnvSpec, **options: object) -> gym.Env[str, str]:
    assert isinstance(spec.env, str)
    made = pkgutil.resolve_name(spec.env)(**spec.arguments, **options)
    return cast("gym.Env[str, str]", made)


def tasks_of(spec: EnvSpec) -> tuple[Task, Task]:
    """Return two tasks of the split train, the same twice if there is but one."""
    split = spec.splits["train"]
    if isinstance(split, int):
        return Task("5", seed=5), Task("6", seed=6)
    names = [split[0], split[-1]]
    return cast("Any", tuple(Task(name, options={"task": name}) for name in names))


Played = list[TaskStart | StepResult]


def play(env: gym.Env[str, str], task: Task, *, num_turns: int = 6) -> Played:
    """Play listed actions by chance, and check each reply by the contract."""
    rng = random.Random(1)
    returned = env.reset(seed=task.seed, options=dict(task.options))
    played: Played = [contract.start_of(returned, task, env="it")]
    for turn in range(1, num_turns + 1):
        action = choose(played[-1].observation, rng)
        place = contract.Place("it", task.task_id, turn, action)
        result = contract.result_of(env.step(action), place)
        played.append(result)
        if result.terminated or result.truncated:
            break
    return played


def choose(observation: Observation, rng: random.Random) -> str:
    return rng.choice(observation.admissible_actions or ("[1 2 3 4]", "look around", "7"))


@every_game
@pytest.mark.timeout(120)
def test_equal_tasks_give_equal_episodes_whatever_was_played_before(family: str, name: str) -> None:
    spec = wrapper(family).spec(name)
    first, second = tasks_of(spec)
    env, other = make(spec), make(spec)
    try:
        episode = play(env, first)
        if name not in ONE_TASK:
            assert play(env, second) != episode
        # Beside one that is under way: packages share generators of random numbers.
        play(other, second, num_turns=2)
        assert play(env, first) == episode
        assert play(other, first) == episode
    finally:
        env.close()
        other.close()


@every_game
def test_an_episode_begins_undone_and_ends_for_good(family: str, name: str) -> None:
    spec = wrapper(family).spec(name)
    task, _ = tasks_of(spec)
    env = make(spec)
    try:
        with pytest.raises(ResetNeeded):
            env.step("look")
        with pytest.raises(ValueError, match="no reset option named 'gmae'"):
            env.reset(options={"gmae": 1})
        _, info = env.reset(seed=task.seed, options=dict(task.options))
        assert info["success"] is False
        lists = spec.settings.get("agent.action_mode") != "generate"
        assert lists == bool(info["admissible_actions"])
        over = False
        for _ in range(spec.max_turns):
            # The same again is refused by most games, and ends them.
            _, _, terminated, truncated, _ = env.step("there is no such action")
            over = terminated or truncated
            if over:
                break
        if over:
            with pytest.raises(RuntimeError, match="the episode has ended"):
                env.step("look")
    finally:
        env.close()


@pytest.mark.parametrize("family", GAMES)
def test_an_unknown_name_is_refused_with_the_nearest(family: str) -> None:
    name = GAMES[family][0]
    with pytest.raises(UserError, match=f"did you mean '{name}'"):
        wrapper(family).spec(f"{name[:-1]}~")


def test_every_family_is_an_entry_point_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["layerbench.environments"]
    for name in families.names():
        module = families.find(name)
        assert points.pop(name) == f"{module.__name__}:spec"
        extra = module.FAMILY.extra
        assert not extra or extra in project["optional-dependencies"]
    assert not [name for name, value in points.items() if "wrappers" in value]


def test_what_is_missing_is_said_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    family = families.find("textworld-express").FAMILY
    nowhere = dataclasses.replace(family, module="no_such_package")
    assert nowhere.missing() == "pip install 'layerbench[textworld-express]'"
    monkeypatch.setenv("PATH", "")
    here = dataclasses.replace(family, module="gymnasium")
    assert here.missing().startswith("for Java, install a runtime")
    assert not families.find("gym").FAMILY.missing()


@pytest.mark.parametrize("family", GAMES)
def test_what_is_listed_is_played(family: str) -> None:
    module = wrapper(family)
    listed = [name for name, about in module.listing() if about and not name.startswith("FILE")]
    for name in listed[:: max(1, len(listed) // 20)]:
        assert module.spec(name).name.endswith(f":{name}")


@pytest.mark.parametrize("family", [family for family in GAMES if family not in OWN])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = wrapper(family)
    extra = family.replace("_", "-")

    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named '{family}'", name=family)

    monkeypatch.setattr("layerbench.envs.wrappers.game.importlib.import_module", missing)
    with pytest.raises(UserError) as refused:
        make(module.spec(GAMES[family][0])).reset(seed=1)
    assert str(refused.value) == (
        f"{extra} environments need {family}: pip install 'layerbench[{extra}]'"
    )
    assert list(module.listing())


@pytest.mark.parametrize("family", JAVA)
def test_missing_java_is_named(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = wrapper(family)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="runs on Java, which is not found: install"):
        module.spec(GAMES[family][0])


FREE_TEXT = ("Countdown", "Cryptarithm", "Mastermind", "Sudoku")
LISTED = [name for name in GAMES["textarena"] if not name.startswith(FREE_TEXT)]


@pytest.mark.parametrize("name", LISTED)
def test_games_of_textarena_accept_the_actions_that_are_listed(name: str) -> None:
    spec = wrapper("textarena").spec(name)
    task, _ = tasks_of(spec)
    for result in play(make(spec), task, num_turns=12):
        # Its words for a mine are those for what is no move.
        if "hit a mine" not in result.observation.text:
            assert "invalid move" not in result.observation.text


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Wordle-v0", "it downloads a list of words"),
        ("TwentyQuestions-v0", "it asks a model behind a key"),
    ],
)
def test_games_of_textarena_that_cannot_be_played_are_refused_with_the_reason(
    name: str, reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        wrapper("textarena").spec(name)


WINS: Mapping[str, tuple[str, ...]] = {
    "TowerOfHanoi-v0": ("[A C]", "[A B]", "[C B]", "[A C]", "[B A]", "[B C]", "[A C]"),
    "Cryptarithm-v0": (*("[S 9]", "[E 5]", "[N 6]", "[D 7]", "[M 1]", "[O 0]", "[R 8]", "[Y 2]"),),
}


@pytest.mark.parametrize("name", WINS)
def test_a_won_game_of_textarena_is_a_success(name: str) -> None:
    spec = wrapper("textarena").spec(name)
    task, _ = tasks_of(spec)
    env = make(spec)
    env.reset(options=dict(task.options))
    *_, last = [env.step(action) for action in WINS[name]]
    assert last[1:4] == (1.0, True, False)
    assert last[4]["success"] is True


def test_the_fifteen_puzzle_is_won_in_the_end() -> None:
    env = cast(Any, make(wrapper("textarena").spec("FifteenPuzzle-v0")))
    env.reset(seed=1)
    numbers = [*range(1, 15), None, 15]
    env._game.board[:] = [numbers[row : row + 4] for row in range(0, 16, 4)]
    _, reward, terminated, _, info = env.step("[left]")
    assert (reward, terminated, info["success"]) == (1.0, True, True)


def test_own_reward_can_be_left_for_success() -> None:
    spec = wrapper("textarena").spec("FrozenLake-v0")
    # The hole of this lake is right of the cell below the start.
    paid: dict[str, float] = {}
    for reward in ("game", "success"):
        env = make(spec, reward=reward)
        env.reset(seed=5)
        env.step("[down]")
        paid[reward] = float(env.step("[right]")[1])
    assert paid == {"game": pytest.approx(1 / 3), "success": 0.0}


def test_the_rules_and_frames_of_textarena_can_be_left_out() -> None:
    spec = wrapper("textarena").spec("FrozenLake-v0")
    env = make(spec, bare=True)
    assert env.reset(seed=5)[0] == "P___\n_H__\n__H_\nH__G"
    assert env.step("[down]")[0] == "You moved down to position (1, 0).\n____\nPH__\n__H_\nH__G"


def test_games_of_textarena_take_their_own_arguments() -> None:
    spec = wrapper("textarena").spec("Sokoban-v0")
    text, _ = make(spec, bare=True, config="num_boxes=1, dim_room=[5, 5]").reset(seed=5)
    assert [len(line) for line in text.splitlines()] == [5] * 5
    assert text.count("X") == 1
    with pytest.raises(UserError, match=r"env\.config of textarena:Sokoban-v0: .*'boxes'"):
        make(spec, config="boxes=1")


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("gymnasium", "FrozenLake-v1"),
        ("minigrid", "BabyAI-GoToObjS4-v0"),
        ("textarena", "Sokoban-v0"),
    ],
)
def test_presets_for_small_models_make_chance_succeed_now_and_then(family: str, name: str) -> None:
    spec = wrapper(family).spec(name)
    settings = {key.removeprefix("env."): value for key, value in spec.presets["default"].items()}
    num_turns = settings.pop("max_turns")
    env = make(spec, **settings)
    rng, won = random.Random(0), 0
    for seed in range(300):
        _, info = env.reset(seed=seed)
        for _ in range(num_turns):
            _, _, terminated, truncated, info = env.step(rng.choice(info["admissible_actions"]))
            if terminated or truncated:
                break
        won += info["success"]
    # Groups of equal returns teach nothing.
    assert 0 < won < 240


def test_the_bot_of_babyai_demonstrates() -> None:
    module = wrapper("minigrid")
    env = module.MiniGrid(level="BabyAI-GoToLocal-v0")
    sure, unsure = module.demonstrate(env, 3, noise_levels=(0.0, 0.5), max_turns=64)
    assert sure.won
    assert all(turn.expert for turn in sure.turns)
    assert not all(turn.expert for turn in unsure.turns)
    # What it shows is what the environment answers to the same actions.
    assert env.reset(seed=3)[0] == sure.start
    answers = [env.step(turn.action) for turn in sure.turns]
    assert [answer[0] for answer in answers] == [turn.answer for turn in sure.turns]
    assert answers[-1][4]["success"] is True


def test_a_bot_that_plans_in_circles_gives_up() -> None:
    module = wrapper("minigrid")
    env = module.MiniGrid(level="BabyAI-UnlockToUnlock-v0")
    (played,) = module.demonstrate(env, 4, noise_levels=(0.0,), max_turns=64)
    assert not played.won


def test_a_grid_is_told_in_words() -> None:
    module = wrapper("minigrid")
    env = module.MiniGrid(level="BabyAI-GoToLocal-v0")
    assert env.reset(seed=3)[0] == (
        "Your mission: go to the red key\n"
        "You see a green box 2 ahead, a red box 1 ahead and 1 right, a grey ball 3 ahead, "
        "a red box 2 ahead and 3 right, a red key 3 ahead and 2 right, "
        "a red ball 4 ahead and 3 right, a wall 6 ahead, a wall 1 left."
    )
    for action in ("turn right", "go forward", "turn left"):
        env.step(action)
    assert env.step("pick up")[0].endswith("\nYou carry a red box.")
    assert env.step("fly")[0].startswith("Nothing happens.\nYou see ")


def test_own_answers_of_reasoning_gym_score_and_broken_ones_do_not() -> None:
    module = wrapper("reasoning_gym")
    env = module.ReasoningGym(dataset="prime_factorization")
    env.reset(seed=5)
    right = env._item["answer"]
    _, reward, terminated, _, info = env.step(right)
    assert (reward, terminated, info["success"]) == (1.0, True, True)
    # The scorer itself fails for this.
    env.reset(seed=5)
    _, reward, terminated, _, info = env.step("x" * 5)
    assert (reward, terminated, info["success"]) == (0.0, True, False)


def test_generators_of_reasoning_gym_take_their_own_settings() -> None:
    module = wrapper("reasoning_gym")
    text, _ = module.ReasoningGym(
        dataset="prime_factorization", config="min_value=10,max_value=12"
    ).reset(seed=5)
    assert any(f"of {number}." in text for number in (10, 11, 12))
    with pytest.raises(UserError, match="did you mean 'min_value'"):
        module.ReasoningGym(dataset="prime_factorization", config="min_valu=10")
    with pytest.raises(UserError, match=r"env\.config of prime_factorization"):
        module.ReasoningGym(dataset="prime_factorization", config="min_value=-10")


def test_a_game_file_of_textworld_is_played(tmp_path: Path) -> None:
    module = wrapper("textworld")
    made = module.TreasureHunter(level=2).file(7)
    for suffix in (".z8", ".json"):
        (tmp_path / f"hunt{suffix}").write_bytes(made.with_suffix(suffix).read_bytes())
    compiled, source = (module.spec(str(tmp_path / f"hunt{end}")) for end in (".z8", ".json"))
    task, _ = tasks_of(compiled)
    assert compiled.splits == {"train": 1, "test": 1}
    episode = play(make(compiled), task)
    assert episode[0].observation.admissible_actions
    assert play(make(source), task) == episode


def test_a_made_game_of_textworld_is_won_by_what_it_asks_for() -> None:
    module = wrapper("textworld")
    env = module.CoinCollector(level=1)
    _, info = env.reset(seed=5)
    assert "take coin" in info["admissible_actions"]
    _, reward, terminated, _, info = env.step("take coin")
    assert (reward, terminated, info["success"]) == (1.0, True, True)


@pytest.mark.parametrize(
    ("env_id", "reason"),
    [
        ("Pendulum-v1", "only up to 100 discrete ones or text are played"),
        ("LunarLander-v3", "cannot be made: Box2D is not installed"),
    ],
)
def test_spaces_without_words_are_refused_with_the_reason(env_id: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        wrapper("gymnasium").spec(env_id)


def test_a_gymnasium_environment_takes_names_words_and_arguments() -> None:
    module = wrapper("gymnasium")
    env = module.GymText(
        env_id="FrozenLake-v1",
        config="is_slippery=false",
        actions="west, south, east, north",
        describe="builtins:hex",
    )
    text, info = env.reset(seed=1)
    assert (text, info["admissible_actions"]) == ("0x0", ("west", "south", "east", "north"))
    way = ("south", "south", "east", "east", "south", "east")
    *_, last = [env.step(action) for action in way]
    assert last[0] == "0xf"
    assert last[1:4] == (1.0, True, False)
    assert last[4]["success"] is True


def test_success_is_not_counted_before_the_end_of_an_episode_that_costs() -> None:
    env = wrapper("gymnasium").GymText(env_id="MountainCar-v0")
    env.reset(seed=1)
    assert env.step("do nothing")[4]["success"] is False
