import functools
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from layerbench.agents.rollout import EpisodeRequest
from layerbench.agents.types import StopReason, Trajectory
from layerbench.errors import UserError
from layerbench.rl.checkpoint_files import latest_checkpoint
from layerbench.rl.lr_scales import spell_scales
from layerbench.rl.schedule import episode_seed, learning_rate, peak_learning_rate, task_at
from layerbench.rl.selection import parse_selection
from layerbench.rl.settings import Schedule, TrainSettings
from layerbench.rl.trainer import MAX_ROUNDS, Trainer
from tests.support import checkpoints
from tests.support.toy_run import (
    ALGORITHM,
    LONG,
    SEED,
    SETTINGS,
    TASKS,
    ToyPlayer,
    make_toy_model,
    make_toy_trainer,
)
from tests.support.train_settings import loss_settings


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []


LEARNED = ("weights.safetensors", "optimizer.safetensors")
"""Files of a checkpoint that have no settings in them."""


def assert_same_checkpoints(
    first: Path, second: Path, *, files: Sequence[str] = (*LEARNED, "state.json")
) -> None:
    """Compare the last checkpoints of two runs byte by byte, but for the time they took."""
    ours, theirs = (latest_checkpoint(run / "checkpoints") for run in (first, second))
    assert ours is not None
    assert theirs is not None
    for name in files:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


def recorded(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl`` without timings."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("play_s", "update_s")} for line in lines]


def test_toy_task_is_learned(tmp_path: Path) -> None:
    settings = replace(
        SETTINGS,
        iterations=25,
        checkpoint_every=25,
        tasks_per_iteration=6,
        group_size=8,
        learning_rate=5e-3,
        loss=loss_settings(kl_coef=0.0),
    )
    trainer, *_ = make_toy_trainer(tmp_path, settings=settings, selection="full")
    history = trainer.run()
    # Chance is 1/4 for each of two answers.
    assert history[0].success < 0.4
    assert np.mean([metrics.success for metrics in history[-5:]]) > 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("selection", ["1", "full"])
def test_stopping_halfway_and_going_on_changes_nothing(
    tmp_path: Path, selection: str, dtype: torch.dtype
) -> None:
    make = functools.partial(make_toy_trainer, selection=selection, dtype=dtype)
    through, model, _ = make(tmp_path / "through")
    history = through.run()
    make(tmp_path / "parts", settings=replace(SETTINGS, iterations=2))[0].run()
    torch.manual_seed(99)  # pyright: ignore[reportUnknownMemberType]
    second, resumed, player = make(tmp_path / "parts")
    assert len(second.history) == 2
    assert [m.comparable() for m in second.run()] == [m.comparable() for m in history]
    assert len(player.requests) == 2 * 4 * 4
    assert_same_weights(weights(model), weights(resumed))
    assert recorded(tmp_path / "through") == recorded(tmp_path / "parts")
    assert_same_checkpoints(tmp_path / "through", tmp_path / "parts")


def test_iterations_after_the_last_checkpoint_are_played_again(tmp_path: Path) -> None:
    class Killed(Exception):
        """Simulates a sudden end."""

    def die(metrics: object) -> None:
        if len((tmp_path / "parts/metrics.jsonl").read_text().splitlines()) == 3:
            raise Killed

    settings = replace(SETTINGS, checkpoint_every=2)
    through, model, _ = make_toy_trainer(tmp_path / "through", settings=settings)
    through.run()
    with pytest.raises(Killed):
        make_toy_trainer(tmp_path / "parts", settings=settings)[0].run(die)
    second, resumed, _ = make_toy_trainer(tmp_path / "parts", settings=settings)
    assert len(recorded(tmp_path / "parts")) == 2
    second.run()
    assert_same_weights(weights(model), weights(resumed))
    assert recorded(tmp_path / "through") == recorded(tmp_path / "parts")


def test_finished_run_does_nothing_more(tmp_path: Path) -> None:
    first, model, _ = make_toy_trainer(tmp_path)
    first.run()
    again, resumed, player = make_toy_trainer(tmp_path)
    again.run()
    assert player.requests == []
    assert_same_weights(weights(model), weights(resumed))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("dtype", "rank"), [(torch.float32, 0), (torch.bfloat16, 0), (torch.float32, 2)]
)
def test_killed_process_goes_on_to_the_same_weights(
    tmp_path: Path, dtype: torch.dtype, rank: int
) -> None:
    run_dir = tmp_path / "killed"
    dtype_name = str(dtype).removeprefix("torch.")
    command = [
        sys.executable,
        "-m",
        "tests.support.toy_run",
        str(run_dir),
        dtype_name,
        "1",
        str(rank),
    ]
    with subprocess.Popen(command) as process:
        while latest_checkpoint(run_dir / "checkpoints") is None:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
        time.sleep(random.random() * 0.2)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(recorded(run_dir)) < LONG.iterations
    subprocess.run(command, check=True)

    long = replace(LONG, lora_rank=rank)
    make_toy_trainer(tmp_path / "through", settings=long, dtype=dtype)[0].run()
    assert_same_checkpoints(run_dir, tmp_path / "through")
    assert recorded(run_dir) == recorded(tmp_path / "through")


def test_everything_outside_the_selection_stays_bit_identical(tmp_path: Path) -> None:
    before = weights(make_toy_model())
    trainer, model, _ = make_toy_trainer(tmp_path)
    trainer.run()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) != name.startswith("model.layers.1."), name


def test_checkpoint_holds_the_selection_and_nothing_else(tmp_path: Path) -> None:
    trainer, model, _ = make_toy_trainer(tmp_path)
    trainer.run()
    path = latest_checkpoint(tmp_path / "checkpoints")
    assert path is not None
    selected = sum(p.numel() for n, p in model.named_parameters() if ".layers.1." in n)
    # 4 bytes a weight and a header; the optimizer keeps two numbers for each weight.
    assert 4 * selected < (path / "weights.safetensors").stat().st_size < 4 * selected + 2000
    assert (path / "optimizer.safetensors").stat().st_size < 8 * selected + 15_000


def test_coarse_weights_are_saved_as_played_beside_their_masters(tmp_path: Path) -> None:
    trainer, model, _ = make_toy_trainer(tmp_path, dtype=torch.bfloat16)
    trainer.run()
    path = latest_checkpoint(tmp_path / "checkpoints")
    assert path is not None
    saved = checkpoints.read(path)
    selected = {name: p for name, p in model.named_parameters() if ".layers.1." in name}
    assert saved.weights.keys() == saved.masters.keys() == selected.keys()
    for name, parameter in selected.items():
        assert torch.equal(saved.weights[name], parameter)
        assert torch.equal(saved.masters[name].bfloat16(), parameter)
        assert saved.masters[name].dtype == saved.optimizer[f"{name}.exp_avg"].dtype
    assert any(not torch.equal(saved.masters[name], p) for name, p in selected.items())


def forget(run_dir: Path, name: str) -> object:
    """Take a part out of the newest checkpoint's identity, as of before there was such a part."""
    path = latest_checkpoint(run_dir / "checkpoints")
    assert path is not None
    identity = dict(checkpoints.read(path).identity)
    part = identity.pop(name)
    checkpoints.forge(path, identity=identity)
    return part


def test_a_run_that_stepped_coarse_weights_does_not_go_on_with_masters(tmp_path: Path) -> None:
    make_toy_trainer(tmp_path, dtype=torch.bfloat16)[0].run()
    assert forget(tmp_path, "masters") == "float32"
    with pytest.raises(ValueError, match="its masters is None, not float32: start anew"):
        make_toy_trainer(tmp_path, dtype=torch.bfloat16)


def test_several_layers_do_not_resume_what_was_trained_at_the_rate_of_one(tmp_path: Path) -> None:
    make_toy_trainer(tmp_path, selection="0-1")[0].run()
    assert forget(tmp_path, "peak_rate") == "learning_rate"
    with pytest.raises(ValueError, match="its peak_rate is None, not learning_rate: start anew"):
        make_toy_trainer(tmp_path, selection="0-1")


def test_other_settings_or_tasks_or_base_weights_do_not_resume(tmp_path: Path) -> None:
    make_toy_trainer(tmp_path)[0].run()
    with pytest.raises(ValueError, match=r"its learning_rate is 0\.01, not 0\.1"):
        make_toy_trainer(tmp_path, settings=replace(SETTINGS, learning_rate=0.1))
    with pytest.raises(ValueError, match="its selection is 1, not 2"):
        make_toy_trainer(tmp_path, selection="2")
    model = make_toy_model()
    with pytest.raises(ValueError, match="its tasks is"):
        Trainer(
            model,
            ToyPlayer(model),
            tasks=TASKS[:3],
            selection=parse_selection("1", 3),
            settings=SETTINGS,
            algorithm=ALGORITHM,
            seed=SEED,
            run_dir=tmp_path,
        )


def test_trained_model_is_no_base_to_resume_from(tmp_path: Path) -> None:
    trainer, model, player = make_toy_trainer(tmp_path)
    trainer.run()
    with pytest.raises(ValueError, match="its base_weights is"):
        Trainer(
            model,
            player,
            tasks=TASKS,
            selection=parse_selection("1", 3),
            settings=SETTINGS,
            algorithm=ALGORITHM,
            seed=SEED,
            run_dir=tmp_path,
        )


def test_evaluation_in_between_does_not_disturb_training(tmp_path: Path) -> None:
    alone, model, _ = make_toy_trainer(tmp_path / "alone")
    alone.run()
    trainer, evaluated, player = make_toy_trainer(tmp_path / "evaluated")

    def evaluate(metrics: object) -> None:
        torch.rand(3)
        np.random.rand(3)  # noqa: NPY002
        player([EpisodeRequest(task, 7) for task in TASKS], 0.4)

    trainer.run(evaluate)
    assert_same_weights(weights(model), weights(evaluated))


def test_group_shares_its_task_and_every_episode_has_its_own_seed(tmp_path: Path) -> None:
    trainer, _, player = make_toy_trainer(tmp_path)
    trainer.run()
    groups = [player.requests[start : start + 4] for start in range(0, 4 * 16, 4)]
    assert all(len({request.task.task_id for request in group}) == 1 for group in groups)
    seeds = [request.seed for request in player.requests]
    assert len(set(seeds)) == len(seeds)
    # 16 groups: the list of 6 tasks is gone through twice before any task is met a third time.
    played = [group[0].task.task_id for group in groups]
    assert sorted(played[:6]) == sorted(played[6:12]) == sorted(task.task_id for task in TASKS)
    assert played[:6] != played[6:12]


def test_seed_decides_order_and_sampling() -> None:
    orders = [[task_at(TASKS, i, seed=seed).task_id for i in range(6)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert episode_seed(0, 1, 0, 2, 3) == episode_seed(0, 1, 0, 2, 3)
    paths = [(0, 1, 0, 2, 3), (1, 0, 0, 2, 3), (0, 1, 0, 3, 2), (0, 2, 0, 1, 3)]
    assert len({episode_seed(*path) for path in paths}) == 4
    assert all(0 <= episode_seed(*path) < 2**63 for path in paths)


def test_learning_rate_rises_to_its_value_and_stays() -> None:
    settings = replace(SETTINGS, learning_rate=1.0, warmup=4)
    selection = parse_selection("full", 3)
    rates = [learning_rate(settings, selection, iteration) for iteration in range(6)]
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert learning_rate(SETTINGS, selection, 0) == SETTINGS.learning_rate


def test_linear_schedule_falls_from_its_value_and_takes_every_iteration() -> None:
    settings = replace(
        SETTINGS, learning_rate=1.0, warmup=2, iterations=6, schedule=Schedule.LINEAR
    )
    selection = parse_selection("full", 3)
    rates = [learning_rate(settings, selection, iteration) for iteration in range(6)]
    # After 2 iterations of warm-up 4 are left: by quarters, and 0 in the one after the last.
    assert rates == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    longest = replace(settings, warmup=9)
    assert learning_rate(longest, selection, 5) == pytest.approx(6 / 9)


def test_a_resumed_linear_schedule_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = replace(SETTINGS, schedule=Schedule.LINEAR)
    whole, model, _ = make_toy_trainer(tmp_path / "whole", settings=settings)
    history = whole.run()
    # 4 iterations: 4/4, 3/4, 2/4 and 1/4 of 1e-2.
    assert [m.learning_rate for m in history] == pytest.approx([0.01, 0.0075, 0.005, 0.0025])
    make_toy_trainer(tmp_path / "stopped", settings=settings)[0].run(until=2)
    resumed, same, _ = make_toy_trainer(tmp_path / "stopped", settings=settings)
    assert [m.comparable() for m in resumed.run()] == [m.comparable() for m in history]
    assert_same_weights(weights(model), weights(same))
    assert_same_checkpoints(tmp_path / "whole", tmp_path / "stopped")


def test_a_linear_schedule_cannot_be_lengthened_on_the_way(tmp_path: Path) -> None:
    settings = replace(SETTINGS, schedule=Schedule.LINEAR)
    make_toy_trainer(tmp_path, settings=settings)[0].run(until=2)
    longer = replace(settings, iterations=8)
    with pytest.raises(UserError, match="its iterations is 4, not 8"):
        make_toy_trainer(tmp_path, settings=longer)


@pytest.mark.parametrize(
    ("selection", "rank", "adapters", "rate"),
    [
        ("full", 0, 0.0, 1.0),
        ("all-layers", 0, 0.0, 1.0),
        ("1", 0, 0.0, 2.0),
        ("middle:1", 0, 0.0, 2.0),
        ("random:1:7", 0, 0.0, 2.0),
        ("0-2", 0, 0.0, 1.0),
        ("0,2", 0, 0.0, 1.0),
        ("middle:3", 0, 0.0, 1.0),
        ("full", 4, 0.0, 1.0),
        ("1", 4, 0.0, 2.0),
        ("full", 4, 3.0, 3.0),
        ("1", 4, 3.0, 3.0),
    ],
)
def test_one_layer_and_several_and_adapters_have_rates_of_their_own(
    selection: str, rank: int, adapters: float, rate: float
) -> None:
    settings = replace(
        SETTINGS,
        learning_rate=1.0,
        layer_learning_rate=2.0,
        lora_rank=rank,
        lora_learning_rate=adapters,
    )
    assert peak_learning_rate(settings, parse_selection(selection, 3)) == rate


def scaled(scales: Mapping[int, float]) -> TrainSettings:
    return replace(SETTINGS, lr_scale=spell_scales(scales))


@pytest.mark.parametrize("selection", ["1", "0,2", "all-layers", "full"])
def test_scale_1_everywhere_trains_bit_for_bit_as_without(tmp_path: Path, selection: str) -> None:
    plain, model, _ = make_toy_trainer(tmp_path / "plain", selection=selection)
    history = plain.run()
    scales = dict.fromkeys(parse_selection(selection, 3).layers, 1.0)
    trainer, same, _ = make_toy_trainer(
        tmp_path / "scaled", selection=selection, settings=scaled(scales)
    )
    assert [m.comparable() for m in trainer.run()] == [m.comparable() for m in history]
    assert_same_weights(weights(model), weights(same))
    assert_same_checkpoints(tmp_path / "plain", tmp_path / "scaled", files=LEARNED)


def test_a_scale_multiplies_the_learning_rate_of_its_layer(tmp_path: Path) -> None:
    trainer, *_ = make_toy_trainer(
        tmp_path, selection="all-layers", settings=scaled({0: 0.5, 2: 2.0})
    )
    (first, *_) = trainer.run()
    groups = trainer.optimizer.param_groups
    # SETTINGS learn at 0.01; layer 1 is not named.
    assert {group["scale"]: group["lr"] for group in groups} == {0.5: 0.005, 1.0: 0.01, 2.0: 0.02}
    assert first.learning_rate == 0.01
    assert len({len(group["params"]) for group in groups}) == 1


def test_scaled_layers_move_by_their_scale(tmp_path: Path) -> None:
    # One step of AdamW moves each weight by about its learning rate, however large the gradient.
    settings = replace(scaled({0: 0.25, 1: 1.0, 2: 4.0}), iterations=1, minibatches=1)
    trainer, model, _ = make_toy_trainer(tmp_path, selection="0-2", settings=settings)
    before = weights(make_toy_model())
    trainer.run()
    after = model.state_dict()
    moved = [
        float((after[name] - before[name]).abs().median())
        for name in (f"model.layers.{layer}.mlp.down_proj.weight" for layer in range(3))
    ]
    assert moved[1] / moved[0] == pytest.approx(4, rel=0.2)
    assert moved[2] / moved[1] == pytest.approx(4, rel=0.2)


def test_unselected_parameters_stay_and_have_no_state_under_scales(tmp_path: Path) -> None:
    before = weights(make_toy_model())
    trainer, model, _ = make_toy_trainer(
        tmp_path, selection="0,2", settings=scaled({0: 0.5, 2: 3.0})
    )
    trainer.run()
    for name, tensor in model.state_dict().items():
        learned = name.startswith(("model.layers.0.", "model.layers.2."))
        assert torch.equal(tensor, before[name]) != learned, name
    selected = {
        id(p) for n, p in model.named_parameters() if ".layers.1." not in n and "layers" in n
    }
    assert {id(parameter) for parameter in trainer.optimizer.state} == selected


def test_a_layer_with_scale_0_keeps_its_weights(tmp_path: Path) -> None:
    before = weights(make_toy_model())
    trainer, model, _ = make_toy_trainer(tmp_path, selection="0,2", settings=scaled({0: 0.0}))
    trainer.run()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) != name.startswith("model.layers.2."), name


def test_stopping_halfway_under_scales_changes_nothing(tmp_path: Path) -> None:
    settings = scaled({0: 0.5, 2: 3.0})
    through, model, _ = make_toy_trainer(tmp_path / "through", selection="full", settings=settings)
    history = through.run()
    halfway = replace(settings, iterations=2)
    make_toy_trainer(tmp_path / "parts", settings=halfway, selection="full")[0].run()
    second, resumed, _ = make_toy_trainer(tmp_path / "parts", settings=settings, selection="full")
    assert [m.comparable() for m in second.run()] == [m.comparable() for m in history]
    assert_same_weights(weights(model), weights(resumed))


def test_other_scales_do_not_resume(tmp_path: Path) -> None:
    make_toy_trainer(tmp_path, settings=scaled({1: 2.0}))[0].run()
    with pytest.raises(ValueError, match=r"its lr_scale is 1:2\.0, not 1:3\.0"):
        make_toy_trainer(tmp_path, settings=scaled({1: 3.0}))
    with pytest.raises(ValueError, match=r"its lr_scale is 1:2\.0, not :"):
        make_toy_trainer(tmp_path)


def test_a_scale_of_a_frozen_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="layer 2, which the selection 1 does not train"):
        make_toy_trainer(tmp_path, settings=scaled({2: 2.0}))


class BiasedPlayer(ToyPlayer):
    """Plays as ever, but some tasks always pay the same."""

    def __init__(self, model: nn.Module, dull: Sequence[str]) -> None:
        super().__init__(model)
        self.dull = set(dull)

    def __call__(self, requests: Sequence[EpisodeRequest], temperature: float) -> list[Trajectory]:
        played = super().__call__(requests, temperature)
        return [self._paid(index, trajectory) for index, trajectory in enumerate(played)]

    def _paid(self, index: int, trajectory: Trajectory) -> Trajectory:
        reward = 0.0 if trajectory.task_id in self.dull else float(index % 2)
        turns = tuple(replace(turn, reward=reward) for turn in trajectory.turns)
        return replace(trajectory, turns=turns, success=reward > 0)


def biased_trainer(
    run_dir: Path, *, dull: Sequence[str], settings: TrainSettings
) -> tuple[Trainer, BiasedPlayer]:
    model = make_toy_model()
    player = BiasedPlayer(model, dull)
    trainer = Trainer(
        model,
        player,
        tasks=TASKS,
        selection=parse_selection("1", 3),
        settings=settings,
        algorithm=ALGORITHM,
        seed=SEED,
        run_dir=run_dir,
    )
    return trainer, player


DYNAMIC = replace(SETTINGS, iterations=2, dynamic_sampling=True, loss=loss_settings(kl_coef=0.0))


def test_dynamic_sampling_plays_on_until_enough_groups_are_mixed(tmp_path: Path) -> None:
    dull = [task.task_id for task in TASKS[:3]]
    trainer, player = biased_trainer(tmp_path, dull=dull, settings=DYNAMIC)
    first, second = trainer.run()
    # Half the tasks are mixed, so that one round of 4 groups cannot do.
    assert first.groups > 4
    assert first.mixed_groups >= 4
    # 4 groups of 4 episodes with 2 decisions each
    assert first.update.decisions == second.update.decisions == 32
    assert len(player.requests) == 4 * (first.groups + second.groups)
    assert first.success == pytest.approx(first.mixed_groups / 2 / first.groups)


def test_dynamic_sampling_gives_up_after_ten_rounds(tmp_path: Path) -> None:
    dull = [task.task_id for task in TASKS]
    settings = replace(DYNAMIC, iterations=1)
    trainer, _ = biased_trainer(tmp_path, dull=dull, settings=settings)
    (metrics,) = trainer.run()
    assert metrics.groups == 4 * MAX_ROUNDS
    assert (metrics.mixed_groups, metrics.update.steps, metrics.success) == (0, 0, 0.0)


def test_what_was_not_measured_is_null_and_survives_a_resume(tmp_path: Path) -> None:
    dull = [task.task_id for task in TASKS]
    trainer, _ = biased_trainer(tmp_path, dull=dull, settings=replace(SETTINGS, iterations=1))
    (metrics,) = trainer.run()
    assert (metrics.update.steps, metrics.update.kl, metrics.update.entropy) == (0, None, None)
    (line,) = recorded(tmp_path)
    unmeasured = {"loss", "kl", "clip_fraction", "entropy", "grad_norm", "max_ratio"}
    unmeasured |= {"mismatch", "max_mismatch", "capped"}
    assert {name for name, value in line.items() if value is None} == unmeasured
    again, _ = biased_trainer(tmp_path, dull=dull, settings=replace(SETTINGS, iterations=1))
    assert again.history == (metrics,)


def test_metrics_of_before_there_was_null_are_read(tmp_path: Path) -> None:
    settings = replace(SETTINGS, iterations=2, loss=loss_settings(kl_coef=0.0))
    make_toy_trainer(tmp_path, settings=settings)[0].run()
    path = latest_checkpoint(tmp_path / "checkpoints")
    assert path is not None
    history = checkpoints.read(path).history
    assert [row["kl"] for row in history] == [None, None]
    checkpoints.forge(path, history=tuple({**row, "kl": 0.0} for row in history))
    trainer, *_ = make_toy_trainer(tmp_path, settings=replace(settings, iterations=3))
    assert [metrics.update.kl for metrics in trainer.run()] == [0.0, 0.0, None]
    assert [line["kl"] for line in recorded(tmp_path)] == [0.0, 0.0, None]


def test_dynamic_sampling_resumes_where_the_task_list_was_left(tmp_path: Path) -> None:
    dull = [task.task_id for task in TASKS[:3]]
    trainer, player = biased_trainer(tmp_path / "through", dull=dull, settings=DYNAMIC)
    trainer.run()
    parts: list[EpisodeRequest] = []
    for iterations in (1, 2):
        settings = replace(DYNAMIC, iterations=iterations)
        trainer, part = biased_trainer(tmp_path / "parts", dull=dull, settings=settings)
        trainer.run()
        parts += part.requests
    assert parts == player.requests


class BrokenPlayer(ToyPlayer):
    """Every other episode's environment breaks down, or all of them."""

    every = 2

    def __call__(self, requests: Sequence[EpisodeRequest], temperature: float) -> list[Trajectory]:
        return [
            replace(t, stop=StopReason.ERROR, success=False, error="broken")
            if index % self.every == 0
            else t
            for index, t in enumerate(super().__call__(requests, temperature))
        ]


@pytest.mark.parametrize("every", [1, 2])
def test_broken_episodes_count_as_lost_and_teach_nothing(tmp_path: Path, every: int) -> None:
    model = make_toy_model()
    player = BrokenPlayer(model)
    player.every = every
    settings = replace(SETTINGS, iterations=1)
    trainer = Trainer(
        model,
        player,
        tasks=TASKS,
        selection=parse_selection("1", 3),
        settings=settings,
        algorithm=ALGORITHM,
        seed=SEED,
        run_dir=tmp_path,
    )
    (metrics,) = trainer.run()
    assert (metrics.episodes, metrics.failed) == (16, 16 // every)
    # 2 decisions in each of the sound episodes
    assert metrics.update.decisions == 2 * (16 - metrics.failed)


def test_negative_seed_is_refused(tmp_path: Path) -> None:
    model = make_toy_model()
    with pytest.raises(ValueError, match=r"^seed must be at least 0, got -1$"):
        Trainer(
            model,
            ToyPlayer(model),
            tasks=TASKS,
            selection=parse_selection("1", 3),
            settings=SETTINGS,
            algorithm=ALGORITHM,
            seed=-1,
            run_dir=tmp_path,
        )


def test_nothing_selected_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the selection none leaves nothing to learn"):
        make_toy_trainer(tmp_path, selection="none")


@pytest.mark.parametrize("what", ["weight", "master"])
def test_a_checkpoint_of_other_tensors_is_refused(tmp_path: Path, what: str) -> None:
    make_toy_trainer(tmp_path, dtype=torch.bfloat16)[0].run()
    path = latest_checkpoint(tmp_path / "checkpoints")
    assert path is not None
    saved = checkpoints.read(path)
    tensors = dict(saved.weights if what == "weight" else saved.masters)
    name = min(tensors)
    # One number, which would be copied into all places of the parameter.
    tensors[name] = torch.ones(1, dtype=tensors[name].dtype)
    checkpoints.forge(path, **{f"{what}s": tensors})
    with pytest.raises(UserError, match=rf"its {what} of {name} is \w+ \(1,\), not "):
        make_toy_trainer(tmp_path, dtype=torch.bfloat16)


def test_a_checkpoint_too_many_is_deleted_at_resume(tmp_path: Path) -> None:
    make_toy_trainer(tmp_path)[0].run()
    folder = tmp_path / "checkpoints"
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == ["iteration-000003", "iteration-000004"]
    # As a kill leaves them: after the newest was complete, or while it was being written.
    shutil.copytree(folder / kept[0], folder / "iteration-000002")
    (folder / ".writing-iteration-000005").mkdir()
    make_toy_trainer(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == kept
