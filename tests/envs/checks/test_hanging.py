"""An environment that hangs is named before a run, without waiting as long as a run would."""

from pathlib import Path

import pytest

from layerbench.envs import registry
from layerbench.envs.checks import brief
from layerbench.envs.contract import ContractError

ENVIRONMENT = """
import time
import gymnasium as gym
from layerbench import EnvSpec

class Slow(gym.Env[str, str]):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return "Wait.", {"admissible_actions": ["go"], "success": False}

    def step(self, action):
        time.sleep(3600)

SPEC = EnvSpec(env=Slow)
"""


@pytest.mark.slow
def test_it_is_refused_after_a_short_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brief, "PATIENCE_S", 1.0)
    file = tmp_path / "slow.py"
    file.write_text(ENVIRONMENT)
    env = registry.find(str(file))
    tasks = {
        split: registry.list_tasks(env, split=split, count=2, seed=0, options={})
        for split in ("train", "test")
    }
    with pytest.raises(ContractError) as refused:
        brief.check_play(env, {}, tasks, max_turns=3, timeout_s=registry.TIMEOUT_S)
    said = str(refused.value)
    assert said.startswith("slow: each of the 3 tasks tried failed: turn 1 ('go')")
    assert "did not answer within 1 s" in said
    assert said.endswith("; one that needs longer gets it by env.timeout_s above 300")
