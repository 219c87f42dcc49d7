"""What is learned on a GPU is what is learned on the CPU, to the rounding of the weights."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from layerbench.agents.types import ActionMode, ContextMode
from layerbench.rl import open_vocabulary
from layerbench.rl.batcher import Batcher
from layerbench.rl.batching import TrainingSequence
from layerbench.rl.open_vocabulary import open_scores
from layerbench.rl.selection import parse_selection
from layerbench.rl.settings import TrainSettings
from layerbench.rl.trainer import make_learner
from layerbench.rl.types import Group
from layerbench.rl.update import (
    Learner,
    accumulate_gradients,
    logprobs,
    reference_logprobs,
    update,
    weigh,
)
from tests.rl import test_families
from tests.support import model_families

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
PLAIN = replace(test_families.SETTINGS, reuse_mb=0)
REUSED = replace(PLAIN, reuse_mb=100)
# Relative distance of gradients that differ by the order of sums and nothing else: on one device,
# and between two. Those of bfloat16 on the CPU are within 0.08 of float32's.
ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
ACROSS = {torch.float32: 1e-3, torch.bfloat16: 0.2}
DTYPES = pytest.mark.parametrize("dtype", ROUNDING, ids=str)
PLAYED = [
    (ActionMode.CHOOSE, ContextMode.TRANSCRIPT),
    (ActionMode.GENERATE, ContextMode.WINDOW),
]


def episodes(played: tuple[ActionMode, ContextMode] = PLAYED[0]) -> list[TrainingSequence]:
    """Play on the CPU in float32, whatever learns from it."""
    group = Group(tuple(model_families.play(model_families.make("qwen3"), *played)))
    return test_families.sequences_of(group)


def learner_of(
    settings: TrainSettings, *, device: torch.device, dtype: torch.dtype, selection: str = "2"
) -> Learner:
    model = model_families.make("qwen3").to(device, dtype)
    chosen = parse_selection(selection, model_families.NUM_LAYERS)
    return make_learner(model, chosen, settings, seed=0)


def gradients(
    learner: Learner, sequences: Sequence[TrainingSequence], settings: TrainSettings
) -> dict[str, Tensor]:
    batcher = Batcher(learner.prefix)
    reference = reference_logprobs(learner, sequences, settings)
    weighed = weigh(sequences, reference, settings.loss)
    accumulate_gradients(learner, weighed, settings, batcher)
    found = {n: p.grad for n, p in learner.masters.stepped.items() if p.grad is not None}
    assert found
    return {name: gradient.float().cpu() for name, gradient in found.items()}


def distance(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """Give the norm of the difference of all tensors, as a share of the norm of ``theirs``."""
    assert ours.keys() == theirs.keys()
    difference = torch.cat([(ours[name] - theirs[name]).flatten() for name in theirs])
    norm = torch.cat([tensor.flatten() for tensor in theirs.values()]).square().sum().sqrt()
    return float(difference.square().sum().sqrt() / norm)


@DTYPES
@pytest.mark.parametrize("selection", ["2", "full"])
@pytest.mark.parametrize("played", PLAYED, ids="-".join)
def test_gradients_are_those_of_the_cpu(
    device: torch.device,
    dtype: torch.dtype,
    selection: str,
    played: tuple[ActionMode, ContextMode],
) -> None:
    sequences = episodes(played)
    here, there = (
        gradients(learner_of(PLAIN, device=on, dtype=dtype, selection=selection), sequences, PLAIN)
        for on in (CPU, device)
    )
    assert distance(there, here) < ACROSS[dtype]


def test_a_training_step_ends_in_the_weights_of_the_cpu(device: torch.device) -> None:
    sequences = episodes()
    # AdamW's first step has the size of the rate wherever the gradient is not tiny beside 1e-4.
    ends: list[Mapping[str, Tensor]] = []
    for on in (CPU, device):
        learner = learner_of(PLAIN, device=on, dtype=torch.float32)
        learner.optimizer.param_groups[0]["eps"] = 1e-4
        before = {name: p.detach().clone() for name, p in learner.parameters.items()}
        stats = update(learner, sequences, PLAIN, rng=np.random.default_rng(0))
        assert stats.steps == PLAIN.minibatches
        moved = {n: (p.detach() - before[n]).cpu() for n, p in learner.parameters.items()}
        assert all(tensor.any() for tensor in moved.values())
        ends.append(moved)
    assert distance(ends[1], ends[0]) < 1e-3


@DTYPES
def test_frozen_blocks_that_are_run_once_give_the_plain_gradients(
    device: torch.device, dtype: torch.dtype
) -> None:
    sequences = episodes()
    plain, reused = (
        learner_of(settings, device=device, dtype=dtype) for settings in (PLAIN, REUSED)
    )
    assert plain.prefix is None
    assert reused.prefix is not None
    scores = [
        np.concatenate(logprobs(learner, sequences, PLAIN, Batcher(learner.prefix)))
        for learner in (plain, reused)
    ]
    np.testing.assert_allclose(scores[1], scores[0], rtol=0, atol=ROUNDING[dtype])
    found = [gradients(learner, sequences, PLAIN) for learner in (plain, reused)]
    assert distance(found[1], found[0]) < ROUNDING[dtype]


@DTYPES
@pytest.mark.parametrize("learns", [False, True])
def test_a_head_in_chunks_gives_the_scores_and_gradients_of_one_at_once(
    device: torch.device, dtype: torch.dtype, learns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions, vocabulary, hidden = 300, 4096, 64
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    head = nn.Linear(hidden, vocabulary, bias=False).to(device, dtype).requires_grad_(learns)
    states_DH = torch.randn(decisions, hidden).to(device, dtype).requires_grad_(True)
    tokens_D = torch.arange(decisions, device=device)
    found: list[dict[str, Tensor]] = []
    for size in (decisions, 77):
        monkeypatch.setattr(open_vocabulary, "CHUNK_NUMBERS", size * vocabulary)
        states_DH.grad = head.weight.grad = None
        logprobs_D, entropy_D = open_scores(states_DH, head, tokens_D, temperature=0.7)
        loss = (tokens_D / decisions * logprobs_D).sum() + entropy_D.sum()
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        scored = {"logprobs": logprobs_D, "entropy": entropy_D, "states": states_DH.grad}
        scored |= {"weight": head.weight.grad} if learns else {}
        found.append({n: t.detach().float() for n, t in scored.items() if t is not None})
    for name in found[0]:
        assert distance({name: found[1][name]}, {name: found[0][name]}) < ROUNDING[dtype], name


def test_a_head_in_chunks_takes_the_memory_of_a_chunk(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device.type != "cuda":
        pytest.skip("only CUDA counts what is allocated")
    decisions, vocabulary, hidden, size = 2048, 50_000, 64, 128
    head = nn.Linear(hidden, vocabulary, bias=False).to(device).requires_grad_(False)
    states_DH = torch.randn(decisions, hidden, device=device, requires_grad=True)
    monkeypatch.setattr(open_vocabulary, "CHUNK_NUMBERS", size * vocabulary)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    tokens_D = torch.arange(decisions, device=device)
    logprobs_D, entropy_D = open_scores(states_DH, head, tokens_D, temperature=1.0)
    (logprobs_D + entropy_D).sum().backward()  # pyright: ignore[reportUnknownMemberType]
    taken = torch.cuda.max_memory_allocated(device) - before
    # Logits, their logarithmic probabilities, probabilities, and a copy or two on the way.
    assert taken < 6 * size * vocabulary * 4
    assert taken < decisions * vocabulary * 4 / 2


@pytest.mark.parametrize(
    ("preset", "dtype"),
    [("quick", "float32"), ("quick", "bfloat16"), ("quick-generate", "bfloat16")],
)
def test_a_run_ends_with_its_record(
    device: torch.device, preset: str, dtype: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "layerbench", "run", "keydoor", "--layer", "1"]
    command += ["--preset", preset, "--out", str(out), "eval.tasks=2", "eval.temperatures=1"]
    command += [f"model.device={device.type}", f"model.dtype={dtype}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "record.json").read_text())
    assert record["hardware"]["device"].startswith(device.type)
    first = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    # Play and update score the same tokens by the same weights. Free text of an untrained model
    # wins nothing: there is no update.
    if preset == "quick":
        assert first["mismatch"] < ROUNDING[getattr(torch, dtype)]
