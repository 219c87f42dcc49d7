import os
import subprocess
import sys
from pathlib import Path

import pytest

from layerbench.benchmarks import cli

pytest.importorskip("argcomplete")


def completions(line: str, tmp_path: Path) -> list[str]:
    """Ask as bash does: its script sets these variables, and reads file descriptor 8."""
    answer = tmp_path / "answer"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n\"'><;|&(:",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    subprocess.run(
        [sys.executable, "-m", "layerbench"], env=environment, check=False, capture_output=True
    )
    return [word.strip() for word in answer.read_text().split("\n") if word.strip()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("layerbench swe", ["sweep"]),
        ("layerbench run key", ["keydoor"]),
        ("layerbench run keydoor --preset q", ["quick", "quick-generate"]),
        ("layerbench run keydoor --algorithm gr", ["grpo"]),
        ("layerbench run alfworld train.iter", ["train.iterations="]),
        ("layerbench run alfworld env.diff", ["env.difficulty="]),
        ("layerbench run keydoor --layer 1 agent.action_mode=ch", ["agent.action_mode=choose"]),
        ("layerbench run keydoor --conf", ["--config"]),
    ],
)
def test_a_word_is_completed(line: str, expected: list[str], tmp_path: Path) -> None:
    assert completions(line, tmp_path) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    assert "layerbench" in capsys.readouterr().out
    assert cli.main(["completion", "csh"]) == 2
