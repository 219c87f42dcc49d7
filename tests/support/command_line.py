"""Arguments as somebody would type them, who wants a command otherwise in some points."""

from collections.abc import Sequence


def typed(usual: Sequence[str], more: Sequence[str]) -> list[str]:
    """Join arguments; of an option or setting that both have, the usual one is left out."""
    names = {item.partition("=")[0] for item in more if "=" in item or item.startswith("--")}
    kept: list[str] = []
    words = iter(usual)
    for word in words:
        if word.partition("=")[0] not in names:
            kept.append(word)
        elif word.startswith("--") and "=" not in word:
            next(words)
    return [*kept, *more]
