import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page

from layerbench.benchmarks import cli, html
from tests.benchmarks.html.conftest import Open, Opened
from tests.benchmarks.html.test_episodes_page import NASTY
from tests.support import synthetic_sweep
from tests.support.synthetic_sweep import Sweep

# A busy machine starts a browser slowly.
pytestmark = pytest.mark.timeout(300)


def make(runs: Path, page: Path) -> Path:
    assert cli.main(["leaderboard", str(runs), "--format", "html", "--out", str(page)]) == 0
    return page


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Page of three tables: two algorithms for one model, and another model."""
    root = tmp_path_factory.mktemp("board")
    layers = ["0", "3", "6", "9", "11", "4,5"]
    synthetic_sweep.write(root / "runs/gigpo", Sweep(layers))
    synthetic_sweep.write(root / "runs/grpo", Sweep(layers[:4], algorithm="grpo"))
    synthetic_sweep.write(
        root / "runs/large", Sweep(["0", "8"], model="large", num_layers=16, seeds=(0,))
    )
    run = root / "runs/gigpo/keydoor-tiny-3-gigpo-seed1"
    (run / "episodes.html").write_text("the episodes")
    broken = root / "runs/broken/record.json"
    broken.parent.mkdir()
    broken.write_text("{")
    unfinished = root / "runs/unfinished/config.yaml"
    unfinished.parent.mkdir()
    unfinished.touch()
    shutil.copytree(run, root / "runs/copy")
    return make(root / "runs", root / "pages.html")


def section(page: Page, title: str) -> str:
    """Give the selector of a table's section."""
    id_ = page.locator("section.board", has_text=title).first.get_attribute("id")
    return f"#{id_}"


def charts(opened: Opened, selector: str = "") -> list[str]:
    """Scroll through the page until all charts are drawn; say which there are."""
    for place in opened.page.locator(f"{selector} .draw:visible").all():
        place.scroll_into_view_if_needed()
        place.locator("svg").wait_for()
    return [
        str(p.get_attribute("data-form")) for p in opened.page.locator(f"{selector} .draw").all()
    ]


def test_every_table_is_drawn(board: Path, open_page: Open) -> None:
    opened = open_page(board)
    assert opened.page.locator("section.board").count() == 3
    drawn = charts(opened)
    assert sorted(drawn) == ["correlations"] + ["curves"] * 3 + ["layers"] * 3 + ["movement"] * 3
    # Five layers alone, each with its interval; two lines.
    chart = opened.page.locator(f"{section(opened.page, 'tiny, gigpo')} [data-form=layers]")
    assert chart.locator(".role-mark.mark-rule line").count() == 5
    assert chart.locator(".role-mark.mark-line path").count() == 2
    assert chart.locator(".role-mark.mark-symbol path").count() == 5


def test_filters_choose_tables(board: Path, open_page: Open) -> None:
    page = open_page(board).page
    shown = page.locator("#shown")
    assert shown.inner_text() == "3 of 3 tables"
    page.get_by_label("Model").select_option(label="tiny")
    assert shown.inner_text() == "2 of 3 tables"
    page.get_by_label("Algorithm").select_option(label="grpo")
    assert shown.inner_text() == "1 of 3 tables"
    [title] = page.locator("section.board:visible h2").all_inner_texts()
    assert title == "keydoor-v0 (keydoor), seen: tiny, grpo"
    assert page.locator("[aria-labelledby=overview] tbody tr:visible").count() == 1
    page.get_by_label("Model").select_option(label="large")
    assert shown.inner_text() == "0 of 3 tables"
    assert page.get_by_text("No table passes these filters").is_visible()
    for name in ("Model", "Algorithm", "Environment", "Split"):
        page.get_by_label(name).select_option(label="all")
    assert shown.inner_text() == "3 of 3 tables"


def test_a_row_has_its_numbers_and_leads_to_its_records(board: Path, open_page: Open) -> None:
    page = open_page(board).page
    here = section(page, "tiny, gigpo")
    row = page.locator(f"{here}-selections tbody tr", has=page.get_by_role("rowheader", name="3"))
    rate, counts, low, _, high = row.locator("td").first.inner_text().split()
    won, played = (int(number) for number in counts.strip("()").split("/"))
    assert (rate, played) == (f"{won / 96:.2f}", 96)
    assert float(low) < won / 96 < float(high)
    row.get_by_role("link", name="3, to the records of 3").click()
    records = page.locator(f"{here}-runs tbody:target tr")
    assert records.count() == 3
    assert records.first.is_visible()
    counted = records.locator(".counts").all_inner_texts()
    assert sum(int(text.strip("()").split("/")[0]) for text in counted) == won
    paths = records.locator(".path").all_inner_texts()
    assert [Path(path).is_file() for path in paths] == [True] * 3
    recorded = [json.loads(Path(path).read_text()) for path in paths]
    assert [record["seed"] for record in recorded] == [0, 1, 2]


def test_contrasts_over_depth_stand_below_the_thirds(board: Path, open_page: Open) -> None:
    page = open_page(board).page
    notes = page.locator(f"{section(page, 'tiny, gigpo')} p.note").all_inner_texts()
    assert any(note.startswith("over depth: slope ") for note in notes)
    assert any("corrected for having been picked" in note for note in notes)
    # Two layers alone.
    notes = page.locator(f"{section(page, 'large')} p.note").all_inner_texts()
    assert not any(note.startswith("over depth") for note in notes)


def test_a_run_with_a_page_of_episodes_is_linked(board: Path, open_page: Open) -> None:
    page = open_page(board).page
    [link] = page.locator("a", has_text="open").all()
    assert link.get_attribute("aria-label") == "Episodes of 3, seed 1"
    target = board.parent / str(link.get_attribute("href"))
    assert target.read_text() == "the episodes"


def test_numbers_of_the_curves_are_those_of_the_metrics(board: Path, open_page: Open) -> None:
    page = open_page(board).page
    here = section(page, "large, gigpo")
    page.get_by_text("Numbers of the training curves").and_(page.locator(f"{here} summary")).click()
    table = page.locator(f"{here}-curves table")
    table.wait_for()
    heads = table.locator("thead th").all_inner_texts()
    assert heads == ["Iteration", "full", "0", "8"]
    last = table.locator("tbody tr").last.locator("th, td").all_inner_texts()
    path = board.parent / "runs/large/keydoor-large-8-gigpo-seed0/metrics.jsonl"
    metrics = [json.loads(line) for line in path.read_text().splitlines()]
    assert last[0] == "9"
    assert float(last[3]) == pytest.approx(metrics[-1]["success"], abs=0.005)


def test_what_is_in_no_table_is_listed(board: Path, open_page: Open) -> None:
    page = open_page(board).page
    listed = page.locator(".left-out li").all_inner_texts()
    assert len(listed) == 3
    assert "broken" in listed[0]
    assert "is not JSON" in listed[0]
    assert "unfinished" in listed[1]
    assert "duplicate" in listed[2]


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out(board: Path, open_page: Open, width: int) -> None:
    opened = open_page(board, width=width)
    charts(opened)
    for summary in opened.page.locator("summary").all():
        summary.click()
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    # What is wider than the screen scrolls by itself, and can be reached by keys.
    regions = opened.page.locator(".scroll")
    assert all(region.get_attribute("tabindex") == "0" for region in regions.all())


def test_captions_are_in_sight_on_a_phone_however_far_a_table_is_scrolled(
    board: Path, open_page: Open
) -> None:
    page = open_page(board, width=390).page
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    for scrolled in (0, 150):
        page.evaluate(
            "x => document.querySelectorAll('.scroll').forEach(s => { s.scrollLeft = x; })",
            scrolled,
        )
        edges = page.evaluate(
            "[...document.querySelectorAll('caption')].map(c => c.getBoundingClientRect())"
            ".filter(r => r.width).map(r => [r.left, r.right])"
        )
        assert edges
        assert all(left >= 0 and right <= 390 for left, right in edges), scrolled


def test_charts_follow_the_theme(board: Path, open_page: Open) -> None:
    opened = open_page(board, dark=True)
    charts(opened, "section.board")
    axis = opened.page.locator("[data-form=layers] .role-axis-label text").first
    dark = axis.get_attribute("fill")
    opened.page.get_by_role("button", name="Light theme").click()
    opened.page.wait_for_function(
        "dark => document.querySelector('[data-form=layers] .role-axis-label text')"
        "?.getAttribute('fill') !== dark",
        arg=dark,
    )


def test_a_point_says_what_it_is(board: Path, open_page: Open) -> None:
    opened = open_page(board)
    here = section(opened.page, "tiny, gigpo")
    charts(opened, here)
    opened.page.locator(f"{here} [data-form=layers] .mark-symbol path").last.hover(force=True)
    tip = opened.page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert "verdict" in tip.inner_text()


def test_readers_of_the_screen_are_told_everything(board: Path, open_page: Open) -> None:
    page = open_page(board).page
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    for table in page.locator("table").all():
        assert table.locator("caption").count() == 1
        assert table.locator("th:not([scope])").count() == 0
    for chart in page.locator(".draw").all():
        assert str(chart.get_attribute("aria-label")).startswith("Chart: ")
    ids: list[str] = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    for label in page.locator("label").all():
        assert page.locator(f"#{label.get_attribute('for')}").count() == 1


def test_keys_reach_the_filters_first(board: Path, open_page: Open) -> None:
    page = open_page(board).page
    focused = "document.activeElement.id || document.activeElement.className"
    order: list[str] = []
    for _ in range(6):
        page.keyboard.press("Tab")
        order.append(page.evaluate(focused))
    assert order[:2] == ["skip", "theme"]
    assert order[2:] == ["filter-env", "filter-split", "filter-model", "filter-algorithm"]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_foreign_text_is_only_text(tmp_path: Path, open_page: Open) -> None:
    nasty = Sweep(
        ["0", "1", "2"],
        seeds=(0,),
        num_layers=4,
        env=NASTY,
        model=NASTY,
        algorithm=NASTY,
        splits=(NASTY,),
        types=(NASTY, "a", "b", "c"),
    )
    synthetic_sweep.write(tmp_path / "runs", nasty)
    synthetic_sweep.write(tmp_path / "others", Sweep(["0", "1", "2"], seeds=(0,), num_layers=4))
    (tmp_path / "runs/<img src=x>").mkdir()
    (tmp_path / "runs/<img src=x>/record.json").write_text(NASTY)
    opened = open_page(make(tmp_path, tmp_path / "page.html"))
    charts(opened)
    page = opened.page
    page.locator("[data-form=layers] .mark-symbol path").last.hover(force=True)
    page.locator("#vg-tooltip-element.visible").wait_for()
    for summary in page.locator("summary").all():
        summary.click()
    page.get_by_label("Model").select_option(label=NASTY)
    assert page.locator("#shown").inner_text() == "1 of 2 tables"
    assert page.evaluate("window.pwned") is None
    assert page.locator("img").count() == 0
    # The charts' library, the theme, the page, and its data.
    assert page.locator("script").count() == 4
    text = page.locator("body").inner_text()
    # Environment, split, model and algorithm in the heading; a kind of task; paths.
    assert text.count(NASTY) >= 8
    assert "<img src=x>/record.json" in text
    assert "49" not in re.findall(r"\b49\b", page.locator("h2").all_inner_texts()[1])


def test_a_script_that_got_in_could_not_run(board: Path, open_page: Open) -> None:
    opened = open_page(board)
    opened.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.pwned = 1'}))"
    )
    assert opened.page.evaluate("window.pwned") is None
    [complaint] = opened.complaints
    assert "Content Security Policy" in complaint
    opened.complaints.clear()


def test_the_same_records_give_the_same_bytes(board: Path, tmp_path: Path) -> None:
    again = make(board.parent / "runs", board.with_name("again.html"))
    assert again.read_bytes() == board.read_bytes()


def test_one_run_makes_a_page(tmp_path: Path, open_page: Open) -> None:
    synthetic_sweep.write(tmp_path / "runs", Sweep([], seeds=(0,)))
    opened = open_page(make(tmp_path / "runs", tmp_path / "page.html"))
    assert charts(opened) == ["curves"]
    assert opened.page.locator("tbody tr.full").count() == 1


def test_missing_packages_are_named(
    board: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    for name in ("charts", "leaderboard_page"):
        monkeypatch.delitem(sys.modules, f"{html.__name__}.{name}", raising=False)
        monkeypatch.delattr(html, name, raising=False)
    assert cli.main(["leaderboard", str(board.parent / "runs"), "--format", "html"]) == 2
    error = capsys.readouterr().err
    assert error == "layerbench: the page's charts need altair: pip install 'layerbench[html]'\n"
