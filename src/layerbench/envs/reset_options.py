"""The option of an environment's reset that selects its task."""

from collections.abc import Mapping


def only_option(options: Mapping[str, object] | None, name: str) -> object:
    """Read the only option that a reset has; None where it was not given.

    >>> only_option({"room": "tin/tin/pine"}, "room"), only_option(None, "room")
    ('tin/tin/pine', None)

    Args:
        options: The options of ``gymnasium.Env.reset``.
        name: The name that is known.

    Raises:
        ValueError: There is another option.
    """
    given = options or {}
    unknown = given.keys() - {name}
    if unknown:
        raise ValueError(f"no reset option named '{min(unknown)}': the only one is {name}")
    return given.get(name)
