"""Models behind an OpenAI-compatible endpoint: how they are named, and what they can do."""

import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError

PREFIX = "openai:"
"""Before the endpoint's name for a model."""

_OPENAI = "https://api.openai.com/v1"
# The only way in which such a model can be asked, whatever the preset says of others.
_ASKED_BY = {"agent.action_mode": "generate", "agent.context_mode": "window"}


def is_endpoint(name: str) -> bool:
    """Tell whether a model is asked over the network."""
    return name.startswith(PREFIX)


def with_defaults(typed: Sequence[str]) -> list[str]:
    """Add to what was typed how a model behind an endpoint is asked, and where it is.

    Nothing is added for any other model.

    Raises:
        SettingsError: A revision was typed.
    """
    given = {name: value for name, _, value in (item.partition("=") for item in typed)}
    if not is_endpoint(given.get("model.name", "").strip()):
        return list(typed)
    if "model.revision" in given:
        raise SettingsError("model.revision is of models on the Hub: leave it out")
    url = os.environ.get("OPENAI_BASE_URL", "").strip() or _OPENAI
    defaults = {**_ASKED_BY, "model.base_url": url}
    return [*typed, *(f"{name}={value}" for name, value in defaults.items() if name not in given)]


def check(config: RunConfig) -> None:
    """Refuse what a model behind an endpoint cannot do, and an address for any other.

    Raises:
        SettingsError: Says what to do instead.
    """
    name, url = config.model.name, config.model.base_url
    if not is_endpoint(name):
        if url:
            raise SettingsError(
                f"model.base_url is where {PREFIX}NAME is asked, but the model is {name}: "
                "leave it out"
            )
        return
    if name == PREFIX:
        raise SettingsError(f"{PREFIX} names no model: give {PREFIX}NAME")
    if config.layers != "none":
        raise SettingsError(f"{name} is behind an endpoint and cannot learn: use layerbench eval")
    agent = config.agent
    modes = {"agent.action_mode": agent.action_mode, "agent.context_mode": agent.context_mode}
    for setting, value in _ASKED_BY.items():
        if modes[setting] != value:
            raise SettingsError(
                f"a model behind an endpoint cannot be asked by {setting}={modes[setting]}: "
                f"take {setting}={value}"
            )
    _check_url(url)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"model.base_url cannot be read: {error}") from error
    # Not repeated in the message: it may hold a secret.
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(
            "model.base_url is recorded, so it must have no user, password, query or fragment: "
            "give a key by OPENAI_API_KEY"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise SettingsError(
            f"model.base_url must be like http://localhost:8000/v1, got {url or 'nothing'}"
        )
