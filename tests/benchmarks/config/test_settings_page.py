"""``docs/settings.md`` is what its script would write, and has every setting."""

import runpy
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from layerbench.benchmarks.config import compose, serialize

ROOT = Path(__file__).parents[3]


def test_the_page_of_settings_is_as_its_script_would_write_it() -> None:
    page = runpy.run_path(str(ROOT / "tools/write_settings.py"))["page"]()
    written = (ROOT / "docs/settings.md").read_text()
    assert written == page, "docs/settings.md is out of date: run python tools/write_settings.py"


@pytest.mark.parametrize("env", ["keydoor", "alfworld", "webshop"])
def test_every_setting_that_a_run_lists_has_its_line(env: str) -> None:
    text = (ROOT / "docs/settings.md").read_text()
    listing = serialize.listing(compose.compose_settings(env, (), preset="paper"))
    settings: dict[str, Any] = yaml.safe_load(listing)
    settings["env"] |= settings["env"].pop("options")
    for section, value in settings.items():
        inner = cast(dict[str, Any], value) if isinstance(value, dict) else {}
        for name in [f"{section}.{name}" for name in inner] or [section]:
            assert f"\n| `{name}` |" in text
