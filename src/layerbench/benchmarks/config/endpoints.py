"""Settings of models behind an OpenAI-compatible endpoint: names, defaults and limits."""

import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError

PREFIX = "openai:"
"""Prefix of a model's name at the endpoint."""

OPENAI = "https://api.openai.com/v1"
"""Where models are asked unless an address is given."""
# The only modes of `ChatAgent`, whatever the preset has for other models: an endpoint cannot
# constrain its answers to the admissible actions.
_REQUIRED_MODES = {"agent.action_mode": "generate", "agent.context_mode": "window"}


def is_endpoint(name: str) -> bool:
    """Tell whether a model is behind an endpoint."""
    return name.startswith(PREFIX)


def with_defaults(typed: Sequence[str]) -> list[str]:
    """Add the modes and the URL of a model behind an endpoint to the overrides.

    Overrides for any other model stay as they are.

    Raises:
        SettingsError: A revision was typed.
    """
    given = {name: value for name, _, value in (item.partition("=") for item in typed)}
    if not is_endpoint(given.get("model.name", "").strip()):
        return list(typed)
    # A typed one only: every model has the default revision of ``conf/run.yaml``.
    if "model.revision" in given:
        raise SettingsError("model.revision is of models on the Hub: leave it out")
    # The variable of OpenAI's own client, read here so that the URL is among the recorded settings.
    url = os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI
    defaults = {**_REQUIRED_MODES, "model.base_url": url}
    return [*typed, *(f"{name}={value}" for name, value in defaults.items() if name not in given)]


def check(config: RunConfig) -> None:
    """Refuse settings that an endpoint cannot serve, and a URL for any other model.

    Raises:
        SettingsError: The settings do not fit the model; the message says what to do instead.
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
    for setting, value in _REQUIRED_MODES.items():
        if modes[setting] != value:
            raise SettingsError(
                f"a model behind an endpoint cannot be asked by {setting}={modes[setting]}: "
                f"take {setting}={value}"
            )
    _check_url(url)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        # Both are parsed on access: an invalid port raises here.
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"model.base_url cannot be read: {error}") from error
    # The URL is left out of the message: it may hold a secret.
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(
            "model.base_url is recorded, so it must have no user, password, query or fragment: "
            "give a key by OPENAI_API_KEY"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise SettingsError(
            f"model.base_url must be like http://localhost:8000/v1, got {url or 'nothing'}"
        )
