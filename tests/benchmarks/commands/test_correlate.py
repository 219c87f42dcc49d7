from dataclasses import replace
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from tests.support.leaderboard_example import first, run, write, write_sweep


def test_matrix_has_rho_above_and_tau_below_the_diagonal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path / "a")
    # Layers 0, 1, 3 in the order 6, 10, 8 there, and 6, 8, 10 here: ranks 1 3 2 and 1 2 3:
    # rho = 1 - 6 * 2 / (3 * 8) = 0.5; two of three pairs agree: tau = (2 - 1) / 3.
    for seed in range(2):
        for selection, won in {"full": 12, "0": 6, "1": 8, "3": 10}.items():
            record = run(selection, seed, base=first(4), final=first(won))
            write(tmp_path / "b", replace(record, algorithm="grpo"))
    assert cli.main(["correlate", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f" 1  {tmp_path}/a"
    assert lines[2] == "    model tiny ab (4 layers)  gigpo  preset quick  rates unknown"
    assert lines[6] == "    model tiny ab (4 layers)  grpo  preset quick  rates unknown"
    first_row = next(line for line in lines if line.startswith("1  1"))
    second_row = next(line for line in lines if line.startswith("2  +"))
    assert not any("base weights" in line for line in lines)
    assert "+0.50 " in first_row
    assert first_row.endswith("(3)")
    assert second_row.startswith("2  +0.33 ")


def test_sweeps_of_other_base_weights_are_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path / "a")
    for seed in range(2):
        for selection, won in {"full": 12, "0": 6, "1": 8, "3": 10}.items():
            record = run(selection, seed, base=first(4), final=first(won))
            model = replace(record.model, weights_sha256="cd" * 32)
            write(tmp_path / "b", replace(record, model=model))
    assert cli.main(["correlate", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "base weights differ: 1 of ab; 2 of cdcdcdcd: a corr" in capsys.readouterr().out


def test_one_sweep_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path / "a", seeds=1)
    write(tmp_path / "b", run("1", 0, base=first(4), final=first(8)))
    assert cli.main(["correlate", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert capsys.readouterr() == (
        "",
        "layerbench: a correlation needs two sweeps of at least 3 layers trained alone, found 1\n",
    )


def test_what_is_left_out_or_the_same_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path / "a")
    write_sweep(tmp_path / "b")
    broken = sorted((tmp_path / "b").glob("*/record.json"))[0]
    broken.write_text("{")
    assert cli.main(["correlate", *[str(tmp_path / name) for name in ("a", "a", "b")]]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 and 2 are the same results: their correlation says nothing" in shown
    assert "1 and 3 are the same" not in shown
    assert f"broken, skipped: {broken}" in shown
