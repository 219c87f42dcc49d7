from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from tests.benchmarks.html.conftest import Open
from tests.benchmarks.html.test_episodes_page import NASTY, episode, record, turn, written

# A busy machine starts a browser slowly.
pytestmark = pytest.mark.timeout(180)


def sides(root: Path, words: str = "a hall") -> list[str]:
    """A run that wins task 1 of 4 before training and 0 to 2 after it, as its record says."""
    before = [episode(f"task-{n}", turn(words), success=n == 1) for n in range(4)]
    after = [
        episode(f"task-{n}", turn(words), turn("a door", reward=1.0), success=n < 3)
        for n in range(4)
    ]
    written(root / "run", record(), ("base", before), ("final", after))
    return ["compare", str(root / "run"), str(root / "run"), "--phase", "base,final"]


def page(root: Path, words: str = "a hall") -> Path:
    out = root / "compared.html"
    asked = [*sides(root, words), "--equivalent-within", "0.1", "--format", "html"]
    assert cli.main([*asked, "--out", str(out)]) == 0
    return out


def test_flipped_tasks_have_their_episodes_side_by_side(tmp_path: Path, open_page: Open) -> None:
    shown = open_page(page(tmp_path)).page
    titles = shown.locator("main section h2").all_inner_texts()
    assert titles == [
        "seen: 2 tasks on which B did better",
        "seen: 0 tasks on which A did better",
    ]
    flipped = shown.locator(".tasks > li").first
    flipped.locator("summary").click()
    first, second = flipped.locator(".sides > div").all()
    assert first.locator(".badge").first.inner_text() == "lost"
    assert second.locator(".badge").first.inner_text() == "won"
    assert second.locator("li").count() == 2
    assert "reward 1" in second.inner_text()
    assert "B is not shown to be within 0.1 of A" in shown.locator("main").inner_text()


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_narrow_on_a_phone(tmp_path: Path, open_page: Open, dark: bool) -> None:
    shown = open_page(page(tmp_path), width=360, dark=dark).page
    shown.locator(".tasks summary").first.click()
    assert shown.evaluate("document.documentElement.scrollWidth") == 360
    first, second = (each.bounding_box() for each in shown.locator(".sides > div").all()[:2])
    assert first is not None
    assert second is not None
    assert second["y"] >= first["y"] + first["height"]


def test_what_episodes_say_is_text(tmp_path: Path, open_page: Open) -> None:
    shown = open_page(page(tmp_path, NASTY)).page
    shown.locator(".tasks summary").first.click()
    assert shown.locator(".said").first.inner_text() == NASTY
    assert shown.evaluate("window.pwned") is None


def test_runs_without_episodes_say_so(tmp_path: Path, open_page: Open) -> None:
    asked = sides(tmp_path)
    (tmp_path / "run/episodes.parquet").unlink()
    out = tmp_path / "compared.html"
    assert cli.main([*asked, "--format", "html", "--out", str(out)]) == 0
    text = open_page(out).page.locator("main").inner_text()
    assert "A: no episodes.parquet lies beside" in text


def test_a_damaged_table_of_episodes_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = sides(tmp_path)
    (tmp_path / "run/episodes.parquet").write_bytes(b"PAR1")
    capsys.readouterr()
    assert cli.main([*asked, "--format", "html"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
