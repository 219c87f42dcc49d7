"""A whole training run in seconds: a real transformer learns to answer by the task's number.

Run as a module from the root of the repository, with a folder, a dtype, a selection and a rank of
adapters, it trains to the end, from wherever an earlier, killed run has come; torchrun may start it
as several processes.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from layerbench.agents.rollout import EpisodeRequest
from layerbench.agents.types import ContextMode, Response, StopReason, Trajectory, Turn
from layerbench.envs.types import Observation, Task
from layerbench.rl.distributed import SINGLE_PROCESS, ProcessGroup, connected
from layerbench.rl.selection import parse_selection
from layerbench.rl.settings import TrainSettings
from layerbench.rl.trainer import Trainer
from tests.support.train_settings import advantage_settings, train_settings

ANSWERS = (20, 21, 22, 23)
END = 2
TASKS = tuple(Task(f"task-{number}", {"number": number}) for number in range(6))
SETTINGS = train_settings(
    iterations=4,
    tasks_per_iteration=4,
    group_size=4,
    learning_rate=1e-2,
    layer_learning_rate=1e-2,
    minibatches=2,
    checkpoint_every=1,
)
ALGORITHM = advantage_settings()
SEED = 5


class ToyPlayer:
    """Two questions an episode; each right answer, the task's number modulo 4, pays 1."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.requests: list[EpisodeRequest] = []

    def __call__(self, requests: Sequence[EpisodeRequest], temperature: float) -> list[Trajectory]:
        self.requests += requests
        generators = [np.random.default_rng(request.seed) for request in requests]
        transcripts = [[1] for _ in requests]
        turns: list[list[Turn]] = [[] for _ in requests]
        for question in (30, 31):
            prompts = [(question, 10 + request.task.options["number"]) for request in requests]
            for transcript, prompt in zip(transcripts, prompts, strict=True):
                transcript += prompt
            scores = self._scores(transcripts, temperature)
            for index, request in enumerate(requests):
                choice = int(generators[index].choice(4, p=np.exp(scores[index])))
                transcripts[index] += [ANSWERS[choice], END]
                opening = () if turns[index] else (1,)
                response = Response(
                    prompt_ids=(*opening, *prompts[index]),
                    token_ids=(ANSWERS[choice], END),
                    logprobs=(float(scores[index][choice]), 0.0),
                    allowed_ids=(ANSWERS, (END,)),
                    text=str(choice),
                )
                reward = float(choice == request.task.options["number"] % 4)
                turns[index].append(Turn(Observation(""), response, str(choice), True, reward))
        return [
            _trajectory(request, tuple(played))
            for request, played in zip(requests, turns, strict=True)
        ]

    def _scores(self, transcripts: Sequence[Sequence[int]], temperature: float) -> np.ndarray:
        with torch.no_grad():
            logits = self.model(input_ids=torch.tensor(transcripts)).logits[:, -1, list(ANSWERS)]
        return (logits.double() / temperature).log_softmax(-1).numpy()


def _trajectory(request: EpisodeRequest, turns: tuple[Turn, ...]) -> Trajectory:
    return Trajectory(
        task_id=request.task.task_id,
        task_type="",
        seed=request.seed,
        context=ContextMode.TRANSCRIPT,
        turns=turns,
        stop=StopReason.TERMINATED,
        success=all(turn.reward for turn in turns),
    )


def make_toy_model(dtype: torch.dtype = torch.float32) -> nn.Module:
    """Make the base model: the same one each time."""
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    sizes: dict[str, Any] = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": 32,
        "initializer_range": 0.3,
    }
    model = cast(nn.Module, Qwen3ForCausalLM(Qwen3Config(**sizes)))
    return model.to(dtype).eval()


def make_toy_trainer(
    run_dir: Path,
    *,
    settings: TrainSettings = SETTINGS,
    selection: str = "1",
    dtype: torch.dtype = torch.float32,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> tuple[Trainer, nn.Module, ToyPlayer]:
    """Make a trainer, which goes on with what ``run_dir`` holds."""
    model = make_toy_model(dtype)
    player = ToyPlayer(model)
    trainer = Trainer(
        model,
        player,
        tasks=TASKS,
        selection=parse_selection(selection, 3),
        settings=settings,
        algorithm=ALGORITHM,
        seed=SEED,
        run_dir=run_dir,
        processes=processes,
    )
    return trainer, model, player


LONG = replace(SETTINGS, iterations=20, checkpoint_every=3)
"""Long enough to be killed on the way."""

if __name__ == "__main__":
    torch.set_num_threads(1)
    dtype: torch.dtype = getattr(torch, sys.argv[2])
    long = replace(LONG, lora_rank=int(sys.argv[4]))
    with connected() as together:
        make_toy_trainer(
            Path(sys.argv[1]), settings=long, selection=sys.argv[3], dtype=dtype, processes=together
        )[0].run()
