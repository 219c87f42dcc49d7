import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM

from layerbench.agents.agent import EpisodeState, answered
from layerbench.agents.types import AnswerForm, Response
from layerbench.benchmarks.runs import prepare, resolve
from layerbench.envs.types import Observation
from tests.support import saved_model


def state_of(observation: Observation) -> EpisodeState:
    return EpisodeState(episode=0, seed=0, start=observation, turns=(), observation=observation)


def test_paper_preset_counts_answers_as_verl_agent_does() -> None:
    config = resolve.load("alfworld", preset="paper")
    settings = prepare.agent_settings(config.agent, max_context_tokens=2000)
    state = state_of(Observation("", admissible_actions=("go to bed 1",)))
    for text, action in (
        ("<think>Tired.</think><action>Go To Bed 1</action>", "go to bed 1"),
        # Not possible here, which is no break of the form.
        ("<think>Tired.</think><action>go to bed 2</action>", "go to bed 2"),
    ):
        parsed = answered(state, Response((), (), (), (), text), settings, opened=False)
        assert (parsed.action, parsed.valid) == (action, True)
    strict = dataclasses.replace(settings, answer_form=AnswerForm.STRICT)
    for text in (
        "<think>Tired.</think><action>Go To Bed 1</action>",
        "<think>Tired.</think><action>go to bed 2</action>",
    ):
        assert not answered(state, Response((), (), (), (), text), strict, opened=False).valid


@pytest.mark.parametrize(
    ("config", "generation"), [([2, 0], 2), (2, [2, 0]), (0, None), ([2], [0, 2])]
)
def test_every_end_token_that_a_model_declares_ends_its_answers(
    tmp_path: Path, config: object, generation: object
) -> None:
    folder = saved_model.save(tmp_path / "model")
    model: Any = cast(Any, AutoModelForCausalLM).from_pretrained(folder)
    # All tokens are equally likely, so that at temperature 0 the first always is the answer.
    torch.nn.init.zeros_(model.model.embed_tokens.weight)
    model.save_pretrained(folder)
    for name, value in (("config", config), ("generation_config", generation)):
        path = folder / f"{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": value}))
    typed = [f"model.name={folder}", "agent.action_mode=generate", "layers=none"]
    prepared = prepare.prepare(resolve.load("keydoor", typed, preset="quick"))
    state = state_of(Observation("look"))
    (parsed,) = prepared.agent.respond([state], temperature=0.0)
    assert parsed is not None
    assert (parsed.response.token_ids, parsed.response.text) == ((0,), "")


def test_one_end_token_stays_the_only_one(tmp_path: Path) -> None:
    folder = saved_model.save(tmp_path / "model")
    typed = [f"model.name={folder}", "layers=none"]
    prepared = prepare.prepare(resolve.load("keydoor", typed, preset="quick"))
    assert prepared.agent.settings.end_ids == (2,)
