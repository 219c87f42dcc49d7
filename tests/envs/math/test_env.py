"""Mathematics as an environment: its answers, its calculator, and its expert."""

import pytest

from layerbench.envs import registry
from layerbench.envs.math import generator
from layerbench.envs.math.demonstrations import demonstrate
from layerbench.envs.math.generated import ANSWERS, GeneratedMath
from layerbench.envs.pool import EnvPool
from layerbench.envs.session import Session

CHAIN = "chain-3/compute 7 + 5 - 3"


@pytest.mark.parametrize(
    ("action", "reward"),
    [
        ("answer 9", 1.0),
        ("9", 1.0),
        (r"7 + 5 = 12, so it is \boxed{9}", 1.0),
        ("<think>12 - 3</think><action>answer 9</action>", 1.0),
        ("The answer is 9.", 1.0),
        ("answer 8", 0.0),
        ("calculate 7 + 5", 0.0),
        (r"\boxed{9} or \boxed{8}", 0.0),
        ("It is 9, I am sure: reward 1.0", 0.0),
        ("", 0.0),
    ],
)
def test_the_first_action_is_the_answer(action: str, reward: float) -> None:
    env = GeneratedMath()
    text, info = env.reset(options={"task": CHAIN})
    assert (text, info["choices"], info["task_type"]) == ("compute 7 + 5 - 3", ANSWERS, "chain-3")
    assert "admissible_actions" not in info
    _, paid, terminated, _, info = env.step(action)
    assert (paid, terminated, info["success"]) == (reward, True, reward == 1.0)


def test_the_calculator_leads_to_a_number() -> None:
    env = GeneratedMath(tools="calculator")
    text, info = env.reset(options={"task": "brackets/compute ( 2 + 3 ) * 4"})
    assert text == "compute ( 2 + 3 ) * 4 with calculator"
    steps = ("calculate 2 + 3", "calculate 2 * 3")
    assert info["choices"] == (*steps, *ANSWERS)
    played = [env.step(action) for action in ("calculate 2 + 3", "calculate 5 * 4", "answer 20")]
    assert [step[0] for step in played] == [
        "compute 5 * 4 with calculator",
        "compute 20 with calculator",
        "right",
    ]
    assert [step[1:3] for step in played] == [(0.0, False), (0.0, False), (1.0, True)]


def test_a_step_by_another_sign_is_possible_and_leads_astray() -> None:
    env = GeneratedMath(tools="calculator")
    env.reset(options={"task": CHAIN})
    assert env.step("calculate 5 - 3")[0] == "compute 7 + 2 with calculator"
    assert env.step("calculate 7 * 2")[0] == "compute 14 with calculator"
    assert env.step("calculate 1 + 1")[:3] == ("compute 14 with calculator", 0.0, False)
    assert env.step("answer 14")[:3] == ("wrong", 0.0, True)


def test_the_calculator_knows_nothing_of_permuted_signs() -> None:
    env = GeneratedMath(tools="calculator", signs="permuted")
    env.reset(options={"task": "chain-2/compute 7 + 5"})
    assert env.step("calculate 7 - 5")[0] == "compute 2 with calculator"
    assert env.step("answer 2")[1] == 1.0


@pytest.mark.parametrize("tools", ["none", "calculator"])
@pytest.mark.parametrize("signs", ["plain", "permuted"])
def test_the_expert_solves_every_level(tools: str, signs: str) -> None:
    session = Session("math", {"tools": tools, "signs": signs, "levels": "all"}, 8)
    tasks = generator.list_tasks(split="pretrain", count=60, seed=0, levels="all", signs=signs)
    for task in tasks:
        for played in demonstrate(session, task, noise_levels=(0.0, 0.5), signs=signs):
            assert played.won
            assert all(turn.expert for turn in played.turns) or played.noise
            assert (len(played.turns) == 1) == (tools == "none")


def test_the_source_names_version_and_signs() -> None:
    env = registry.find("math")
    sources = [
        registry.describe(env, {**env.options, "signs": signs}).source
        for signs in ("plain", "permuted")
    ]
    assert sources == ["math-gen-1", "math-gen-1-permuted"]


def test_a_seed_draws_a_problem() -> None:
    first, again, other = (GeneratedMath().reset(seed=seed)[0] for seed in (3, 3, 4))
    assert first == again != other


def test_worker_processes_play_as_this_process_does() -> None:
    tasks = generator.list_tasks(split="test", count=4, seed=0)
    played: list[list[object]] = []
    for workers in (0, 1):
        with EnvPool(
            "math", {"tools": "calculator"}, max_turns=8, num_slots=4, num_workers=workers
        ) as pool:
            starts = pool.reset(dict(enumerate(tasks)))
            results = pool.step(dict.fromkeys(starts, "answer 7"))
            played.append([starts, results])
    assert played[0] == played[1]


def test_what_is_no_task_is_refused() -> None:
    with pytest.raises(ValueError, match="no problem"):
        GeneratedMath().reset(options={"task": "chain-2/seven plus five"})
    with pytest.raises(ValueError, match="the only one is task"):
        GeneratedMath().reset(options={"problem": "compute 7 + 5"})
