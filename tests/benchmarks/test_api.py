"""``layerbench`` as a library: its names, and runs from loops, threads and interrupted calls."""

import _thread
import asyncio
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import layerbench
from layerbench.benchmarks import api, cli
from layerbench.benchmarks.errors import RunFailedError, SettingsError
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_names import default_path
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.runs import resolve
from layerbench.envs.contract import ContractError
from layerbench.envs.spec import GENERIC_RULES
from layerbench.errors import UserError
from layerbench.rl import trainer
from tests.support import saved_model, sweep_example

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()

_OPTIONS = "settings=None, config=None, out=None, fresh=False, progress=True"
SURFACE = {
    "EnvSpec": "(*, env, name='', version=0, max_turns=30, counts_turns=False, rules=RULES, "
    "splits=..., tasks='', train_split='train', eval_splits=..., options=None, arguments=..., "
    "success_at=None, settings=..., presets=..., package='', gym_id='', source='', "
    "origin_options=..., standard_place=..., option_rules=...)",
    "Task": "(task_id, options=..., seed=0)",
    "Trainer": "(model, play, *, tasks, selection, settings, algorithm, seed, run_dir, "
    "processes=..., not_past=None)",
    "check_environment": "(env, *, options=None, tasks=8, max_turns=None, play=0, timeout_s=...)",
    "compare": "(a, b, *, phase=None)",
    "contributions": "(*paths)",
    "evaluate": f"(env, *, model=None, base_url=None, panel=None, preset=None, {_OPTIONS})",
    "load_records": "(*paths, as_dicts=False)",
    "make_env": "(name, *, max_turns=None, **options)",
    "run": "(env, *, layers=None, layer=None, algorithm=None, seed=None, preset=None, model=None, "
    f"panel=None, {_OPTIONS})",
    "sweep": "(env, *, layers='all', seeds=1, algorithm=None, preset=None, model=None, panel=None, "
    "settings=None, config=None, jobs=None, launcher='joblib', rates=None, force=False, "
    "progress=True)",
    "tune": "(env, *, layers='all', grid=None, algorithm=None, preset=None, model=None, "
    "settings=None, config=None, jobs=None, launcher='joblib', out=None, progress=True)",
}
"""All that a program may rely on: a change here breaks programs."""

WINS = {"none": 10, "full": 40, "1": 30, "2": 12}


def signature(offered: Callable[..., object]) -> str:
    def plain(parameter: inspect.Parameter) -> inspect.Parameter:
        # The repr of another object may have its address.
        simple = parameter.default is parameter.empty or isinstance(
            parameter.default, str | int | None
        )
        default = parameter.default if simple else ...
        return parameter.replace(annotation=parameter.empty, default=default)

    found = inspect.signature(offered)
    parameters = [plain(parameter) for parameter in found.parameters.values()]
    shown = found.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return str(shown).replace("=Ellipsis", "=...").replace(repr(GENERIC_RULES), "RULES")


def test_names_and_signatures_are_those_that_programs_rely_on() -> None:
    assert {n: signature(getattr(layerbench, n)) for n in layerbench.__all__} == SURFACE
    assert set(layerbench.__all__) <= set(dir(layerbench))
    with pytest.raises(AttributeError, match="has no attribute 'sweeps'"):
        layerbench.sweeps  # pyright: ignore # noqa: B018


def test_importing_the_package_loads_nothing_slow() -> None:
    code = "import sys, layerbench; print(*(m for m in sys.modules if '.' not in m))"
    imported = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    slow = {"torch", "transformers", "hydra", "gymnasium", "pandas", "numpy", "rich"}
    assert "layerbench" in imported
    assert not slow & set(imported)


def test_the_page_has_an_example_of_every_name() -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
    assert SURFACE.keys() <= sections.keys()
    for name in SURFACE:
        (example,) = re.findall(r"```python\n(.*?)```", sections[name], re.DOTALL)
        assert f"layerbench.{name}" in example


@pytest.mark.slow
def test_the_examples_of_the_page_run_as_they_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, example in enumerate(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)):
        exec(compile(example, f"example {number}", "exec"), {})
    assert "C is undefined" in capsys.readouterr().out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"))


def quick(model: Path, out: Path, *, iterations: int = 2, **more: Any) -> RunRecord:  # noqa: ANN401
    settings = {"train.iterations": iterations, "env.num_keys": 1, "env.workers": 0}
    return layerbench.run(
        "keydoor",
        layer=1,
        preset="quick",
        model=model,
        settings={**settings, **more.pop("settings", {})},
        out=out,
        **more,
    )


def test_a_run_is_that_of_the_command_and_read_once_it_is_finished(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = quick(model, tmp_path / "library", seed=3, progress=False)
    argv = ["run", "keydoor", "--layer", "1", "--preset", "quick", "--seed", "3", "--model"]
    argv += [str(model), "--out", str(tmp_path / "command"), "train.iterations=2"]
    assert cli.main([*argv, "env.num_keys=1", "env.workers=0"]) == 0
    assert made.comparable() == run_record.read(tmp_path / "command/record.json").comparable()
    monkeypatch.setattr("layerbench.benchmarks.runs.launch.launch", None)
    assert quick(model, tmp_path / "library", seed=3) == made
    assert quick(model, tmp_path / "command", seed=3).comparable() == made.comparable()
    assert "iteration 2/2" in (tmp_path / "library/run.log").read_text()


def test_a_run_leaves_the_process_as_it_was(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def process() -> tuple[object, ...]:
        handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        streams = [os.fstat(number).st_ino for number in (0, 1, 2)]
        return (
            *(handlers, streams, sys.stdout, sys.stderr, Path.cwd(), dict(os.environ)),
            *(torch.get_num_threads(), threading.active_count()),
        )

    # The first one imports what stays.
    quick(model, tmp_path / "first", progress=False)
    capfd.readouterr()
    torch.set_num_threads(2)
    before = process()
    quick(model, tmp_path / "second", progress=False)
    assert process() == before
    out, _ = capfd.readouterr()
    assert out == ""


def test_a_run_may_be_made_inside_an_event_loop_and_in_another_thread(
    model: Path, tmp_path: Path
) -> None:
    async def cell() -> RunRecord:
        return quick(model, tmp_path / "loop", progress=False)

    # In a thread, as other tests leave an event loop behind in this one.
    with ThreadPoolExecutor(1) as pool:
        in_loop = pool.submit(lambda: asyncio.run(cell())).result()
    made: list[RunRecord] = []
    thread = threading.Thread(
        target=lambda: made.append(quick(model, tmp_path / "thread", progress=True))
    )
    thread.start()
    thread.join()
    assert made[0].comparable() == in_loop.comparable()


def test_an_interrupted_run_goes_on_at_the_next_call(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = quick(model, tmp_path / "whole", iterations=4, progress=False)
    append = trainer.append_metrics

    def interrupt(path: Path, metrics: Any) -> None:  # noqa: ANN401
        append(path, metrics)
        if metrics.iteration == 2:
            # As a notebook does; the exception comes at one of the next instructions.
            _thread.interrupt_main()

    every = {"train.checkpoint_every": 1}
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "append_metrics", interrupt)
        with pytest.raises(KeyboardInterrupt):
            quick(model, tmp_path / "run", iterations=4, settings=every, progress=False)
    assert not (tmp_path / "run/record.json").exists()
    resumed = quick(model, tmp_path / "run", iterations=4, settings=every, progress=False)
    assert "going on after iteration" in (tmp_path / "run/run.log").read_text()
    assert resumed.selection == whole.selection
    assert [e.outcomes for e in resumed.evaluations] == [e.outcomes for e in whole.evaluations]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": 1, "layers": "2"}, "layer is 1 and layers is 2: give one of them"),
        ({"layers": [0, 9]}, "layer 9 is not in this model"),
        ({"preset": "qick"}, "preset cannot be 'qick': did you mean 'quick'?"),
        ({"settings": {"train.iteration": 1}}, "did you mean 'train.iterations'?"),
        ({"settings": {"train.iterations": "x"}}, "train.iterations must be a whole number"),
        ({"settings": {"env.eval_splits": ["a,b"]}}, r"env.eval_splits cannot be \['a,b'\]"),
        ({"seed": 1, "settings": {"seed": 2}}, "seed is given twice, as 2 and as 1"),
        ({"config": "missing.yaml"}, "missing.yaml cannot be read"),
    ],
)
def test_a_mistake_is_raised_and_leaves_nothing(
    model: Path, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        layerbench.run("keydoor", model=model, out=tmp_path / "run", **arguments)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_is_raised_in_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ContractError("keydoor gave no observation")

    monkeypatch.setattr("layerbench.benchmarks.runs.player.play_episodes", broken)
    with pytest.raises(RunFailedError, match=r"no observation \(see .*error\.log\)"):
        quick(model, tmp_path / "run", progress=False)


def test_an_evaluation_trains_nothing(model: Path, tmp_path: Path) -> None:
    record = layerbench.evaluate(
        "keydoor",
        model=model,
        preset="quick",
        settings={"env.workers": 0, "env.eval_splits": ["test"]},
        out=tmp_path / "run",
        progress=False,
    )
    assert {e.phase for e in record.evaluations} == {"base"}
    assert record.training.iterations == 0
    with pytest.raises(UserError, match=r"model\.base_url is where openai:NAME is asked"):
        layerbench.evaluate("keydoor", model=model, base_url="http://localhost:1/v1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": []}, "seeds ',' cannot be read"),
        ({"layers": [7]}, "layer 7 is not in this model: it has 2 layers, 0 to 1"),
        ({"launcher": "rya"}, "launcher cannot be 'rya': did you mean 'ray'?"),
        ({"settings": {"seed": 1}}, "seed of a sweep is chosen by --seeds"),
    ],
)
def test_a_mistake_in_a_sweep_is_raised(
    model: Path, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    settings = {"run_root": tmp_path / "runs", **arguments.pop("settings", {})}
    with pytest.raises(UserError, match=re.escape(message)):
        layerbench.sweep("keydoor", model=model, preset="quick", settings=settings, **arguments)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_failed_run_of_a_sweep_is_named_and_the_others_are_kept(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {"run_root": str(tmp_path), "env.num_keys": 1, "train.iterations": 1}
    typed = [f"{name}={value}" for name, value in settings.items()]
    config = resolve.load("keydoor", ["layers=1", f"model.name={model}", *typed], preset="quick")
    # The run's child process finds a folder where it has a file.
    in_the_way = RunFolder(default_path(config)).metrics / "kept"
    in_the_way.mkdir(parents=True)
    (in_the_way.parent.parent / "config.yaml").touch()

    def sweep() -> tuple[RunRecord, ...]:
        common: dict[str, Any] = {"model": model, "settings": settings, "progress": False}
        return layerbench.sweep("keydoor", layers=[1], preset="quick", jobs=2, **common)

    with pytest.raises(RunFailedError, match=r"1 of 3 runs failed: layer 1 seed 0: .*is a folder"):
        sweep()
    in_the_way.rmdir()
    assert [record.selection.name for record in sweep()] == ["none", "full", "1"]
    assert capfd.readouterr().out == ""


def test_records_are_rows_of_numbers_and_settings(tmp_path: Path) -> None:
    sweep_example.write_sweep(tmp_path, WINS)
    rows = layerbench.load_records(tmp_path, as_dicts=True)
    frame = layerbench.load_records(tmp_path)
    assert len(rows) == len(frame)
    assert list(frame.columns) == list(rows[0])
    for row in rows:
        record = run_record.read(Path(row["path"]))
        evaluation = record.evaluation(phase=row["phase"], split=row["split"])
        assert (row["won"], row["played"]) == (
            evaluation.count.successes,
            evaluation.count.planned,
        )
        assert row["success_low"] <= row["success"] <= row["success_high"]
        assert row["settings.train.iterations"] == record.settings["train"]["iterations"]
        assert row["settings.layers"] == record.settings["layers"]


def test_a_record_that_cannot_be_read_is_left_out_with_a_warning(tmp_path: Path) -> None:
    sweep_example.write_sweep(tmp_path, WINS)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/record.json").write_text("{}")
    with pytest.warns(UserWarning, match=r"damaged/record.json is left out: has schema None"):
        rows = layerbench.load_records(tmp_path, as_dicts=True)
    assert rows
    with pytest.raises(SettingsError, match="no folder given"):
        layerbench.load_records()
    with pytest.raises(SettingsError, match=r"is neither a folder nor a record\.json"):
        layerbench.load_records(tmp_path / "missing")


def test_without_pandas_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SettingsError, match=r"pip install 'layerbench\[pandas\]'"):
        layerbench.load_records(tmp_path)
    assert layerbench.load_records(tmp_path, as_dicts=True) == []


def test_contributions_are_those_of_the_leaderboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_example.write_sweep(tmp_path, WINS)
    rows = layerbench.contributions(tmp_path)
    assert cli.main(["leaderboard", str(tmp_path), "--format", "json"]) == 0
    boards = json.loads(capsys.readouterr().out)["boards"]
    expected = [(board["name"], row["selection"]) for board in boards for row in board["rows"]]
    assert [(row["table"], row["selection"]) for row in rows] == expected
    estimates = [row["contribution"]["estimate"] for board in boards for row in board["rows"]]
    assert [row["contribution"] for row in rows] == [e and e["value"] for e in estimates]
    assert any(estimates)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=r"there is no record\.json under"):
        layerbench.contributions(tmp_path / "empty")


def test_an_environment_is_made_by_its_name() -> None:
    env = layerbench.make_env("keydoor", num_keys=2, max_turns=1)
    observation, info = env.reset(seed=0)
    assert isinstance(observation, str)
    assert env.step(info["admissible_actions"][0])[3]
    with pytest.raises(UserError, match="no environment named 'keydor': did you mean 'keydoor'"):
        layerbench.make_env("keydor")
    with pytest.raises(UserError, match="no option of keydoor named 'keys'"):
        layerbench.make_env("keydoor", keys=2)
    with pytest.raises(UserError, match="a room has 1 to 3 keys, not 9"):
        layerbench.make_env("keydoor", num_keys=9)


def test_the_functions_are_those_of_the_module() -> None:
    assert layerbench.run is api.run


@pytest.mark.parametrize("call", [layerbench.run, layerbench.evaluate, layerbench.sweep])
@pytest.mark.parametrize("env", [layerbench.EnvSpec(env=dict), dict, Path("mine.py")])
def test_an_environment_that_other_processes_could_not_import_is_refused(
    call: Callable[..., object], env: object
) -> None:
    with pytest.raises(
        SettingsError, match=r"^env is .*, not text: give .*, module:NAME or a name"
    ):
        # Without the types that tests check.
        inspect.unwrap(call)(env)


def test_a_silent_run_draws_no_bar(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quick(model, tmp_path / "first", progress=False)
    assert "Loading weights" not in capfd.readouterr().err
