import dataclasses
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page

from layerbench.agents.types import ContextMode, Response, StopReason, Trajectory, Turn
from layerbench.benchmarks import cli
from layerbench.benchmarks.records import episodes, json_codec
from layerbench.benchmarks.records.record_sections import EvaluationKey
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.envs.types import Observation
from tests.benchmarks.html.conftest import Open
from tests.benchmarks.html.test_turn_scores import ALGORITHM
from tests.support.record_example import example

# A busy machine starts a browser slowly.
pytestmark = pytest.mark.timeout(180)

NASTY = "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>\"'{{ 7*7 }}"


def record(model: str = "tiny") -> RunRecord:
    whole = example()
    return dataclasses.replace(
        whole,
        settings={**whole.settings, "algorithm": ALGORITHM},
        model=dataclasses.replace(whole.model, name=model),
    )


def turn(text: str, *, action: str | None = "look", reward: float = 0.0) -> Turn:
    return Turn(
        observation=Observation(text, ("look", "take key"), anchor=f"{text} [hall]"),
        response=Response((1,), (2,), (0.0,), ((2,),), action or f"hm {text}"),
        action=action,
        valid=action is not None,
        reward=reward,
    )


def episode(
    task: str, *turns: Turn, success: bool = False, kind: str = "open", error: str = ""
) -> Trajectory:
    return Trajectory(
        task_id=task,
        task_type=kind,
        seed=0,
        context=ContextMode.TRANSCRIPT,
        turns=turns,
        stop=StopReason.ERROR if error else StopReason.TERMINATED,
        success=success,
        error=error,
    )


def written(folder: Path, record: RunRecord, *parts: tuple[str, list[Trajectory]]) -> Path:
    """Write a finished run's folder, and its page."""
    folder.mkdir(exist_ok=True)
    json_codec.write(folder / "record.json", record)
    for number, (phase, played) in enumerate(parts):
        key = EvaluationKey(phase, "seen", 1.0)
        episodes.write(folder / f"{number}.parquet", played, key)
    tables = [folder / f"{number}.parquet" for number in range(len(parts))]
    episodes.merge(folder / "episodes.parquet", tables)
    assert cli.main(["view", str(folder)]) == 0
    return folder / "episodes.html"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    won = episode("task-0", turn("a hall"), turn("a door", reward=1.0), success=True)
    lost = episode("task-0", turn("a hall", action=None))
    broken = episode("task-1", kind="look", error="no such game")
    return written(tmp_path / "run", record(), ("base", [lost, broken]), ("final", [won, lost]))


def shown(page: Page) -> list[str]:
    return [item.inner_text() for item in page.locator("#episodes > li:visible").all()]


def choose(page: Page, name: str, label: str) -> str:
    """Set a filter, and read what the page says about it."""
    page.get_by_label(name).select_option(label=label)
    return page.locator("#shown").inner_text()


def unfold(page: Page, place: int) -> Locator:
    """Open an episode, and wait for its turns."""
    page.locator(f"#episode-{place} > summary").click()
    page.locator(f"#episode-{place} .turns > *").wait_for()
    return page.locator(f"#episode-{place}")


def test_filters_choose_episodes(plain: Path, open_page: Open) -> None:
    page = open_page(plain).page
    assert page.locator("#shown").inner_text() == "4 of 4 episodes, 1 won"
    assert choose(page, "Phase", "final") == "2 of 4 episodes, 1 won"
    assert choose(page, "Result", "lost") == "1 of 4 episodes, 0 won"
    assert choose(page, "Phase", "all") == "2 of 4 episodes, 0 won"
    assert choose(page, "Result", "failed") == "1 of 4 episodes, 0 won"
    assert "task-1" in shown(page)[0]
    assert choose(page, "Task type", "open") == "0 of 4 episodes, 0 won"
    assert page.get_by_text("No episode passes these filters").is_visible()
    assert choose(page, "Split", "seen") == "0 of 4 episodes, 0 won"


def test_an_opened_episode_shows_its_turns(plain: Path, open_page: Open) -> None:
    page = open_page(plain).page
    first, second = unfold(page, 2).locator(".turn").all()
    assert "a hall" in first.inner_text()
    # Scaled reward 10, discount 0.5; the other episode of the task in this phase scored 0.
    assert first.locator("dl").inner_text().split("\n") == [
        *("reward", "0", "return", "5.00", "advantage", "+7.50"),
        *("episode part", "+5.00", "step part", "+2.50", "anchor group", "1, 2 turns", "… [hall]"),
    ]
    assert second.locator("dl").inner_text().split("\n")[:4] == ["reward", "1", "return", "10.00"]
    second.get_by_text("2 admissible actions").click()
    assert second.locator(".admissible li").all_inner_texts() == ["look", "take key"]
    assert second.locator(".admissible li[aria-current]").inner_text() == "look"


def test_what_could_not_be_read_or_played_is_said(plain: Path, open_page: Open) -> None:
    page = open_page(plain).page
    text = unfold(page, 0).inner_text()
    assert "hm a hall" in text
    assert "none could be read" in text
    text = unfold(page, 1).inner_text()
    assert "The environment broke: no such game" in text
    assert "No turn was played." in text


def test_a_link_opens_its_episode(plain: Path, open_page: Open) -> None:
    page = open_page(plain, part="#episode-3").page
    page.locator("#episode-3 .turn").wait_for()


def test_keys_suffice(plain: Path, open_page: Open) -> None:
    page = open_page(plain).page
    for _ in range(9):  # the skip link, the theme, five filters, the note, the first episode
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#episode-0 .turn").wait_for()


def test_foreign_text_is_only_text(tmp_path: Path, open_page: Open) -> None:
    nasty = dataclasses.replace(
        turn(NASTY, action=NASTY),
        observation=Observation(NASTY, (NASTY, "look"), anchor=f"at {NASTY}"),
    )
    played = [
        episode(NASTY, nasty, kind=NASTY),
        episode(NASTY, dataclasses.replace(nasty, action="look"), kind=NASTY, error=NASTY),
    ]
    folder = tmp_path / "<img src=x>"
    page = open_page(written(folder, record(NASTY), ("base", played))).page
    for place in range(2):
        unfold(page, place).locator(".turn details summary").click()
    assert choose(page, "Task type", NASTY) == "2 of 2 episodes, 0 won"
    assert page.evaluate("window.pwned") is None
    assert page.locator("img").count() == 0
    # Theme and list, and the page's data.
    assert page.locator("script").count() == 3
    text = page.locator("body").inner_text()
    # Model; task, task type, observation, anchor, response, action and two choices; error.
    assert text.count(NASTY) >= 12
    assert "<img src=x>" in text
    assert "49" not in text


def test_a_script_that_got_in_could_not_run(plain: Path, open_page: Open) -> None:
    opened = open_page(plain)
    failures: list[str | None] = []
    opened.page.on("requestfailed", lambda request: failures.append(request.failure))
    opened.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.pwned = 1'}))"
    )
    opened.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend',"
        ' \'<img src="http://example.invalid/x.png" onerror="window.pwned = 1">\')'
    )
    opened.page.wait_for_timeout(200)
    assert opened.requests.pop() == "http://example.invalid/x.png"
    assert failures == ["csp"]
    assert opened.page.evaluate("window.pwned") is None
    assert len(opened.complaints) == 3  # script, image, its handler
    assert all("Content Security Policy" in complaint for complaint in opened.complaints)
    opened.complaints.clear()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out(plain: Path, open_page: Open, width: int) -> None:
    page = open_page(plain, width=width).page
    for place in range(4):
        unfold(page, place)
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize(("dark", "names"), [(True, ("Light", "Dark")), (False, ("Dark", "Light"))])
def test_the_theme_button_says_what_it_will_do(
    plain: Path, open_page: Open, dark: bool, names: tuple[str, str]
) -> None:
    page = open_page(plain, dark=dark).page
    # The page starts as the system has it.
    first, second = (page.get_by_role("button", name=f"{name} theme") for name in names)
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    assert (before == "rgb(255, 255, 255)") == (not dark)
    first.click()
    assert page.evaluate(background) != before
    second.click()
    assert page.evaluate(background) == before
    assert first.count() == 1


def test_a_folder_without_a_finished_run_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["view", str(tmp_path)]) == 2
    assert "has no record.json: name the folder of a finished run" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_a_mistake(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nowhere" / "page.html"
    assert cli.main(["view", str(plain.parent), "--out", str(out)]) == 2
    assert "cannot be written: No such file" in capsys.readouterr().err
