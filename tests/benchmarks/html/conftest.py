"""A headless Chromium in which pages are opened."""

import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# As root there is no sandbox; the others keep it from calling home.
_ARGUMENTS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update")


@dataclass(frozen=True, slots=True)
class Opened:
    """A page in the browser, with the requests and console messages since it was opened."""

    page: Page
    requests: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])


Open = Callable[..., Opened]


@pytest.fixture(scope="session")
def chromium() -> Generator[Browser]:
    browser_path = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if browser_path is None:
        pytest.skip(f"needs a browser: none of {', '.join(_NAMES)} is on the path")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=list(_ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Generator[Open]:
    """Open a file; at the end it must have requested nothing else and logged no message."""
    opened: list[Opened] = []

    def open_file(path: Path, *, part: str = "", width: int = 1280, dark: bool = False) -> Opened:
        page = chromium.new_page(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        it = Opened(page)
        page.on("request", lambda request: it.requests.append(request.url))
        page.on("console", lambda message: it.complaints.append(message.text))
        page.on("pageerror", lambda error: it.complaints.append(str(error)))
        page.goto(path.as_uri() + part)
        opened.append(it)
        return it

    yield open_file
    for it in opened:
        assert it.requests == [it.page.url.partition("#")[0]]
        assert it.complaints == []
        it.page.close()
