"""Runs on small panels: scored twice, refused where something differs, and written for others."""

import dataclasses
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

import layerbench
from layerbench.benchmarks import cli
from layerbench.benchmarks.config import panels
from layerbench.benchmarks.config.identity import identify
from layerbench.benchmarks.config.panels import Panel, Starts
from layerbench.benchmarks.records.comparability import games_by_split, tasks_digest
from layerbench.benchmarks.runs import panel_tasks, resolve
from layerbench.envs import registry
from layerbench.errors import UserError
from tests.support.shared_data import shared

QUICK = ("--preset", "quick")


def add_panel(
    patch: pytest.MonkeyPatch,
    *,
    env: str,
    split: str,
    tasks: int,
    max_turns: int,
    options: Mapping[str, Any] | None = None,
) -> Panel:
    """Add a panel of a few tasks, with the hashes that they have here."""
    draft = Panel(
        name="few",
        about="a few",
        env=env,
        split=split,
        tasks=tasks,
        tasks_sha256="",
        games="",
        starts=None,
        data="",
        max_turns=max_turns,
        temperature=1.0,
        episodes_per_task=1,
        options=options or {},
    )
    _put(patch, draft)
    config = resolve.load(draft.env, ["layers=none", "eval.panel=few"], preset="quick")
    listed = registry.list_tasks(
        registry.find(draft.env),
        split=draft.split,
        count=draft.tasks,
        seed=0,
        options=config.env.options,
    )
    identity = identify(config.env)
    measured = dataclasses.replace(
        draft,
        tasks_sha256=tasks_digest((task.task_id, 1) for task in listed),
        games=games_by_split(identity.source, identity.by_split or None, [split]),
        starts=Starts(2, panel_tasks.starts_digest(config.env, listed[:2])),
    )
    _put(patch, measured)
    return measured


def _put(patch: pytest.MonkeyPatch, panel: Panel) -> None:
    known = {**panels.panels(), panel.name: panel}
    patch.setattr(panels, "panels", lambda: known)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Panel:
    return add_panel(monkeypatch, env="keydoor", split="test", tasks=4, max_turns=6)


def result_of(run: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert cli.main(["result", str(run)]) == 0
    return capsys.readouterr().out


def without_times(text: str) -> str:
    data = json.loads(text)
    assert set(data.pop("times")) == {"started", "seconds"}
    return json.dumps(data, indent=1)


def score(out: Path, *typed: str, env: str = "keydoor") -> int:
    return cli.main(["eval", env, "--panel", "few", *QUICK, "--out", str(out), *typed])


def test_official_games_scored_twice_give_the_same_bytes_but_for_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with tarfile.open(shared("data", "alfworld", "fixtures12.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    data = tmp_path / "fixtures"
    monkeypatch.setenv("ALFWORLD_DATA", str(data))
    options = panels.find("alfworld-valid-seen").options
    panel = add_panel(
        monkeypatch, env="alfworld", split="train", tasks=3, max_turns=4, options=options
    )
    assert len(panel.games) == len("alfworld-") + 64
    typed = ("agent.context_mode=transcript", "eval.temperatures=1,0")
    for name in ("one", "two"):
        assert score(tmp_path / name, *typed, env="alfworld") == 0
    one, two = (result_of(tmp_path / name, capsys) for name in ("one", "two"))
    assert without_times(one) == without_times(two)
    scored = json.loads(one)
    assert scored["score"]["played"] == len(scored["tasks"]) == 3
    assert scored["model"]["name"] == "embedded"
    assert str(data) not in one
    # Another game under the same name is other data.
    game = next((data / "json_2.1.1" / "train").glob("*/*/game.tw-pddl"))
    game.write_text(json.dumps({**json.loads(game.read_text()), "comment": "edited"}))
    assert score(tmp_path / "three", env="alfworld") == 2
    told = capsys.readouterr().err
    assert f"the data should be {panel.games[: len('alfworld-') + 12]}, and is alfworld-" in told
    assert told.count("\n") == 1


def test_a_panel_is_scored_by_command_and_by_function(
    few: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(tmp_path / "run") == 0
    result = json.loads(result_of(tmp_path / "run", capsys))
    assert (result["phase"], result["algorithm"], result["temperature"]) == ("base", None, 1.0)
    assert result["panel"]["tasks_sha256"] == few.tasks_sha256
    assert len(result["tasks"]) == 4
    record = layerbench.evaluate(
        "keydoor", panel="few", preset="quick", out=tmp_path / "again", progress=False
    )
    assert [outcome.task_id for outcome in record.scored[0].outcomes] == [
        task for task, *_ in result["tasks"]
    ]
    # What was trained is the policy that a run scores.
    trained = layerbench.run(
        "keydoor", layer=1, panel="few", preset="quick", out=tmp_path / "trained", progress=False
    )
    assert trained.settings["eval"]["temperatures"] == [1.0, 0.0]
    result = json.loads(result_of(tmp_path / "trained", capsys))
    assert (result["phase"], result["algorithm"]) == ("final", "gigpo")
    assert cli.main(["leaderboard", "--check", str(tmp_path / "trained")]) == 0


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"tasks_sha256": "ab" * 32}, "the list of tasks should be abababababab, and is "),
        ({"starts": Starts(2, "cd" * 32)}, "what the tasks show at first should be cdcdcdcdcdcd"),
        ({"games": "keydoor-two"}, "the data should be keydoor-two, and is keydoor here: "),
    ],
)
def test_other_tasks_than_the_panels_are_refused_before_anything_is_played(
    fields: dict[str, Any],
    what: str,
    few: Panel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _put(monkeypatch, dataclasses.replace(few, **fields))
    assert score(tmp_path / "run") == 2
    assert what in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_result_is_written_in_the_forms_of_others(
    few: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert score(run) == 0
    result = json.loads(result_of(run, capsys))
    rate, (low, high) = result["score"]["rate"], result["score"]["interval"]

    assert cli.main(["result", str(run), "--format", "model-index"]) == 0
    [model] = yaml.safe_load(capsys.readouterr().out)["model-index"]
    [shown] = model["results"]
    assert shown["dataset"]["args"]["tasks_sha256"] == few.tasks_sha256
    [metric] = shown["metrics"]
    assert metric["value"] == pytest.approx(rate, abs=1e-4)
    assert metric["args"]["interval_95"] == pytest.approx([low, high], abs=1e-4)

    out = tmp_path / "few.yaml"
    usual = ["result", str(run), "--format", "eval-results", "--out", str(out)]
    assert cli.main(usual) == 2
    assert "--benchmark OWNER/NAME" in capsys.readouterr().err
    assert cli.main([*usual, "--benchmark", "owner/bench"]) == 0
    [entry] = parse_eval_result_entries(yaml.safe_load(out.read_text()))
    assert (entry.dataset_id, entry.task_id) == ("owner/bench", "few")
    assert f"interval {low:.3f} to {high:.3f}" in (entry.notes or "")

    out = tmp_path / "eee.json"
    assert cli.main(["result", str(run), "--format", "every-eval-ever", "--out", str(out)]) == 0
    shared_form = json.loads(out.read_text())
    [scored] = shared_form["evaluation_results"]
    assert scored["score_details"]["score"] == rate
    interval = scored["score_details"]["uncertainty"]["confidence_interval"]
    assert (interval["lower"], interval["upper"]) == (low, high)
    details = [shared_form["model_info"], scored["source_data"], shared_form["eval_library"]]
    assert all(isinstance(v, str) for d in details for v in d["additional_details"].values())


def test_what_is_no_result_of_a_panel_is_refused(
    few: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["result", str(tmp_path)]) == 2
    assert "holds no finished run" in capsys.readouterr().err
    assert cli.main(["eval", "keydoor", *QUICK, "--out", str(tmp_path / "plain")]) == 0
    assert cli.main(["result", str(tmp_path / "plain")]) == 2
    assert "was not scored on a panel" in capsys.readouterr().err
    # A record that says so, and played others.
    assert score(tmp_path / "run") == 0
    record = tmp_path / "run" / "record.json"
    forged = json.loads(record.read_text())
    forged["evaluations"][0]["outcomes"][0]["task_id"] = "another"
    record.write_text(json.dumps(forged))
    assert cli.main(["result", str(tmp_path / "run")]) == 2
    assert "its tasks are not the panel's" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["alfworld-gen-permuted-seen", "alfworld-gen-permuted-unseen", "math-gen-test"]
)
def test_the_generators_make_the_tasks_of_the_panels(name: str) -> None:
    check(panels.find(name), [])


def test_the_published_games_are_those_of_the_panel(tmp_path: Path) -> None:
    archive = shared("data", "alfworld", "json_2.1.2_tw-pddl-train-valid_seen.tar.xz")
    with tarfile.open(archive) as opened:
        members = [member for member in opened if "/valid_seen/" in member.name]
        opened.extractall(tmp_path, members, filter="data")
    check(panels.find("alfworld-valid-seen"), [f"env.data_dir={tmp_path}"])
    with pytest.raises(UserError, match="split 'valid_unseen' is missing"):
        check(panels.find("alfworld-valid-unseen"), [f"env.data_dir={tmp_path}"])


def test_the_published_products_give_the_goals_of_the_panel(tmp_path: Path) -> None:
    for name in ("items_shuffle_1000.json", "items_ins_v2_1000.json"):
        (tmp_path / name).symlink_to(shared("data", "webshop", name))
    nouns = "product_nouns.json"
    (tmp_path / nouns).symlink_to(shared("data", "oracles", "webshop", nouns))
    check(panels.find("webshop-small-test"), [f"env.data_dir={tmp_path}"])


def check(panel: Panel, typed: list[str]) -> None:
    """List the tasks of a panel as a run does, and compare them with it."""
    config = resolve.load(panel.env, ["layers=none", f"eval.panel={panel.name}", *typed])
    tasks = registry.list_tasks(
        registry.find(panel.env),
        split=panel.split,
        count=panel.tasks,
        seed=0,
        options=config.env.options,
    )
    panel_tasks.check(config, identify(config.env), tasks)
