"""Renders a template to one self-contained file in which no injected script can run."""

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_PACKAGE = "layerbench.benchmarks.html"


@dataclass(frozen=True, slots=True)
class Inline:
    """A style sheet or script that goes into the page unescaped.

    Attributes:
        source: Text of this package or a library, never of a record or an episode.
        digest: ``'sha256-...'``, as in a Content-Security-Policy header.
    """

    source: Markup
    digest: str


def render(
    template: str,
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    libraries: Sequence[str] = (),
    values: Mapping[str, Any],
) -> str:
    """Fill a template; every value is escaped.

    The page's content security policy forbids the network, and all styles and scripts but those
    given here, which it names by their hashes: text that is mistaken for markup still cannot run.

    Args:
        template: File in ``templates``.
        styles: Files in ``assets``.
        scripts: Files in ``assets``.
        libraries: Source of scripts that come before ``scripts``.
        values: Variables of the template.
    """
    inline_styles = [_inline(_asset(name)) for name in styles]
    inline_scripts = [_inline(text) for text in (*libraries, *map(_asset, scripts))]
    return (
        _environment()
        .get_template(template)
        .render(
            policy=_policy(inline_styles, inline_scripts),
            styles=[style.source for style in inline_styles],
            scripts=[script.source for script in inline_scripts],
            **values,
        )
    )


def _inline(text: str) -> Inline:
    assert "</script" not in text.lower(), "the text would end its own element"
    assert "</style" not in text.lower(), "the text would end its own element"
    # Browsers turn every line end into a line feed before they hash.
    source = text.replace("\r\n", "\n").replace("\r", "\n")
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return Inline(Markup(source), f"'sha256-{digest}'")


def _policy(styles: Sequence[Inline], scripts: Sequence[Inline]) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("style-src", *(style.digest for style in styles))),
            " ".join(("script-src", *(script.digest for script in scripts))),
            # For the empty icon of base.html, without which browsers ask for /favicon.ico.
            "img-src data:",
            # default-src covers neither of these two (Content Security Policy Level 3).
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _asset(name: str) -> str:
    return resources.files(_PACKAGE).joinpath("assets", name).read_text(encoding="utf-8")


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        # A misspelt name in a template is an error, not an empty cell.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
