"""Command lines for tests that change some of the usual arguments."""

from collections.abc import Sequence


def typed(usual: Sequence[str], more: Sequence[str]) -> list[str]:
    """Join arguments; ``more`` replaces options and settings that are in ``usual`` too."""
    names = {item.partition("=")[0] for item in more if "=" in item or item.startswith("--")}
    kept: list[str] = []
    words = iter(usual)
    for word in words:
        if word.partition("=")[0] not in names:
            kept.append(word)
        elif word.startswith("--") and "=" not in word:
            next(words)
    return [*kept, *more]
