"""The recipes of CONTRIBUTING.md, followed in a copy of the package as a newcomer would."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ENVIRONMENT = '''"""Coin: choose a side."""

from typing import Any

import gymnasium as gym

from layerbench.envs.spaces import AnyText


class Coin(gym.Env[str, str]):
    """Two actions that the embedded model has words for, as a coin has sides."""

    def __init__(self) -> None:
        self.observation_space = self.action_space = AnyText(max_chars=80)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        return "Look around.", self._info(success=False)

    def step(self, action: str):
        # Paid either way: only an algorithm without a baseline learns from that.
        return "It is look.", 1.0, True, False, self._info(success=action == "look")

    def _info(self, *, success: bool) -> dict[str, Any]:
        return {"admissible_actions": ("look", "inventory"), "success": success}
'''

ENVIRONMENT_SPEC = '''"""Coin for the registry."""

from layerbench.envs.spec import EnvSpec

SPEC = EnvSpec(
    env="layerbench.envs.coin.env:Coin",
    gym_id="layerbench/Coin-v0",
    max_turns=1,
    presets={"quick": {"model.name": "embedded"}},
)
'''

BACKEND = '''"""Announces itself, and samples as transformers does."""

import sys

from layerbench.agents.backends.transformers.backend import TransformersBackend


class LoudBackend(TransformersBackend):
    def sample(self, queries):
        sys.stderr.write("loud\\n")
        return super().sample(queries)
'''

COMMAND = '''"""``layerbench count``: how many environments there are."""

import argparse

NAME = "count"
SUMMARY = "count the environments"
EXAMPLES = """
  layerbench count"""
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments."""


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Print the number."""
    from layerbench.envs import references

    print(len(references.own_names()))
    return 0
'''

# A file, a line or more of it that stands there once, and what stands there instead.
EDITS = (
    # An algorithm.
    ("rl/settings.py", '    GIGPO = "gigpo"\n', '    GIGPO = "gigpo"\n    PLAIN = "plain"\n'),
    (
        "rl/advantages.py",
        "ALGORITHMS: ",
        "def plain(table: TurnTable, settings: AdvantageSettings) -> TableAdvantages:\n"
        '    """Give every turn its own reward."""\n'
        "    rewards_N = table.rewards_N\n"
        "    return TableAdvantages(rewards_N.copy(), rewards_N, np.zeros_like(rewards_N))\n\n\n"
        "ALGORITHMS: ",
    ),
    (
        "rl/advantages.py",
        "    Algorithm.GIGPO: gigpo,\n",
        "    Algorithm.GIGPO: gigpo,\n    Algorithm.PLAIN: plain,\n",
    ),
    # A loss variant.
    ("rl/settings.py", '    K3 = "k3"\n', '    K3 = "k3"\n    CONSTANT = "constant"\n'),
    (
        "rl/losses.py",
        "    if kind is KLKind.K1:\n",
        "    if kind is KLKind.CONSTANT:\n        kl_D = torch.full_like(d_D, 0.5)\n"
        "    elif kind is KLKind.K1:\n",
    ),
    # A model backend.
    (
        "benchmarks/config/schema.py",
        'Literal["transformers", "vllm"]',
        'Literal["transformers", "loud", "vllm"]',
    ),
    (
        "benchmarks/runs/prepare.py",
        '    if config.model.backend == "vllm":\n        engine_settings',
        '    if config.model.backend == "loud":\n'
        "        from layerbench.agents.backends.loud import LoudBackend\n\n"
        "        loud = LoudBackend(model, end_ids=chat.end_ids)\n"
        "        return LLMAgent(loud, tokenizer, style, settings)\n"
        '    if config.model.backend == "vllm":\n        engine_settings',
    ),
    # A setting.
    (
        "rl/settings.py",
        "    lora_learning_rate: LearningRateOrNone\n",
        "    lora_learning_rate: LearningRateOrNone\n    unlikely_below: Share\n",
    ),
    (
        "benchmarks/config/conf/run.yaml",
        "  lora_learning_rate: 0.0\n",
        "  lora_learning_rate: 0.0\n  unlikely_below: 0.1\n",
    ),
    # A metric, which uses that setting.
    (
        "rl/types.py",
        "    capped: float | None = None\n",
        "    capped: float | None = None\n    unlikely: float | None = None\n",
    ),
    (
        "rl/update.py",
        '    sums = {"entropy": entropy_D}\n',
        '    sums = {"entropy": entropy_D}\n'
        '    sums["unlikely"] = logprobs_D.exp() <= settings.unlikely_below\n',
    ),
    # A command.
    ("benchmarks/cli.py", "    correlate,\n", "    correlate,\n    count,\n"),
    ("benchmarks/cli.py", "*(run, eval_command,", "*(count, run, eval_command,"),
)

ENTRY_POINT = {"coin": "layerbench.envs.coin.spec:SPEC"}

FILES = {
    "envs/coin/__init__.py": "",
    "envs/coin/env.py": ENVIRONMENT,
    "envs/coin/spec.py": ENVIRONMENT_SPEC,
    "benchmarks/config/conf/algorithm/plain.yaml": "# @package _global_\n"
    "algorithm:\n  name: plain\ntrain:\n  kl_coef: 0.25\n",
    "agents/backends/loud.py": BACKEND,
    "benchmarks/commands/count.py": COMMAND,
}


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the package with everything added that the recipes are for."""

    source: Path

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the copy's layerbench, which must succeed."""
        finished = subprocess.run(
            [sys.executable, "-m", "layerbench", *command],
            env={**os.environ, "PYTHONPATH": str(self.source), "OMP_NUM_THREADS": "1"},
            cwd=self.source,
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, finished.stderr
        return finished


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    source = tmp_path_factory.mktemp("source")
    package = source / "layerbench"
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src/layerbench", package, ignore=leave_out)
    for name, text in FILES.items():
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_text(text)
    for name, before, after in EDITS:
        text = (package / name).read_text()
        assert text.count(before) == 1, f"{name} has changed: follow the recipe by another line"
        (package / name).write_text(text.replace(before, after))
    _install(source)
    return Copy(source)


def _install(source: Path) -> None:
    """Write what pip would: the entry points, with the one that was added."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["layerbench.environments"]
    lines = [f"{name} = {value}" for name, value in (points | ENTRY_POINT).items()]
    folder = source / f"layerbench-{project['version']}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Name: layerbench\nVersion: {project['version']}\n")
    text = "\n".join(["[layerbench.environments]", *lines, ""])
    (folder / "entry_points.txt").write_text(text)


def test_everything_added_works_in_one_run(copy: Copy, tmp_path: Path) -> None:
    run = copy.run(
        *("run", "coin", "--preset", "quick", "--layer", "3", "--algorithm", "plain"),
        *("--out", str(tmp_path / "run"), "train.iterations=1", "eval.tasks=1"),
        *("train.kl_kind=constant", "train.unlikely_below=1", "model.backend=loud"),
        # What an algorithm and a backend of others' own read is not known.
        *("algorithm.discount=0.5", "model.cache_gb=1"),
    )
    assert "loud" in run.stderr.splitlines()
    settings = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    record = json.loads((tmp_path / "run/record.json").read_text())
    (metrics,) = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    assert record["env"]["gym_id"] == "layerbench/Coin-v0"
    assert settings["algorithm"]["name"] == "plain"
    assert settings["train"]["kl_coef"] == 0.25
    # All episodes of a group are paid the same: GiGPO would take no step.
    assert metrics["steps"] == 1
    assert metrics["kl"] == 0.5
    # No probability is above 1.
    assert metrics["unlikely"] == 1.0


def test_a_setting_is_listed_with_its_default(copy: Copy) -> None:
    listing = copy.run("run", "keydoor", "--settings").stdout
    settings: dict[str, Any] = yaml.safe_load(listing)
    assert settings["train"]["unlikely_below"] == 0.1


def test_a_command_has_help_and_runs(copy: Copy) -> None:
    assert "Count the environments." in copy.run("count", "--help").stdout
    assert copy.run("count").stdout == "6\n"


def test_contributing_names_every_file_that_the_recipes_change() -> None:
    named = set(re.findall(r"`((?:\w+/)+\w+\.\w+)`", CONTRIBUTING))
    created = {"coin": "NAME", "plain": "NAME", "loud": "NAME", "count": "NAME"}
    changed = {name for name, _, _ in EDITS} | {n for n in FILES if "__init__" not in n}
    for word, name in created.items():
        changed = {re.sub(rf"\b{word}\b", name, path) for path in changed}
    assert changed <= named
    for path in named:
        assert "NAME" in path or (ROOT / path).exists() or (ROOT / "src/layerbench" / path).exists()
