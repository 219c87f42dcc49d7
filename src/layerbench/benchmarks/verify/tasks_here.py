"""Whether the tasks of a record are on this machine, so that its episodes can be replayed."""

import re
from dataclasses import replace
from typing import Any

from layerbench.benchmarks.config.identity import identify
from layerbench.benchmarks.config.schema import EnvConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records.record_sections import EnvRecord
from layerbench.envs import registry, typed
from layerbench.envs.descriptions import EnvIdentity
from layerbench.envs.registry import UnknownEnvironmentError

_HASHED = re.compile(r"(.+)-([0-9a-f]{64})")
_SHOWN_DIGITS = 12


def located(env: EnvRecord, config: EnvConfig) -> tuple[EnvConfig, str]:
    """Find the tasks of a record: where it says that they lie, or else in their standard place.

    Returns:
        The settings with the place where they were found, and the obstacle to a replay; empty where
        there is none.
    """
    stated = obstacle(env, config)
    own = registry.is_own(config.name)
    place = registry.find(config.name).standard_place if own else dict[str, Any]()
    if not stated or not place or not config.options.get("data_dir"):
        return config, stated
    standard = replace(config, options={**config.options, **place})
    # Other files there are worth a word only where the record's own place has none.
    if not obstacle(env, standard) or (_is_here(standard) and not _is_here(config)):
        return standard, obstacle(env, standard)
    return config, stated


def identify_allowed(config: EnvConfig) -> EnvIdentity:
    """Identify the environment of a record, unless its code was never named on this machine.

    Raises:
        UserError: It was not, or the environment or its files are missing.
    """
    if stranger := typed.obstacle(config.reference):
        raise SettingsError(f"{stranger}: its episodes could not be replayed")
    return identify(config)


def _is_here(config: EnvConfig) -> bool:
    try:
        identify_allowed(config)
    except (ValueError, TypeError, OSError):
        return False
    return True


def obstacle(env: EnvRecord, config: EnvConfig) -> str:
    """Say why the episodes of a record could not be replayed here; empty where they can."""
    try:
        identity = identify_allowed(config)
    except UnknownEnvironmentError:
        package = f" of package {env.package} {env.package_version}" if env.package else ""
        return (
            f"environment {env.name!r}{package} is not installed here: its episodes could not be "
            "replayed"
        )
    # A foreign record's options, and what lies where they point.
    except (ValueError, TypeError, OSError) as error:
        return str(error)
    return _other_files(env, identity)


def is_of_files(env: EnvRecord, identity: EnvIdentity) -> bool:
    """Tell whether record and machine have the same kind of source, which files decide."""
    there, here = _HASHED.fullmatch(env.source), _HASHED.fullmatch(identity.source)
    return there is not None and here is not None and there[1] == here[1]


def _other_files(env: EnvRecord, identity: EnvIdentity) -> str:
    """Say which of the files that were scored are others here; empty where none is."""
    if not is_of_files(env, identity) or env.source == identity.source:
        return ""
    if env.splits_sha256 is None or not identity.by_split:
        return _differ(
            "its files", env.source.rpartition("-")[2], identity.source.rpartition("-")[2]
        )
    for split in env.eval_splits:
        there, here = env.splits_sha256.get(split, ""), identity.by_split.get(split)
        if here is None:
            return f"split {split!r} is not on this machine"
        if there != here:
            return _differ(f"the files of split {split!r}", there, here)
    return ""


def _differ(what: str, there: str, here: str) -> str:
    there, here = there[:_SHOWN_DIGITS], here[:_SHOWN_DIGITS]
    return f"{what} have the hash {there} in the record, {here} on this machine"
