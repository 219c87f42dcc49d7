"""Several processes, started by torchrun and connected by gloo, train as one does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import torch as safetensors

from layerbench.agents import torchrun
from layerbench.benchmarks import cli
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.runs import launch, resolve
from layerbench.benchmarks.runs.console import SilentReporter
from layerbench.rl.checkpoint_files import latest_checkpoint
from layerbench.rl.distributed import SINGLE_PROCESS, SingleProcess, check_agreement, share
from tests.rl.test_trainer import assert_same_checkpoints, recorded
from tests.support.toy_run import LONG, make_toy_trainer

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
TOY = ("-m", "tests.support.toy_run")


def as_if_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process seem to be the first of two."""
    variables = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}
    for name, value in {**variables, "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)


class OneOf(SingleProcess):
    """One of several processes, as far as shares go."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size


@given(st.lists(st.integers(0, 2), max_size=12), st.integers(1, 5))
def test_shares_keep_equal_neighbours_together_and_are_all_there_is(
    items: list[int], size: int
) -> None:
    shares = [
        share(items, by=lambda item: item, processes=OneOf(rank, size)) for rank in range(size)
    ]
    assert [item for one in shares for item in one] == items
    counts = [len(list(groupby(one))) for one in shares]
    assert sum(counts) == len(list(groupby(items)))
    assert max(counts) - min(counts) <= 1


def test_processes_with_different_weights_are_found_out() -> None:
    class Two(SingleProcess):
        size = 2

        def join(self, own: Sequence[Any]) -> list[Any]:
            return [*own, "another"]

    check_agreement("a", SINGLE_PROCESS, what="weights")
    with pytest.raises(RuntimeError, match=r"the 2 processes hold different weights \(one, ano"):
        check_agreement("one", Two(), what="weights")


@pytest.mark.parametrize("variables", [{"WORLD_SIZE": ""}, {"WORLD_SIZE": "2"}, {"RANK": "1"}])
def test_what_clusters_set_for_one_process_is_not_torchrun(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (torchrun.processes(), torchrun.rank(), torchrun.local_rank()) == (1, 0, 0)
    as_if_of_two(monkeypatch)
    assert torchrun.processes() == 2


def weights(run: Path) -> dict[str, torch.Tensor]:
    path = latest_checkpoint(run / "checkpoints")
    assert path is not None
    return safetensors.load_file(path / "weights.safetensors")  # pyright: ignore[reportUnknownMemberType]


def assert_close(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, tensor in second.items():
        torch.testing.assert_close(first[name], tensor, rtol=0, atol=1e-5)


def numbers(line: dict[str, Any]) -> dict[str, float]:
    return {name: -1.0 if value is None else float(value) for name, value in line.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("selection", "rank"), [("1", 0), ("full", 0), ("1", 2)])
def test_two_processes_train_to_the_weights_of_one(
    tmp_path: Path, selection: str, rank: int
) -> None:
    command = [*TORCHRUN, *TOY, tmp_path / "two", "float32", selection, str(rank)]
    subprocess.run(command, check=True)
    settings = replace(LONG, lora_rank=rank)
    make_toy_trainer(tmp_path / "one", settings=settings, selection=selection)[0].run()
    assert_close(tmp_path / "two", tmp_path / "one")
    two, one = recorded(tmp_path / "two"), recorded(tmp_path / "one")
    for first, second in zip(two, one, strict=True):
        assert numbers(first) == pytest.approx(numbers(second), rel=1e-4, abs=1e-5)
    # What is measured was measured on all that was learned from, not on a share of it.
    assert [line["decisions"] for line in two] == [line["decisions"] for line in one]


@pytest.mark.slow
def test_two_killed_processes_go_on_to_the_same_weights(tmp_path: Path) -> None:
    command = [*TORCHRUN, *TOY, str(tmp_path / "killed"), "float32", "1", "0"]
    with subprocess.Popen(command, start_new_session=True) as process:
        while latest_checkpoint(tmp_path / "killed" / "checkpoints") is None:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert len(recorded(tmp_path / "killed")) < LONG.iterations
    subprocess.run(command, check=True)
    subprocess.run([*TORCHRUN, *TOY, tmp_path / "through", "float32", "1", "0"], check=True)
    assert_same_checkpoints(tmp_path / "killed", tmp_path / "through")
    assert recorded(tmp_path / "killed") == recorded(tmp_path / "through")


@pytest.mark.slow
def test_a_run_of_two_processes_has_one_record_which_is_that_of_one(tmp_path: Path) -> None:
    command = ["run", "keydoor", "--preset", "quick", "--layer", "1", "train.iterations=3"]
    # Easy enough to win at times, so that there is something to learn.
    command += ["train.group_size=6", "env.num_keys=1", "train.importance_cap=2"]
    out = ["--out", str(tmp_path / "two")]
    process = subprocess.run(
        [*TORCHRUN, "-m", "layerbench", *command, *out], check=True, capture_output=True, text=True
    )
    assert process.stdout.count("record ") == 1
    assert process.stderr.count("iteration 3/3") == 1
    assert cli.main([*command, "--out", str(tmp_path / "one")]) == 0
    two, one = (run_record.read(tmp_path / name / "record.json") for name in ("two", "one"))
    assert (two.hardware.processes, one.hardware.processes) == (2, None)
    assert [e.outcomes for e in two.evaluations] == [e.outcomes for e in one.evaluations]
    assert two.training.decisions == one.training.decisions > 0
    assert two.movement.per_layer == pytest.approx(one.movement.per_layer, rel=1e-3)
    assert_close(tmp_path / "two", tmp_path / "one")
    # Any number of processes goes on with it, and shows what is there.
    assert cli.main([*command, *out]) == 0


@pytest.mark.slow
def test_a_mistake_is_told_by_one_process(tmp_path: Path) -> None:
    command = ["run", "keydoor", "--preset", "quick", "--layer", "99", "--out", str(tmp_path / "a")]
    process = subprocess.run(
        [*TORCHRUN, "-m", "layerbench", *command], check=False, capture_output=True, text=True
    )
    assert process.returncode != 0
    assert process.stderr.count("layer 99 is not in this model") == 1
    assert not (tmp_path / "a").exists()


def test_vllm_and_endpoints_are_for_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connected(_: object) -> "nullcontext[OneOf]":
        return nullcontext(OneOf(0, 2))

    monkeypatch.setattr(launch, "connected", connected)
    folder = RunFolder(tmp_path / "run")
    for setting, says in (
        ("model.backend=vllm", "vllm plays in one process: leave torchrun out"),
        ("model.name=openai:gpt", "is asked by one process: leave torchrun out"),
    ):
        settings = resolve.load("keydoor", [setting, "layers=none"], preset="quick")
        with pytest.raises(SettingsError, match=says):
            launch.launch(settings, folder, Start.CONTINUE, reporter=SilentReporter())
    assert not folder.path.exists()


def test_what_goes_by_itself_is_not_started_by_torchrun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_if_of_two(monkeypatch)
    assert cli.main(["sweep", "keydoor", "--layers", "0"]) == 2
    assert "leave torchrun out" in capsys.readouterr().err
