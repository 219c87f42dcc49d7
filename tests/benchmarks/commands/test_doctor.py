import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from layerbench.benchmarks import cli
from layerbench.benchmarks.commands import doctor_probes, doctor_threads
from layerbench.benchmarks.commands.doctor_probes import State


def test_everything_that_is_needed_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "json_2.1.1" / "valid_seen").mkdir(parents=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "file").write_bytes(b"0" * 2_000_000)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["broken"] == 0
    found = {f["name"]: f for name, group in report.items() if name != "broken" for f in group}
    assert found["ALFWorld's games"]["found"] == f"valid_seen in {tmp_path}/data/json_2.1.1"
    assert found["embedded models"]["found"] == ("embedded, embedded-keydoor, embedded-any")
    assert found["torch"]["state"] == "ok"
    assert {f["name"] for f in report["extras"]} == set(doctor_probes.EXTRAS)
    cache = [f["found"] for f in report["data"] if f["name"] == "cache"]
    assert cache == [f"{tmp_path}/cache, 2 MB in 1 files"]
    # Nothing is left behind.
    assert not (tmp_path / "runs").exists()


def test_a_broken_package_and_a_missing_extra_hide_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.13 is not there')")
    (tmp_path / "peft.py").write_text("")
    # What stands first on the path shadows the installed package, in a process of its own.
    path = os.pathsep.join((str(tmp_path), *filter(None, sys.path)))
    done = subprocess.run(
        [sys.executable, "-m", "layerbench", "doctor"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "broken torch OSError: libcudart.so.13 is not there" in lines
    assert any(line.startswith("ok python ") for line in lines)
    assert any(line.startswith("ok layerbench ") for line in lines)
    assert any(line.startswith("ok runs runs can be written, ") for line in lines)
    assert "Traceback" not in done.stderr


def test_a_missing_extra_names_the_command_that_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    extras = {**doctor_probes.EXTRAS, "lora": ("no_such_module.inner",)}
    monkeypatch.setattr(doctor_probes, "EXTRAS", extras)
    report = doctor_probes.examine(Path("runs"))
    lora = next(f for heading, f in report if (heading, f.name) == ("extras", "lora"))
    assert (lora.state, lora.advice) == (State.MISSING, "pip install 'layerbench[lora]'")


def test_extras_are_those_of_the_package() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert set(doctor_probes.EXTRAS) == set(extras) - {"dev"}


def test_a_folder_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path / "file" / "cache"))
    report = doctor_probes.examine(tmp_path / "runs")
    cache = next(f for heading, f in report if (heading, f.name) == ("folders", "cache"))
    assert cache.state is not State.OK
    assert "cannot be written" in cache.found


@pytest.mark.parametrize(
    ("ratio", "says"), [(1.9, "model.threads=2 may pay for embedded"), (1.2, "one is best")]
)
def test_it_says_what_threads_bring(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ratio: float, says: str
) -> None:
    monkeypatch.setattr(doctor_probes, "_usable", lambda: 2)

    def speedups(_threads: int) -> dict[str, float]:
        return {"embedded": ratio}

    monkeypatch.setattr(doctor_threads, "speedups", speedups)
    report = doctor_probes.examine(tmp_path)
    threads = next(finding for _, finding in report if finding.name == "threads")
    found = f"work of 2 to that of one: {ratio:.1f} at embedded's width: {says}"
    assert (threads.state, threads.found) == (State.OK, found)


def test_threads_are_measured_and_put_back() -> None:
    before = torch.get_num_threads()
    ratios = doctor_threads.speedups(2)
    assert ratios.keys() == doctor_threads.WIDTHS.keys()
    assert all(ratio > 0 for ratio in ratios.values())
    assert torch.get_num_threads() == before
