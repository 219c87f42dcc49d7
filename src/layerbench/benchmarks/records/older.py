"""Records of earlier schema versions, as today's would say the same."""

from layerbench.benchmarks.records.json_codec import Json

_UNTIL_TEMPERATURES = 1
"""The last version with one temperature, before validation tasks chose the best of several."""


def upgraded(data: dict[str, Json], *, to: int) -> dict[str, Json]:
    """Say what a record of an earlier version says in the form of version ``to``.

    What cannot be read as such a record is returned as it is, for the reader to refuse.
    """
    if data.get("schema") != _UNTIL_TEMPERATURES or data.get("schema") is True:
        return data
    return {
        **data,
        "schema": to,
        "settings": upgraded_settings(data.get("settings")),
        "best_temperatures": {},
        "best_differences": {},
    }


def upgraded_settings(settings: Json) -> Json:
    """Write a single temperature of the evaluations as a list, without validation tasks."""
    evaluated = settings.get("eval") if isinstance(settings, dict) else None
    if not (
        isinstance(settings, dict) and isinstance(evaluated, dict) and "temperature" in evaluated
    ):
        return settings
    renamed: dict[str, Json] = {}
    # In the order of today's records, which their fingerprint depends on.
    for name, value in evaluated.items():
        if name == "temperature":
            renamed |= {"temperatures": [value], "valid_tasks": 0}
        else:
            renamed[name] = value
    return {**settings, "eval": renamed}
